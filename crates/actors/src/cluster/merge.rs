//! One answer from those of several nodes.

use std::collections::{BTreeMap, btree_map::Entry};

use towncrier_wire::{Name, Topic};

use super::question::{Page, Reply, SessionInfo, UserInfo};

/// Counts add up; what no node knows is not known.
pub(super) fn count(replies: Vec<Reply>) -> Option<usize> {
    let counts = replies.into_iter().filter_map(|reply| if let Reply::Count(count) = reply { count } else { None });
    counts.reduce(|one, other| one + other)
}

pub(super) fn session(replies: Vec<Reply>) -> Option<SessionInfo> {
    replies.into_iter().find_map(|reply| if let Reply::Session(session) = reply { session } else { None })
}

pub(super) fn counts(replies: Vec<Reply>, topics: usize) -> Vec<usize> {
    let mut sums = vec![0; topics];
    for reply in replies {
        let Reply::Counts(counts) = reply else { continue };
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    sums
}

pub(super) fn topics(replies: Vec<Reply>, limit: usize) -> Vec<Topic> {
    let of = |reply| if let Reply::Topics(topics) = reply { topics } else { Vec::new() };
    let mut topics: Vec<_> = replies.into_iter().flat_map(of).collect();
    topics.sort_unstable();
    topics.dedup();
    topics.truncate(limit);
    topics
}

pub(super) fn sessions(replies: Vec<Reply>, limit: usize) -> Page<SessionInfo> {
    let of = |reply| if let Reply::Sessions(page) = reply { Some(page) } else { None };
    merge(replies.into_iter().filter_map(of), limit)
}

pub(super) fn users(replies: Vec<Reply>, limit: usize) -> Page<UserInfo> {
    let of = |reply| if let Reply::Users(page) = reply { Some(page) } else { None };
    merge(replies.into_iter().filter_map(of), limit)
}

/// What stands in lists, in the order of its name.
trait Listed {
    fn name(&self) -> &Name;

    /// The same, as another node knows it.
    fn add(&mut self, other: &Self);
}

impl Listed for SessionInfo {
    fn name(&self) -> &Name {
        &self.id
    }

    fn add(&mut self, _: &Self) {}
}

impl Listed for UserInfo {
    fn name(&self) -> &Name {
        &self.id
    }

    fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
    }
}

/// Pages as one. A page that was cut says nothing of what is behind its end, so neither does the whole.
fn merge<T: Listed>(pages: impl Iterator<Item = Page<T>>, limit: usize) -> Page<T> {
    let mut all: BTreeMap<Name, T> = BTreeMap::new();
    let mut end: Option<Name> = None;
    for page in pages {
        if page.more {
            end = end.into_iter().chain(page.items.last().map(|item| item.name().clone())).min();
        }
        for item in page.items {
            match all.entry(item.name().clone()) {
                Entry::Vacant(entry) => _ = entry.insert(item),
                Entry::Occupied(mut entry) => entry.get_mut().add(&item),
            }
        }
    }
    let mut more = end.is_some();
    let mut items: Vec<_> =
        all.into_values().filter(|item| end.as_ref().is_none_or(|end| item.name() <= end)).collect();
    more |= items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(users: &[(&str, usize)], more: bool) -> Reply {
        let user = |&(name, sessions): &(&str, usize)| UserInfo { id: Name::new(name).unwrap(), sessions };
        Reply::Users(Page { items: users.iter().map(user).collect(), more })
    }

    fn names(page: &Page<UserInfo>) -> Vec<(&str, usize)> {
        page.items.iter().map(|user| (user.id.as_str(), user.sessions)).collect()
    }

    #[test]
    fn pages_become_one_that_is_whole_up_to_its_end() {
        let whole = users(vec![page(&[("a", 1), ("c", 2)], false), page(&[("b", 1), ("c", 3)], false)], 10);
        assert_eq!((names(&whole), whole.more), (vec![("a", 1), ("b", 1), ("c", 5)], false));
        let cut = users(vec![page(&[("a", 1), ("c", 2)], false), page(&[("b", 1), ("c", 3)], false)], 2);
        assert_eq!((names(&cut), cut.more), (vec![("a", 1), ("b", 1)], true));
        let end = users(vec![page(&[("a", 1), ("x", 2)], false), page(&[("b", 1), ("c", 3)], true)], 10);
        assert_eq!(
            (names(&end), end.more),
            (vec![("a", 1), ("b", 1), ("c", 3)], true),
            "what is behind c is not known"
        );
        assert_eq!(users(vec![], 10), Page { items: vec![], more: false });
    }

    #[test]
    fn counts_add_up_and_what_nobody_knows_is_unknown() {
        assert_eq!(count(vec![Reply::Count(None), Reply::Count(Some(2)), Reply::Count(Some(1))]), Some(3));
        assert_eq!(count(vec![Reply::Count(None), Reply::Count(None)]), None);
        assert_eq!(counts(vec![Reply::Counts(vec![1, 2]), Reply::Counts(vec![0, 5])], 2), [1, 7]);
    }
}
