//! The node among others: says that it is there, answers what they ask of its sessions, and asks them.
//!
//! Nothing is kept of other nodes' sessions. A question about all sessions goes to all nodes at once, one about a session
//! to the node whose tag its id begins with, and the answers are put together. So sessions come and go at no cost to
//! anyone, an answer is never older than the question, and a node that is killed takes its sessions with it.

mod ask;
mod card;
mod deeds;
mod gather;
mod merge;
pub(crate) mod question;
pub(crate) mod said;

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, ResponseActFuture, ResponseFuture, StreamHandler, WrapFuture,
};
use futures_util::{
    Stream,
    future::{OptionFuture, join},
};
use tokio::sync::mpsc::{self, Receiver};
use towncrier_backplane::{ControlMessage, NodeId, Peers, To};
use towncrier_telemetry::Metrics;
use towncrier_wire::Name;

pub use self::{
    ask::Stopping,
    card::{Load, NodeInfo, SinceStart},
    gather::Gathered,
};
use self::{card::Cards, deeds::Deeds, gather::Exchange, question::Question, question::Reply, said::Said};
use crate::{
    History, Post, Registry,
    fatal::Vital,
    messages::{Appear, Disappear, Forget, Gather, ListNodes},
};

/// How often a node says that it is there.
const BEAT: Duration = Duration::from_secs(1);

/// Most questions of this node that wait for answers.
const ASKING_MAX: usize = 1024;

/// Most questions of others that are being answered.
const ANSWERING_MAX: usize = 1024;

/// See the module.
pub struct Cluster {
    peers: Arc<dyn Peers>,
    messages: Option<Receiver<ControlMessage>>,
    registry: Post<Registry>,
    history: Post<History>,
    cards: Cards,
    others: BTreeMap<NodeId, NodeInfo>,
    /// Whether the others have been told that this node has begun.
    greeted: bool,
    /// Who waits for answers, by the number of the question.
    asking: HashMap<u64, mpsc::Sender<(NodeId, Reply)>>,
    asked: u64,
    answering: usize,
    deeds: Deeds,
    metrics: Arc<Metrics>,
    vital: Vital,
}

struct Messages(Receiver<ControlMessage>);

impl Stream for Messages {
    type Item = ControlMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<ControlMessage>> {
        self.0.poll_recv(cx)
    }
}

/// On which nodes a session may be.
enum Home {
    Here,
    Others(Vec<NodeId>),
    Unknown,
}

impl Cluster {
    pub(crate) fn new(
        peers: Arc<dyn Peers>,
        messages: Receiver<ControlMessage>,
        (registry, history): (Post<Registry>, Post<History>),
        (name, version): (String, String),
        metrics: Arc<Metrics>,
        vital: Vital,
    ) -> Self {
        Self {
            peers,
            messages: Some(messages),
            registry,
            history,
            cards: Cards::new(name, version),
            others: BTreeMap::new(),
            greeted: false,
            asking: HashMap::new(),
            asked: 0,
            answering: 0,
            deeds: Deeds::default(),
            metrics,
            vital,
        }
    }

    fn home(&self, session: &Name) -> Home {
        let Some(tag) = tag_of(session) else { return Home::Unknown };
        if self.peers.node().tag() == tag {
            return Home::Here;
        }
        let others: Vec<_> = self.others.keys().copied().filter(|node| node.tag() == tag).collect();
        if others.is_empty() { Home::Unknown } else { Home::Others(others) }
    }

    /// Takes up who is there now.
    fn see(&mut self, peers: Vec<towncrier_backplane::Peer>) {
        let own = self.peers.node();
        let mut others = BTreeMap::new();
        for peer in peers.into_iter().filter(|peer| peer.id != own) {
            let unreadable = || NodeInfo { id: peer.id.to_string(), ..NodeInfo::default() };
            let info: NodeInfo = serde_json::from_str(&peer.card).unwrap_or_else(|_| unreadable());
            if !self.others.contains_key(&peer.id) {
                tracing::info!(node = info.id, version = info.version, "another node is there");
                if info.id == self.cards.name() {
                    tracing::warn!(node = info.id, "another node has the same name; set node.id to tell them apart");
                }
            }
            others.insert(peer.id, info);
        }
        for (node, info) in &self.others {
            if !others.contains_key(node) {
                tracing::info!(node = info.id, "a node is gone");
            }
        }
        self.others = others;
        self.metrics.nodes.set(1 + self.others.len() as i64);
    }

    fn tell(&self, to: To, said: &Said) -> impl Future<Output = ()> + use<> {
        let (peers, payload) = (self.peers.clone(), said.encode());
        async move {
            if let Err(error) = peers.tell(to, payload).await {
                tracing::debug!(%error, "cannot tell other nodes");
            }
        }
    }

    /// What this node answers; nothing if it is stopping.
    fn ask_here(&self, question: Question) -> impl Future<Output = Option<Reply>> + use<> {
        let (registry, history) = (self.registry.clone(), self.history.clone());
        async move {
            match question {
                Question::Forget(topic) => history.send(Forget(topic)).await.map(|()| Reply::Count(Some(1))).ok(),
                question => registry.send(question).await.ok(),
            }
        }
    }

    fn answer(&mut self, from: NodeId, id: u64, question: Question, ctx: &mut Context<Self>) {
        let is_deed = question.is_deed();
        if is_deed && let Some(known) = self.deeds.begin((from, id)) {
            // Asked again: it is not done again.
            if let Some(reply) = known {
                actix_rt::spawn(self.tell(To::Node(from), &Said::Answer { id, reply }));
            }
            return;
        }
        if self.answering >= ANSWERING_MAX {
            // Not begun, so it may be asked again.
            self.deeds.forget((from, id));
            return;
        }
        self.answering += 1;
        let asked = self.ask_here(question);
        ctx.spawn(asked.into_actor(self).map(move |reply, cluster, _| {
            cluster.answering -= 1;
            let Some(reply) = reply else { return };
            if is_deed {
                cluster.deeds.done((from, id), reply.clone());
            }
            actix_rt::spawn(cluster.tell(To::Node(from), &Said::Answer { id, reply }));
        }));
    }
}

