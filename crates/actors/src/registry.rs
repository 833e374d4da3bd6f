//! Who is connected to this node.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    ops::Bound,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use actix::{Actor, Addr, Context, Handler, ResponseFuture};
use futures_util::future::join_all;
use towncrier_telemetry::Metrics;
use towncrier_wire::{CloseReason, Name, Selector, Selectors, Topic};

use crate::{
    Rooms, SessionSpec,
    fatal::Vital,
    messages::{
        AskSession, CountListeners, CountSessions, Direct, Disconnect, EndSessions, ListListened, ListSessions,
        Register, SendDirect, SessionInfo, SessionKey, Unregister, Who,
    },
};

/// A session, and how to reach it.
#[derive(Debug)]
pub(crate) struct Entry {
    rooms: Addr<Rooms>,
    key: SessionKey,
    user: Option<Name>,
    selectors: Selectors,
    remote: Option<IpAddr>,
    connected_at: u64,
}

impl Entry {
    pub(crate) fn new(rooms: Addr<Rooms>, key: SessionKey, spec: &SessionSpec) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            rooms,
            key,
            user: spec.user.clone(),
            selectors: spec.selectors.clone(),
            remote: spec.remote,
            connected_at: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn info(&self, id: &Name) -> SessionInfo {
        SessionInfo {
            id: id.clone(),
            user: self.user.clone(),
            selectors: self.selectors.clone(),
            remote: self.remote,
            connected_at: self.connected_at,
        }
    }
}

/// See the module.
pub struct Registry {
    sessions: BTreeMap<Name, Entry>,
    users: HashMap<Name, BTreeSet<Name>>,
    listeners: BTreeMap<Selector, HashSet<Name>>,
    metrics: Arc<Metrics>,
    _vital: Vital,
}

/// Where sessions are: each worker, and the keys there, or `None` for all of them.
type Places = Vec<(Addr<Rooms>, Option<Vec<SessionKey>>)>;

impl Registry {
    pub(crate) fn new(metrics: Arc<Metrics>, vital: Vital) -> Self {
        Self { sessions: BTreeMap::new(), users: HashMap::new(), listeners: BTreeMap::new(), metrics, _vital: vital }
    }

    /// The sessions that are meant, and their number; `None` if one was named that is not known.
    fn find(&self, who: &Who) -> Option<(Places, usize)> {
        let mut places = Places::new();
        let mut count = 0;
        let mut add = |entry: &Entry| {
            count += 1;
            match places.iter_mut().find(|(rooms, _)| *rooms == entry.rooms) {
                Some((_, keys)) => keys.get_or_insert_default().push(entry.key),
                None => places.push((entry.rooms.clone(), Some(vec![entry.key]))),
            }
        };
        match who {
            Who::Session(id) => add(self.sessions.get(id)?),
            Who::User(user) => {
                let ids = self.users.get(user).into_iter().flatten();
                ids.filter_map(|id| self.sessions.get(id)).for_each(add);
            }
            Who::Everyone => {
                count = self.sessions.len();
                for entry in self.sessions.values() {
                    if places.iter().all(|(rooms, _)| *rooms != entry.rooms) {
                        places.push((entry.rooms.clone(), None));
                    }
                }
            }
        }
        Some((places, count))
    }

    /// The ids of sessions with a selector that the topic fits.
    fn listeners(&self, topic: &Topic) -> BTreeSet<&Name> {
        let exact = self.listeners.get(&Selector::Topic(topic.clone()));
        let patterns = self.patterns().filter(|(pattern, _)| pattern.matches(topic)).map(|(_, ids)| ids);
        exact.into_iter().chain(patterns).flatten().collect()
    }

    /// How many there are: without a set of them, unless some may have two selectors that the topic fits.
    fn count(&self, topic: &Topic) -> usize {
        let exact = self.listeners.get(&Selector::Topic(topic.clone()));
        let mut groups = self.patterns().filter(|(pattern, _)| pattern.matches(topic)).map(|(_, ids)| ids).chain(exact);
        match (groups.next(), groups.next()) {
            (None, _) => 0,
            (Some(only), None) => only.len(),
            (Some(_), Some(_)) => self.listeners(topic).len(),
        }
    }

    fn patterns(&self) -> impl Iterator<Item = (&Selector, &HashSet<Name>)> {
        // Topics sort before patterns.
        self.listeners.iter().rev().take_while(|(selector, _)| matches!(selector, Selector::Pattern(_)))
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
    }
}

impl Handler<Register> for Registry {
    type Result = ();

    fn handle(&mut self, Register { id, entry }: Register, _: &mut Self::Context) {
        for selector in &entry.selectors {
            self.listeners.entry(selector.clone()).or_default().insert(id.clone());
        }
        if let Some(user) = &entry.user {
            self.users.entry(user.clone()).or_default().insert(id.clone());
        }
        self.sessions.insert(id, entry);
        self.metrics.registry_sessions.set(i64::try_from(self.sessions.len()).unwrap_or(i64::MAX));
    }
}

