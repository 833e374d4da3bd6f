//! Who is connected to this node.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    ops::Bound,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture};
use futures_util::future::join_all;
use towncrier_telemetry::Metrics;
use towncrier_wire::{CloseReason, Name, Selector, Selectors, Topic};

use crate::{
    ListListened, ListSessions, ListUsers, Page, Post, Rooms, SessionInfo, SessionSpec, UserInfo, Who,
    cluster::question::{Question, Reply},
    fatal::Vital,
    messages::{Direct, EndSessions, Register, SessionKey, Unregister},
    pulse::BEAT,
};

/// Most items of a list, and about how many bytes of them: an answer to another node must stay a small message.
const LIST_MAX: usize = 10_000;
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A session, and how to reach it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its worker's place among the registry's.
    worker: u16,
    key: SessionKey,
    user: Option<Name>,
    selectors: Selectors,
    remote: Option<IpAddr>,
    connected_at: u64,
}

impl Entry {
    pub(crate) fn new(key: SessionKey, spec: &SessionSpec) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            worker: 0,
            key,
            user: spec.user.clone(),
            selectors: spec.selectors.clone(),
            remote: spec.remote,
            connected_at: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn info(&self, id: &Name, node: &str) -> SessionInfo {
        SessionInfo {
            id: id.clone(),
            user: self.user.clone(),
            selectors: self.selectors.clone(),
            remote: self.remote,
            connected_at: self.connected_at,
            node: node.to_owned(),
        }
    }
}

/// See the module.
pub struct Registry {
    /// The node's name.
    node: String,
    /// The rooms of the workers that have had sessions.
    workers: Vec<Post<Rooms>>,
    sessions: BTreeMap<Name, Entry>,
    users: BTreeMap<Name, BTreeSet<Name>>,
    listeners: BTreeMap<Selector, HashSet<Name>>,
    metrics: Arc<Metrics>,
    vital: Vital,
}

/// Where sessions are: each worker, and the keys there, or `None` for all of them.
type Places = Vec<(Post<Rooms>, Option<Vec<SessionKey>>)>;

impl Registry {
    pub(crate) fn new(node: String, metrics: Arc<Metrics>, vital: Vital) -> Self {
        Self {
            node,
            workers: Vec::new(),
            sessions: BTreeMap::new(),
            users: BTreeMap::new(),
            listeners: BTreeMap::new(),
            metrics,
            vital,
        }
    }

    /// The sessions that are meant, and their number; `None` if one was named that is not known.
    fn find(&self, who: &Who) -> Option<(Places, usize)> {
        let mut keys = vec![Vec::new(); self.workers.len()];
        let mut count = 0;
        let mut add = |entry: &Entry| {
            count += 1;
            keys[usize::from(entry.worker)].push(entry.key);
        };
        match who {
            Who::Session(id) => add(self.sessions.get(id)?),
            Who::User(user) => {
                let ids = self.users.get(user).into_iter().flatten();
                ids.filter_map(|id| self.sessions.get(id)).for_each(add);
            }
            Who::Everyone => {
                return Some((self.workers.iter().map(|rooms| (rooms.clone(), None)).collect(), self.sessions.len()));
            }
        }
        let places = self.workers.iter().cloned().zip(keys).filter(|(_, keys)| !keys.is_empty());
        Some((places.map(|(rooms, keys)| (rooms, Some(keys))).collect(), count))
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
        ctx.run_interval(BEAT, |registry, _| registry.vital.beat());
    }
}

impl Handler<Register> for Registry {
    type Result = ();

    fn handle(&mut self, Register { id, rooms, mut entry }: Register, _: &mut Self::Context) {
        let known = self.workers.iter().position(|known| *known == rooms);
        let worker = known.unwrap_or_else(|| {
            self.workers.push(rooms);
            self.workers.len() - 1
        });
        entry.worker = worker as u16;
        for selector in &entry.selectors {
            self.listeners.entry(selector.clone()).or_default().insert(id.clone());
        }
        if let Some(user) = &entry.user {
            self.users.entry(user.clone()).or_default().insert(id.clone());
        }
        self.sessions.insert(id, entry);
        self.gauges();
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
        self.gauges();
    }
}