/// What a session's id begins with.
fn tag_of(session: &Name) -> Option<u32> {
    let digits = session.as_str().get(..8)?;
    let sound = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if sound { u32::from_str_radix(digits, 16).ok() } else { None }
}

impl Actor for Cluster {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        if let Some(messages) = self.messages.take() {
            ctx.add_stream(Messages(messages));
        }
        self.cards.measure(&self.metrics);
        ctx.notify(Appear);
        ctx.run_interval(BEAT, |cluster, ctx| {
            cluster.vital.beat();
            cluster.cards.measure(&cluster.metrics);
            cluster.asking.retain(|_, answers| !answers.is_closed());
            ctx.notify(Appear);
        });
    }
}

impl Handler<Appear> for Cluster {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Appear, _: &mut Self::Context) -> Self::Result {
        let card = serde_json::to_string(&self.cards.write(&self.metrics)).unwrap_or_default();
        let peers = self.peers.clone();
        let appear = async move { peers.appear(card).await };
        Box::pin(appear.into_actor(self).map(|seen, cluster, _| match seen {
            Ok(seen) => {
                cluster.see(seen);
                if !std::mem::replace(&mut cluster.greeted, true) {
                    actix_rt::spawn(cluster.tell(To::Others, &Said::Hello));
                }
            }
            // The others stay as they were last seen: whether they are still there cannot be known.
            Err(error) => tracing::debug!(%error, "cannot see other nodes"),
        }))
    }
}

impl Handler<Disappear> for Cluster {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Disappear, _: &mut Self::Context) -> Self::Result {
        let (peers, bye) = (self.peers.clone(), self.tell(To::Others, &Said::Bye));
        Box::pin(async move {
            if let Err(error) = peers.disappear().await {
                tracing::debug!(%error, "cannot take leave of the other nodes");
            }
            bye.await;
        })
    }
}

impl StreamHandler<ControlMessage> for Cluster {
    fn handle(&mut self, message: ControlMessage, ctx: &mut Self::Context) {
        let ControlMessage { from, payload } = message;
        match Said::decode(&payload) {
            Some(Said::Hello) => ctx.notify(Appear),
            Some(Said::Bye) => {
                if self.others.remove(&from).is_some() {
                    self.metrics.nodes.set(1 + self.others.len() as i64);
                }
            }
            Some(Said::Ask { id, question }) => self.answer(from, id, question, ctx),
            Some(Said::Answer { id, reply }) => {
                if let Some(asking) = self.asking.get(&id) {
                    // One that does not fit is one too many.
                    let _ = asking.try_send((from, reply));
                }
            }
            None => tracing::debug!(%from, "another node says something that is not understood"),
        }
    }
}

impl Handler<Gather> for Cluster {
    type Result = ResponseFuture<Gathered<Vec<Reply>>>;

    fn handle(&mut self, Gather { question, refreshed }: Gather, ctx: &mut Self::Context) -> Self::Result {
        let whom = match question.session().map(|session| self.home(session)) {
            None => Some(self.others.keys().copied().collect()),
            Some(Home::Here) => Some(Vec::new()),
            Some(Home::Others(others)) => Some(others),
            Some(Home::Unknown) => None,
        };
        let Some(whom) = whom else {
            let me = ctx.address();
            return Box::pin(async move {
                // The session may be on a node that has begun since this one last looked around.
                if refreshed || me.send(Appear).await.is_err() {
                    return Gathered { value: Vec::new(), unanswered: Vec::new() };
                }
                me.send(Gather { question, refreshed: true }).await.unwrap_or_default()
            });
        };
        // A session of another node is not asked for here.
        let own = (question.session().is_none() || whom.is_empty()).then(|| self.ask_here(question.clone()));
        let others: BTreeMap<_, _> =
            whom.into_iter().filter_map(|node| Some((node, self.others.get(&node)?.id.clone()))).collect();
        let everyone = others.len() == self.others.len();

        self.asked += 1;
        let (sender, answers) = mpsc::channel(others.len().max(1));
        let full = self.asking.len() >= ASKING_MAX;
        if !others.is_empty() && !full {
            self.asking.insert(self.asked, sender);
        }
        let payload = Said::Ask { id: self.asked, question }.encode();
        let exchange = Exchange { peers: self.peers.clone(), payload, others, everyone, answers, full };
        let metrics = self.metrics.clone();
        Box::pin(async move {
            let (own, mut gathered) = join(OptionFuture::from(own), exchange.run()).await;
            metrics.nodes_unanswered.inc_by(gathered.unanswered.len() as u64);
            gathered.value.extend(own.flatten());
            gathered
        })
    }
}

impl Handler<ListNodes> for Cluster {
    type Result = Vec<NodeInfo>;

    fn handle(&mut self, _: ListNodes, _: &mut Self::Context) -> Vec<NodeInfo> {
        let mut nodes: Vec<_> = self.others.values().cloned().collect();
        nodes.push(self.cards.write(&self.metrics));
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_names_its_node() {
        let tag = |text: &str| tag_of(&Name::new(text).unwrap());
        assert_eq!(tag("00abcdef0123456789abcdef01234567"), Some(0x00ab_cdef));
        for other in ["short", "00ABCDEF", "+0abcdef", "ümlaute und mehr"] {
            assert_eq!(tag(other), None, "{other}");
        }
    }
}