impl Handler<Unregister> for Registry {
    type Result = ();

    fn handle(&mut self, Unregister(id): Unregister, _: &mut Self::Context) {
        let Some(entry) = self.sessions.remove(&id) else { return };
        for selector in &entry.selectors {
            if let Some(ids) = self.listeners.get_mut(selector) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.listeners.remove(selector);
                }
            }
        }
        if let Some(user) = &entry.user
            && let Some(ids) = self.users.get_mut(user)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.users.remove(user);
            }
        }
        self.metrics.registry_sessions.set(i64::try_from(self.sessions.len()).unwrap_or(i64::MAX));
    }
}

impl Handler<SendDirect> for Registry {
    type Result = ResponseFuture<Option<usize>>;

    fn handle(&mut self, SendDirect { who, frame }: SendDirect, _: &mut Self::Context) -> Self::Result {
        let found = self.find(&who);
        Box::pin(async move {
            let (places, _) = found?;
            let each =
                places.into_iter().map(|(rooms, sessions)| rooms.send(Direct { sessions, frame: frame.clone() }));
            // A worker that is gone has no sessions either.
            Some(join_all(each).await.into_iter().map(Result::unwrap_or_default).sum())
        })
    }
}

impl Handler<Disconnect> for Registry {
    type Result = Option<usize>;

    fn handle(&mut self, Disconnect(who): Disconnect, _: &mut Self::Context) -> Option<usize> {
        let (places, count) = self.find(&who)?;
        for (rooms, sessions) in places {
            rooms.do_send(EndSessions { sessions, reason: CloseReason::Disconnected });
        }
        Some(count)
    }
}

impl Handler<ListSessions> for Registry {
    type Result = Vec<SessionInfo>;

    fn handle(&mut self, query: ListSessions, _: &mut Self::Context) -> Vec<SessionInfo> {
        let ListSessions { selector, user, after, limit } = query;
        let page = |ids: &mut dyn Iterator<Item = &Name>| -> Vec<SessionInfo> {
            ids.filter(|id| after.as_ref().is_none_or(|after| *id > after))
                .filter_map(|id| Some((id, self.sessions.get(id)?)))
                .filter(|(_, entry)| user.as_ref().is_none_or(|user| entry.user.as_ref() == Some(user)))
                .take(limit)
                .map(|(id, entry)| entry.info(id))
                .collect()
        };
        match (&selector, &user) {
            (Some(Selector::Topic(topic)), _) => page(&mut self.listeners(topic).into_iter()),
            (Some(pattern), _) => {
                let ids: BTreeSet<_> = self.listeners.get(pattern).into_iter().flatten().collect();
                page(&mut ids.into_iter())
            }
            (None, Some(user)) => page(&mut self.users.get(user).into_iter().flatten()),
            (None, None) => {
                let start = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                page(&mut self.sessions.range((start, Bound::Unbounded)).map(|(id, _)| id))
            }
        }
    }
}

impl Handler<AskSession> for Registry {
    type Result = Option<SessionInfo>;

    fn handle(&mut self, AskSession(id): AskSession, _: &mut Self::Context) -> Option<SessionInfo> {
        self.sessions.get(&id).map(|entry| entry.info(&id))
    }
}

impl Handler<CountListeners> for Registry {
    type Result = Vec<usize>;

    fn handle(&mut self, CountListeners(topics): CountListeners, _: &mut Self::Context) -> Vec<usize> {
        topics.iter().map(|topic| self.count(topic)).collect()
    }
}

impl Handler<ListListened> for Registry {
    type Result = Vec<Topic>;

    fn handle(&mut self, ListListened { prefix, after, limit }: ListListened, _: &mut Self::Context) -> Vec<Topic> {
        let start = |text: &str| Topic::new(text).ok().map(Selector::Topic);
        let from = match after.as_deref().filter(|after| *after >= prefix.as_str()).and_then(start) {
            Some(after) => Bound::Excluded(after),
            None => start(&prefix).map_or(Bound::Unbounded, Bound::Included),
        };
        self.listeners
            .range((from, Bound::Unbounded))
            .map_while(|(selector, _)| match selector {
                Selector::Topic(topic) if topic.as_str().starts_with(&prefix) => Some(topic),
                _ => None,
            })
            .filter(|topic| after.as_ref().is_none_or(|after| topic.as_str() > after.as_str()))
            .take(limit)
            .cloned()
            .collect()
    }
}

impl Handler<CountSessions> for Registry {
    type Result = actix::MessageResult<CountSessions>;

    fn handle(&mut self, _: CountSessions, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult((self.sessions.len(), self.users.len()))
    }
}