/// Each kind of question.
impl Registry {
    fn disconnect(&self, who: &Who) -> Option<usize> {
        let (places, count) = self.find(who)?;
        for (rooms, sessions) in places {
            rooms.do_send(EndSessions { sessions, reason: CloseReason::Disconnected });
        }
        Some(count)
    }

    fn list_sessions(&self, query: ListSessions) -> Page<SessionInfo> {
        let ListSessions { selector, user, after, limit } = query;
        let page = |ids: &mut dyn Iterator<Item = &Name>| {
            let found = ids
                .filter(|id| after.as_ref().is_none_or(|after| *id > after))
                .filter_map(|id| Some((id, self.sessions.get(id)?)))
                .filter(|(_, entry)| user.as_ref().is_none_or(|user| entry.user.as_ref() == Some(user)))
                .map(|(id, entry)| entry.info(id, &self.node));
            cut(found, limit, |info| {
                256 + info.selectors.iter().map(|selector| selector.as_str().len() + 8).sum::<usize>()
            })
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

    fn list_users(&self, ListUsers { after, limit }: ListUsers) -> Page<UserInfo> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let users = self.users.range((start, Bound::Unbounded));
        cut(users.map(|(id, sessions)| UserInfo { id: id.clone(), sessions: sessions.len() }), limit, |_| 256)
    }

    fn list_listened(&self, ListListened { prefix, after, limit }: ListListened) -> Vec<Topic> {
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
            .take(limit.min(LIST_MAX))
            .cloned()
            .collect()
    }

    fn gauges(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.registry_sessions.set(gauge(self.sessions.len()));
        self.metrics.registry_users.set(gauge(self.users.len()));
        self.metrics.registry_topics.set(gauge(self.listeners.len()));
    }
}

/// The first items, as many as are wanted and fit into one answer.
fn cut<T>(items: impl Iterator<Item = T>, limit: usize, cost: impl Fn(&T) -> usize) -> Page<T> {
    let mut page = Page { items: Vec::new(), more: false };
    let mut bytes = 0;
    for item in items {
        bytes += cost(&item);
        if page.items.len() == limit.min(LIST_MAX) || (bytes > ANSWER_BYTES_MAX && !page.items.is_empty()) {
            page.more = true;
            break;
        }
        page.items.push(item);
    }
    page
}

impl Handler<Question> for Registry {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, question: Question, _: &mut Self::Context) -> Self::Result {
        let reply = match question {
            Question::Send { who, frame } => {
                let found = self.find(&who);
                return Box::pin(async move {
                    let Some((places, _)) = found else { return Reply::Count(None) };
                    let direct =
                        |(rooms, sessions): (Post<Rooms>, _)| rooms.send(Direct { sessions, frame: frame.clone() });
                    let taken = join_all(places.into_iter().map(direct)).await;
                    // A worker that is gone has no sessions either.
                    Reply::Count(Some(taken.into_iter().map(Result::unwrap_or_default).sum()))
                });
            }
            Question::Disconnect(who) => Reply::Count(self.disconnect(&who)),
            Question::Session(id) => Reply::Session(self.sessions.get(&id).map(|entry| entry.info(&id, &self.node))),
            Question::Sessions(list) => Reply::Sessions(self.list_sessions(list)),
            Question::Users(list) => Reply::Users(self.list_users(list)),
            Question::Listeners(topics) => Reply::Counts(topics.iter().map(|topic| self.count(topic)).collect()),
            // For history, which the cluster asks.
            Question::Forget(_) => Reply::Count(None),
            Question::Listened(list) => Reply::Topics(self.list_listened(list)),
        };
        Box::pin(std::future::ready(reply))
    }
}
