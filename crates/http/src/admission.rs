//! How many connections there may be. One piece of code for whatever transport.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use towncrier_auth::AddressKey;
use towncrier_telemetry::{Metrics, RefusedReason};

/// Counts streams and polls, in all and by address; of IPv6 a /64 is one.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    max_per_address: Option<usize>,
    open: AtomicUsize,
    /// Only connections that come and go touch it.
    addresses: Mutex<HashMap<AddressKey, usize>>,
    metrics: Arc<Metrics>,
}

/// A connection that was let in, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    address: Option<AddressKey>,
}

impl Admission {
    pub(crate) fn new(max: usize, max_per_address: Option<usize>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_address,
            open: AtomicUsize::new(0),
            addresses: Mutex::new(HashMap::new()),
            metrics,
        })
    }

    /// Lets a connection in, or says which limit it hits.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Admitted, RefusedReason> {
        // Counted first and given back on refusal, so that two at once cannot both be the last one.
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let mut admitted = Admitted { admission: self.clone(), address: None };
        let refused = if before >= self.max {
            Some(RefusedReason::Total)
        } else {
            match (address.map(AddressKey::from), self.max_per_address) {
                (Some(address), Some(max)) => {
                    let mut addresses = self.addresses();
                    let count = addresses.entry(address).or_default();
                    if *count < max {
                        *count += 1;
                        admitted.address = Some(address);
                        None
                    } else {
                        Some(RefusedReason::Address)
                    }
                }
                _ => None,
            }
        };
        if let Some(reason) = refused {
            self.metrics.connections_refused.of(reason).inc();
            return Err(reason);
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

    #[test]
    fn a_place_is_free_again_when_its_connection_is_gone() {
        let admission = Admission::new(2, None, Arc::new(Metrics::new("test")));
        let first = admission.admit(Some(ONE)).unwrap();
        let _second = admission.admit(Some(ONE)).unwrap();
        assert_eq!(admission.admit(Some(ONE)).unwrap_err(), RefusedReason::Total);
        drop(first);
        assert!(admission.admit(Some(ONE)).is_ok());
    }

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let admission = Admission::new(10, Some(1), Arc::new(Metrics::new("test")));
        let first = admission.admit(Some(ONE)).unwrap();
        assert_eq!(admission.admit(Some(ONE)).unwrap_err(), RefusedReason::Address);
        assert!(admission.admit(Some(OTHER)).is_ok());
        drop(first);
        assert!(admission.addresses().is_empty(), "nothing is kept of addresses that are gone");
        assert!(admission.admit(Some(ONE)).is_ok());
    }
}
