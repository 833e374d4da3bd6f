//! When a granted selector covers a requested one: when every topic that fits the request fits the grant.
//!
//! Both are read segment by segment:
//!
//! | grant | covers in the request |
//! | --- | --- |
//! | a name | the same name |
//! | `*` | a name or `*`, but not `**`, which may be several segments |
//! | `**` (the last) | all that is left, which must be at least one segment |
//! | its end | its end |
//!
//! The rule is exact: where it says no, there is a topic that fits the request and not the grant.

use towncrier_wire::Selector;

/// Whether every topic that fits `requested` fits `granted`.
#[must_use]
pub fn covers(granted: &Selector, requested: &Selector) -> bool {
    let mut requested = requested.as_str().split('/');
    for granted in granted.as_str().split('/') {
        let covered = match (granted, requested.next()) {
            (_, None) => false,
            ("**", Some(_)) => return true,
            ("*", Some(requested)) => requested != "**",
            (granted, Some(requested)) => granted == requested,
        };
        if !covered {
            return false;
        }
    }
    requested.next().is_none()
}
