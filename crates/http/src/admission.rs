//! How many connections there may be, and how many may come. One piece of code for whatever transport.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use towncrier_auth::{AddressKey, Limiter, RateError, RetryAfter};
use towncrier_telemetry::{Limit, Metrics, RefusedReason};

use crate::{Options, rates::Allowance};

/// How many, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    max: usize,
    max_per_address: Option<usize>,
    connects: Option<Allowance>,
    connects_per_address: Option<Allowance>,
}

impl From<&Options> for Bounds {
    fn from(options: &Options) -> Self {
        Self {
            max: options.max_connections,
            max_per_address: options.max_connections_per_address,
            connects: options.rates.connects,
            connects_per_address: options.rates.connects_per_address,
        }
    }
}

/// Counts streams and polls, in all and by address; of IPv6 a /64 is one.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    max_per_address: Option<usize>,
    open: AtomicUsize,
    /// Only connections that come and go touch it.
    addresses: Mutex<HashMap<AddressKey, usize>>,
    connects: Option<Limiter<()>>,
    connects_per_address: Option<Limiter<AddressKey>>,
    metrics: Arc<Metrics>,
}

/// A connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: RefusedReason,
    /// How long this is certain to last, at least.
    pub(crate) wait: Duration,
}

impl From<RefusedReason> for Refused {
    fn from(reason: RefusedReason) -> Self {
        Self { reason, wait: Duration::ZERO }
    }
}

/// A connection that was let in, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    address: Option<AddressKey>,
}

impl Admission {
    /// # Errors
    /// If a rate is beyond all use.
    pub(crate) fn new(bounds: Bounds, metrics: Arc<Metrics>) -> Result<Arc<Self>, RateError> {
        Ok(Arc::new(Self {
            max: bounds.max,
            max_per_address: bounds.max_per_address,
            open: AtomicUsize::new(0),
            addresses: Mutex::new(HashMap::new()),
            connects: bounds.connects.map(Allowance::limiter).transpose()?,
            connects_per_address: bounds.connects_per_address.map(Allowance::limiter).transpose()?,
            metrics,
        }))
    }

    /// Lets a connection in, or says which limit it hits.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Admitted, Refused> {
        let address = address.map(AddressKey::from);
        self.may_come(address).and_then(|()| self.has_room(address)).inspect_err(|refused| {
            self.metrics.connections_refused.of(refused.reason).inc();
            let limit = match refused.reason {
                RefusedReason::Total => Limit::Connections,
                RefusedReason::Address => Limit::ConnectionsPerAddress,
                RefusedReason::Rate => Limit::Connects,
                RefusedReason::AddressRate => Limit::ConnectsPerAddress,
                RefusedReason::Draining | RefusedReason::Unjudged => return,
            };
            self.metrics.limits_hit.of(limit).inc();
        })
    }

    /// The address first: what one is refused must not be taken from what all have together.
    fn may_come(&self, address: Option<AddressKey>) -> Result<(), Refused> {
        let refused = |reason| move |RetryAfter(wait)| Refused { reason, wait };
        if let (Some(limiter), Some(address)) = (&self.connects_per_address, address) {
            limiter.check(&address).map_err(refused(RefusedReason::AddressRate))?;
        }
        self.connects.as_ref().map_or(Ok(()), |limiter| limiter.check(&()).map_err(refused(RefusedReason::Rate)))
    }

    fn has_room(self: &Arc<Self>, address: Option<AddressKey>) -> Result<Admitted, Refused> {
        // Counted first and given back on refusal, so that two at once cannot both be the last one.
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let mut admitted = Admitted { admission: self.clone(), address: None };
        if before >= self.max {
            return Err(RefusedReason::Total.into());
        }
        if let (Some(address), Some(max)) = (address, self.max_per_address) {
            let mut addresses = self.addresses();
            let count = addresses.entry(address).or_default();
            if *count >= max {
                return Err(RefusedReason::Address.into());
            }
            *count += 1;
            admitted.address = Some(address);
        }
        Ok(admitted)
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<AddressKey, usize>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut addresses = self.admission.addresses();
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

    fn admission(max: usize, max_per_address: Option<usize>, rates: [Option<Allowance>; 2]) -> Arc<Admission> {
        let [connects, connects_per_address] = rates;
        let bounds = Bounds { max, max_per_address, connects, connects_per_address };
        Admission::new(bounds, Arc::new(Metrics::new("test"))).unwrap()
    }

    #[track_caller]
    fn reason(refused: Result<Admitted, Refused>) -> RefusedReason {
        refused.unwrap_err().reason
    }

    fn at_once(burst: u32) -> Option<Allowance> {
        Some(Allowance { per_second: std::num::NonZeroU32::MIN, burst: std::num::NonZeroU32::new(burst).unwrap() })
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_is_gone() {
        let admission = admission(2, None, [None; 2]);
        let first = admission.admit(Some(ONE)).unwrap();
        let _second = admission.admit(Some(ONE)).unwrap();
        assert_eq!(reason(admission.admit(Some(ONE))), RefusedReason::Total);
        drop(first);
        assert!(admission.admit(Some(ONE)).is_ok());
    }

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let admission = admission(10, Some(1), [None; 2]);
        let first = admission.admit(Some(ONE)).unwrap();
        assert_eq!(reason(admission.admit(Some(ONE))), RefusedReason::Address);
        assert!(admission.admit(Some(OTHER)).is_ok());
        drop(first);
        assert!(admission.addresses().is_empty(), "nothing is kept of addresses that are gone");
        assert!(admission.admit(Some(ONE)).is_ok());
    }

    #[test]
    fn connections_that_come_too_often_wait_for_their_turn() {
        let admission = admission(100, None, [at_once(5), at_once(3)]);
        assert_eq!((0..9).filter(|_| admission.admit(Some(ONE)).is_ok()).count(), 3);
        let refused = admission.admit(Some(ONE)).unwrap_err();
        assert_eq!(refused.reason, RefusedReason::AddressRate);
        assert!(refused.wait > Duration::ZERO && refused.wait <= Duration::from_secs(1), "{:?}", refused.wait);
        assert_eq!((0..9).filter(|_| admission.admit(Some(OTHER)).is_ok()).count(), 2, "all of them together have 5");
        assert_eq!(admission.metrics.limits_hit.of(Limit::ConnectsPerAddress).get(), 6 + 1 + 6);
        assert_eq!(admission.metrics.limits_hit.of(Limit::Connects).get(), 1);
    }
}
