//! How long to wait before the next attempt.

use std::time::Duration;

/// Waits that double with each failure in a row, and vary so that many clients do not come back in step.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure: from 1 to 1.5 times `base`, doubled for each earlier failure, until `most`.
    pub(super) fn next(&mut self, base: Duration, most: Duration) -> Duration {
        let doubled = base.saturating_mul(2u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        doubled.min(most.max(base)).mul_f64(1.0 + fastrand::f64() / 2.0)
    }

    /// Begins anew after a success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew() {
        let (base, most) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::default();
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next(base, most).as_millis();
            assert!((expected..=expected * 3 / 2).contains(&wait), "{wait} for {expected}");
        }
        backoff.failures = u32::MAX;
        assert!(backoff.next(base, most) >= most);
        backoff.reset();
        assert!(backoff.next(base, most) <= base.mul_f64(1.5));
        // What the hub asks for counts for more than our own bound.
        assert!(backoff.next(Duration::from_secs(60), most) >= Duration::from_secs(60));
    }
}
