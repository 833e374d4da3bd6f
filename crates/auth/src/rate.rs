//! Rate limits by key: an address, an account, a token.
//!
//! GCRA keeps one point in time for each key: until when what it has done is paid for. The arithmetic is governor's; the points
//! in time are kept here, in a map that has a bound.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    InsufficientCapacity, Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::StateStore,
};

/// How much may be done: `burst` at once, and as much again in each `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How much at once.
    pub burst: NonZeroU32,
    /// In which time as much again.
    pub period: Duration,
}

/// Why a rate or a number of keys is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rate needs a period of 1 ms to 31 days and 16 to 10,000,000 keys")]
pub struct RateError;

/// It was too much: how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much at once; retry after {} s", self.secs())]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// As the header `Retry-After` has it: whole seconds, at least one.
    #[must_use]
    pub fn secs(&self) -> u64 {
        (self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0)).max(1)
    }
}

/// Why several at once are not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// It is too much now.
    #[error(transparent)]
    Now(#[from] RetryAfter),
    /// It will always be: more than the burst.
    #[error("more than {0} at once")]
    Ever(NonZeroU32),
}

/// What of an address is limited as one: all of IPv4, and the first 64 bits of IPv6, which one subscriber has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressKey(u128);

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            // As if mapped into IPv6, where no /64 looks so.
            IpAddr::V4(v4) => Self(u128::from(v4.to_ipv6_mapped())),
            IpAddr::V6(v6) => Self(u128::from(v6) & !u128::from(u64::MAX)),
        }
    }
}

/// A rate limit for each key.
pub struct Limiter<K, C: Clock = MonotonicClock>
where
    K: Eq + Hash + Clone,
{
    limiter: RateLimiter<K, Store<K>, C, NoOpMiddleware<C::Instant>>,
    paid_until: PaidUntil<K>,
    burst: NonZeroU32,
    clock: C,
}

/// Until when each key is paid for.
type PaidUntil<K> = Arc<Mutex<HashMap<K, Nanos>>>;

impl<K: Eq + Hash + Clone> Limiter<K> {
    /// A limit of which at most `keys_max` keys are remembered.
    ///
    /// # Errors
    /// If a number is beyond all use.
    pub fn new(rate: Rate, keys_max: usize) -> Result<Self, RateError> {
        Self::with_clock(rate, keys_max, MonotonicClock)
    }
}

impl<K: Eq + Hash + Clone, C: Clock + Clone> Limiter<K, C> {
    /// The same with a clock of choice.
    ///
    /// # Errors
    /// If a number is beyond all use.
    pub fn with_clock(rate: Rate, keys_max: usize, clock: C) -> Result<Self, RateError> {
        let periods = Duration::from_millis(1)..=Duration::from_secs(31 * 24 * 3600);
        if !periods.contains(&rate.period) || !(16..=10_000_000).contains(&keys_max) {
            return Err(RateError);
        }
        let each = (rate.period / rate.burst.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(each).ok_or(RateError)?.allow_burst(rate.burst);
        let paid_until = PaidUntil::default();
        let limiter = RateLimiter::new(quota, Store { keys_max, paid_until: paid_until.clone() }, clock.clone());
        Ok(Self { limiter, paid_until, burst: rate.burst, clock })
    }

    /// Counts one, if there is room for it.
    ///
    /// # Errors
    /// If there is none; then nothing is counted.
    pub fn check(&self, key: &K) -> Result<(), RetryAfter> {
        self.limiter.check_key(key).map_err(|until| RetryAfter(until.wait_time_from(self.clock.now())))
    }

    /// Counts several at once, all or none of them.
    ///
    /// # Errors
    /// If there is no room for all; then nothing is counted.
    pub fn check_many(&self, key: &K, count: NonZeroU32) -> Result<(), TooMuch> {
        match self.limiter.check_key_n(key, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(TooMuch::Now(RetryAfter(until.wait_time_from(self.clock.now())))),
            Err(InsufficientCapacity(_)) => Err(TooMuch::Ever(self.burst)),
        }
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.paid_until.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl<K: Eq + Hash + Clone, C: Clock> fmt::Debug for Limiter<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}

/// The map. When it is full, the eighth of the keys that are closest to having a clean slate are
/// forgotten: whoever floods it with new keys makes it forget those, and not the ones that are held back.
struct Store<K> {
    keys_max: usize,
    paid_until: PaidUntil<K>,
}

impl<K: Eq + Hash + Clone> StateStore for Store<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut keys = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(paid_until) = keys.get_mut(key) {
            let (outcome, next) = decide(Some(*paid_until))?;
            *paid_until = next;
            return Ok(outcome);
        }
        let (outcome, next) = decide(None)?;
        if keys.len() >= self.keys_max {
            forget(&mut keys, self.keys_max / 8);
        }
        keys.insert(key.clone(), next);
        Ok(outcome)
    }
}

