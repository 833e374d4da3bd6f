//! How often clients may do what costs the hub something. Each limit is off until an operator sets it.

use std::{hash::Hash, num::NonZeroU32, sync::Arc, time::Duration};

use actix_web::{HttpRequest, dev::ServiceRequest, http::StatusCode};
use towncrier_auth::{AddressKey, Limiter, Rate, RateError, RetryAfter, TooMuch};
use towncrier_telemetry::{Limit, Metrics};
use towncrier_wire::NewEvent;

use crate::{client, problem::Problem};

/// Most clients of which a limit remembers what they did. Past it those are forgotten that did the least; some 5 MB.
const KEYS_MAX: usize = 100_000;

/// Shortest time in which a burst may come anew.
const PERIOD_MIN: Duration = Duration::from_millis(1);

/// So much a second, and so much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// After a rest; at least what comes in a millisecond.
    pub burst: NonZeroU32,
}

impl Allowance {
    pub(crate) fn limiter<K: Eq + Hash + Clone>(self) -> Result<Limiter<K>, RateError> {
        let least = self.per_second.get().div_ceil(1000);
        let burst = NonZeroU32::new(least).map_or(self.burst, |least| least.max(self.burst));
        let period = Duration::from_secs_f64(f64::from(burst.get()) / f64::from(self.per_second.get()));
        Limiter::new(Rate { burst, period: period.max(PERIOD_MIN) }, KEYS_MAX)
    }
}

/// What operators allow; nothing is no limit.
#[derive(Debug, Clone, Default)]
pub struct RateOptions {
    /// New streams and polls, in all.
    pub connects: Option<Allowance>,
    /// New streams and polls of each address.
    pub connects_per_address: Option<Allowance>,
    /// Published events of each client.
    pub publishes_per_client: Option<Allowance>,
    /// The same for topics with a prefix, in its place; the longest that fits holds.
    pub publish_namespaces: Vec<(String, Option<Allowance>)>,
    /// Requests of each address that are neither streams, polls nor probes.
    pub requests_per_address: Option<Allowance>,
}

/// The limits on publishing and on requests.
#[derive(Debug)]
pub(crate) struct Rates {
    requests: Option<Limiter<AddressKey>>,
    publishes: Option<Limiter<client::Key>>,
    /// By prefix, the longest first.
    namespaces: Vec<(String, Option<Limiter<client::Key>>)>,
    metrics: Arc<Metrics>,
}

impl Rates {
    pub(crate) fn new(options: &RateOptions, metrics: Arc<Metrics>) -> Result<Self, RateError> {
        let mut namespaces = options.publish_namespaces.clone();
        namespaces.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let limiter =
            |(prefix, own): (String, Option<Allowance>)| Ok((prefix, own.map(Allowance::limiter).transpose()?));
        Ok(Self {
            requests: options.requests_per_address.map(Allowance::limiter).transpose()?,
            publishes: options.publishes_per_client.map(Allowance::limiter).transpose()?,
            namespaces: namespaces.into_iter().map(limiter).collect::<Result<_, _>>()?,
            metrics,
        })
    }

    /// Counts a request, unless it is too many.
    pub(crate) fn request(&self, request: &ServiceRequest) -> Result<(), Problem> {
        let Some(limiter) = self.requests.as_ref().filter(|_| !has_limits_of_its_own(request.path())) else {
            return Ok(());
        };
        limiter.check(&client::address_key(request.request())).map_err(|RetryAfter(wait)| {
            self.metrics.limits_hit.of(Limit::Requests).inc();
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests from this address").after(wait)
        })
    }

    /// Counts the events of a publish, all or none of each namespace.
    pub(crate) fn publish(&self, request: &HttpRequest, events: &[NewEvent]) -> Result<(), Problem> {
        if self.publishes.is_none() && self.namespaces.is_empty() {
            return Ok(());
        }
        let key = client::key(request);
        // One place for each namespace and the last one for the rest.
        let mut counts = vec![0_u32; self.namespaces.len() + 1];
        for event in events {
            let fits = |(prefix, _): &(String, _)| event.topic.as_str().starts_with(prefix.as_str());
            counts[self.namespaces.iter().position(fits).unwrap_or(self.namespaces.len())] += 1;
        }
        let limiters = self.namespaces.iter().map(|(_, limiter)| limiter.as_ref()).chain([self.publishes.as_ref()]);
        for (count, limiter) in counts.into_iter().zip(limiters) {
            self.count(limiter, &key, count)?;
        }
        Ok(())
    }

    /// Counts a direct event as a published one.
    pub(crate) fn direct(&self, request: &HttpRequest) -> Result<(), Problem> {
        self.publishes.as_ref().map_or(Ok(()), |limiter| self.count(Some(limiter), &client::key(request), 1))
    }

    fn count(&self, limiter: Option<&Limiter<client::Key>>, key: &client::Key, count: u32) -> Result<(), Problem> {
        let (Some(limiter), Some(count)) = (limiter, NonZeroU32::new(count)) else { return Ok(()) };
        limiter.check_many(key, count).map_err(|too_much| {
            self.metrics.limits_hit.of(Limit::Publishes).inc();
            match too_much {
                TooMuch::Now(RetryAfter(wait)) => {
                    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many events from this client").after(wait)
                }
                TooMuch::Ever(burst) => Problem::too_large(
                    "body",
                    format_args!("makes {count} events, and this client may publish {burst} at once"),
                ),
            }
        })
    }
}

/// Streams and polls are limited as connections, and a probe that is refused would take a node out of service.
fn has_limits_of_its_own(path: &str) -> bool {
    matches!(path, "/events" | "/poll" | "/health" | "/ready")
        || (path.starts_with("/topics/") && path.ends_with("/events"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(per_second: u32, burst: u32) -> Allowance {
        Allowance { per_second: NonZeroU32::new(per_second).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    #[test]
    fn a_burst_is_had_at_once_and_no_more() {
        let limiter = allowance(1, 3).limiter().unwrap();
        assert_eq!((0..10).filter(|_| limiter.check(&"a").is_ok()).count(), 3);
        let RetryAfter(wait) = limiter.check(&"a").unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
    }

    #[test]
    fn the_largest_and_smallest_numbers_make_limits() {
        for (per_second, burst) in [(1, 1), (1_000_000, 1), (1, 1_000_000), (1_000_000, 1_000_000), (u32::MAX, 1)] {
            assert!(allowance(per_second, burst).limiter::<u8>().is_ok(), "{per_second}, {burst}");
        }
    }

    #[test]
    fn probes_and_streams_are_no_mere_requests() {
        for path in ["/events", "/topics/a/events", "/topics/a/b/events", "/poll", "/health", "/ready"] {
            assert!(has_limits_of_its_own(path), "{path}");
        }
        for path in ["/", "/eventsx", "/admin/v1/publish", "/admin/v1/sessions/x/events", "/metrics", "/topics/a"] {
            assert!(!has_limits_of_its_own(path), "{path}");
        }
    }
}