fn forget<K: Eq + Hash>(keys: &mut HashMap<K, Nanos>, count: usize) {
    let mut times: Vec<Nanos> = keys.values().copied().collect();
    let (_, last, _) = times.select_nth_unstable(count.clamp(1, keys.len()) - 1);
    let last = *last;
    // Of those with the same time only as many as are too many, since it may be the time of all.
    let mut equal = count - keys.values().filter(|time| **time < last).count();
    keys.retain(|_, time| {
        let goes = *time < last || (*time == last && equal > 0);
        if goes && *time == last {
            equal -= 1;
        }
        !goes
    });
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter<K: Eq + Hash + Clone>(
        burst: u32,
        secs: u64,
        keys: usize,
    ) -> (Limiter<K, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = Rate { burst: NonZeroU32::new(burst).expect("not zero"), period: Duration::from_secs(secs) };
        (Limiter::with_clock(rate, keys, clock.clone()).expect("a limiter"), clock)
    }

    #[test]
    fn a_burst_and_then_as_it_is_paid_for() {
        let (limiter, clock) = limiter(5, 60, 16);
        for _ in 0..5 {
            assert_eq!(limiter.check(&"a"), Ok(()));
        }
        assert_eq!(limiter.check(&"a"), Err(RetryAfter(Duration::from_secs(12))));
        assert_eq!(limiter.check(&"b"), Ok(()), "another key");
        clock.advance(Duration::from_millis(11_001));
        let refused = limiter.check(&"a").expect_err("too early");
        assert_eq!((refused.0, refused.secs()), (Duration::from_millis(999), 1));
        clock.advance(Duration::from_millis(999));
        assert_eq!(limiter.check(&"a"), Ok(()), "refusals cost nothing");
        assert!(limiter.check(&"a").is_err());
        clock.advance(Duration::from_secs(3600));
        assert_eq!((0..9).filter(|_| limiter.check(&"a").is_ok()).count(), 5, "a burst again, not more");
    }

    #[test]
    fn several_are_counted_together_or_not_at_all() {
        let (limiter, clock) = limiter(5, 50, 16);
        let many = |count| limiter.check_many(&"a", NonZeroU32::new(count).expect("not zero"));
        assert_eq!(many(6), Err(TooMuch::Ever(NonZeroU32::new(5).expect("not zero"))));
        assert_eq!(many(4), Ok(()));
        assert_eq!(many(2), Err(TooMuch::Now(RetryAfter(Duration::from_secs(10)))));
        assert_eq!(many(1), Ok(()), "what was refused was not counted");
        clock.advance(Duration::from_secs(20));
        assert_eq!((many(3).is_ok(), many(2)), (false, Ok(())));
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_does_not_free_who_is_held_back() {
        let (limiter, clock) = limiter(5, 60, 800);
        while limiter.check(&0).is_ok() {}
        for key in 1..100_000_u32 {
            clock.advance(Duration::from_micros(10));
            assert_eq!(limiter.check(&key), Ok(()));
            assert!(limiter.keys() <= 800);
        }
        assert!(limiter.check(&0).is_err(), "it has done more than any of the others");
    }

    #[test]
    fn keys_of_one_moment_are_forgotten_in_part_only() {
        let mut keys: HashMap<u32, Nanos> = (0..80).map(|key| (key, Nanos::from(7))).collect();
        forget(&mut keys, 10);
        assert_eq!(keys.len(), 70);
        let mut keys: HashMap<u32, Nanos> = (0..80).map(|key| (key, Nanos::from(u64::from(key)))).collect();
        forget(&mut keys, 10);
        assert_eq!((keys.len(), keys.values().min().copied()), (70, Some(Nanos::from(10))));
    }

    #[test]
    fn addresses_are_limited_by_subscriber() {
        let key = |text: &str| AddressKey::from(text.parse::<IpAddr>().expect("an address"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("::1"), key("127.0.0.1"));
    }

    #[test]
    fn numbers_beyond_use_are_refused() {
        let burst = NonZeroU32::MIN;
        for (period, keys) in [(Duration::ZERO, 100), (Duration::MAX, 100), (Duration::from_secs(1), 0)] {
            assert_eq!(Limiter::<u32>::new(Rate { burst, period }, keys).err(), Some(RateError));
        }
        let busy = Rate { burst: NonZeroU32::MAX, period: Duration::from_millis(1) };
        assert_eq!(Limiter::<u32>::new(busy, 100).map(|limiter| limiter.check(&1)).ok(), Some(Ok(())));
    }
}
