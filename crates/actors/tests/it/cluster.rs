//! Hubs that know each other by a bus which loses messages, says some twice, or is cut.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use actix::System;
use bytes::Bytes;
use tokio::{sync::mpsc, time::sleep};
use towncrier_actors::{Gathered, Hub, ListListened, ListSessions, ListUsers, Who};
use towncrier_backplane::{
    Answer, BackplaneError, ControlMessage, Embedded, Ends, NodeId, Peer, Peers, To, control_messages,
};
use towncrier_core::store::{self, Retention};
use towncrier_telemetry::Metrics;
use towncrier_wire::{Name, Partitions, Start, Topic, sse};

use crate::hub::{Reader, SOON, options, spec};

/// Where a node hears, and its card once it has appeared.
type OneNode = (mpsc::Sender<ControlMessage>, Option<String>);

/// Joins nodes in one process.
#[derive(Debug, Default)]
struct Bus {
    nodes: Mutex<BTreeMap<NodeId, OneNode>>,
    /// What becomes of messages, in percent.
    lost: AtomicU32,
    doubled: AtomicU32,
    cut: AtomicU32,
}

#[derive(Debug)]
struct OnBus {
    node: NodeId,
    bus: Arc<Bus>,
}

impl Bus {
    fn join(self: &Arc<Self>) -> (OnBus, mpsc::Receiver<ControlMessage>) {
        let (sender, receiver) = control_messages();
        let node = NodeId::draw();
        self.nodes.lock().unwrap().insert(node, (sender, None));
        (OnBus { node, bus: self.clone() }, receiver)
    }

    fn happens(share: &AtomicU32) -> bool {
        fastrand::u32(0..100) < share.load(Ordering::SeqCst)
    }
}

impl Peers for OnBus {
    fn node(&self) -> NodeId {
        self.node
    }

    fn appear(&self, card: String) -> Answer<'_, Result<Vec<Peer>, BackplaneError>> {
        let mut nodes = self.bus.nodes.lock().unwrap();
        if let Some((_, own)) = nodes.get_mut(&self.node) {
            *own = Some(card);
        }
        let seen = nodes.iter().filter_map(|(id, (_, card))| Some(Peer { id: *id, card: card.clone()? })).collect();
        Box::pin(std::future::ready(Ok(seen)))
    }

    fn disappear(&self) -> Answer<'_, Result<(), BackplaneError>> {
        self.bus.nodes.lock().unwrap().remove(&self.node);
        Box::pin(std::future::ready(Ok(())))
    }

    fn tell(&self, to: To, payload: Bytes) -> Answer<'_, Result<(), BackplaneError>> {
        if Bus::happens(&self.bus.cut) {
            return Box::pin(std::future::ready(Err(BackplaneError::Unavailable)));
        }
        for (id, (sender, _)) in self.bus.nodes.lock().unwrap().iter() {
            let meant = if let To::Node(node) = to { node == *id } else { self.node != *id };
            let times = if Bus::happens(&self.bus.lost) { 0 } else { 1 + u8::from(Bus::happens(&self.bus.doubled)) };
            for _ in 0..if meant { times } else { 0 } {
                let _ = sender.try_send(ControlMessage { from: self.node, payload: payload.clone() });
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

fn hub(bus: &Arc<Bus>, name: &str) -> Hub {
    let store = store::Options {
        partitions: Partitions::ONE,
        retention: Retention { events: 100, age_ms: 3_600_000 },
        namespaces: Vec::new(),
        bytes_max: 1 << 30,
        topics_max: 1000,
        idempotency_age_ms: 1000,
        idempotency_keys_max: 1000,
    };
    let (embedded, signals) = Embedded::new(store, 64 << 20, Arc::new(|| 1));
    let (peers, messages) = bus.join();
    let ends = Ends { backplane: Arc::new(embedded), signals, peers: Arc::new(peers), messages };
    Hub::start(towncrier_actors::Options { node: name.into(), ..options() }, ends, Arc::new(Metrics::new("test")))
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// Three hubs that see each other, each with a session on `news` and one on `only/NODE`, both of the user `anna`.
fn with_hubs(test: impl AsyncFnOnce(&Arc<Bus>, [Hub; 3], Vec<Reader>)) {
    System::new().block_on(async {
        let bus = Arc::new(Bus::default());
        let hubs = ["kiel", "lübeck", "bremen"].map(|name| hub(&bus, name));
        let began = Instant::now();
        for hub in &hubs {
            while hub.nodes().await.expect("nodes").len() < 3 {
                assert!(began.elapsed() < SOON);
                sleep(Duration::from_millis(5)).await;
            }
        }
        let mut readers = Vec::new();
        for hub in &hubs {
            for topic in ["news".to_owned(), format!("only/{}", hub.options().node)] {
                let mut spec = spec(&[&topic], Start::Live);
                spec.user = Some(name("anna"));
                readers.push(Reader::open(&hub.worker(), spec).await);
            }
        }
        test(&bus, hubs.clone(), readers).await;
        hubs.iter().for_each(Hub::stop);
    });
}

fn complete<T>(gathered: Gathered<T>) -> T {
    assert_eq!(gathered.unanswered, [""; 0]);
    gathered.value
}

async fn sessions(hub: &Hub, list: ListSessions) -> Vec<(String, String)> {
    let page = complete(hub.sessions(list).await.expect("sessions"));
    page.items.into_iter().map(|session| (session.id.to_string(), session.node)).collect()
}

#[test]
fn every_hub_speaks_for_all() {
    with_hubs(async |_, hubs, mut readers| {
        for hub in &hubs {
            let all = sessions(hub, ListSessions { limit: 100, ..ListSessions::default() }).await;
            assert_eq!(all.len(), 6);
            assert!(all.is_sorted());
            let mut paged = Vec::new();
            while let Some(page) = Some(ListSessions {
                after: paged.last().map(|(id, _): &(String, String)| name(id)),
                limit: 4,
                ..ListSessions::default()
            }) {
                let page = complete(hub.sessions(page).await.expect("sessions"));
                paged.extend(page.items.into_iter().map(|session| (session.id.to_string(), session.node)));
                if !page.more {
                    break;
                }
            }
            assert_eq!(paged, all);
            let topics = ["news", "only/kiel", "nobody"].map(|topic| Topic::new(topic).expect("topic")).to_vec();
            assert_eq!(complete(hub.count_listeners(topics).await.expect("counts")), [3, 1, 0]);
            let list = ListListened { prefix: "only/".into(), after: None, limit: 10 };
            let listened = complete(hub.listened(list).await.expect("topics"));
            assert_eq!(
                listened.iter().map(Topic::as_str).collect::<Vec<_>>(),
                ["only/bremen", "only/kiel", "only/lübeck"]
            );
            let users = complete(hub.users(ListUsers { after: None, limit: 10 }).await.expect("users"));
            assert_eq!(
                users.items.iter().map(|user| (user.id.as_str(), user.sessions)).collect::<Vec<_>>(),
                [("anna", 6)]
            );
            for (id, node) in all {
                let info = complete(hub.session(name(&id)).await.expect("a session")).expect("it is known");
                assert_eq!((info.id.as_str(), info.node), (id.as_str(), node));
            }
        }
        let taken = hubs[0].send_direct(Who::User(name("anna")), sse::direct(None, "0")).await.expect("sent");
        assert_eq!(complete(taken), Some(6));
        let taken = hubs[1].send_direct(Who::Everyone, sse::direct(None, "1")).await.expect("sent");
        assert_eq!(complete(taken), Some(6));
        for reader in &mut readers {
            reader.take(0..2).await;
        }
        for unknown in ["nobody", "00000000000000000000000000000000"] {
            assert_eq!(complete(hubs[0].session(name(unknown)).await.expect("an answer")), None);
            let sent = hubs[0].send_direct(Who::Session(name(unknown)), sse::direct(None, "x")).await.expect("sent");
            assert_eq!(complete(sent), None);
        }
        let ended = hubs[2].disconnect(Who::User(name("anna"))).await.expect("ended");
        assert_eq!(complete(ended), Some(6));
        for reader in &mut readers {
            assert_eq!(reader.next().await.expect("a close").event, "close");
        }
    });
}

#[test]
fn what_is_lost_or_comes_twice_is_done_once() {
    with_hubs(async |bus, hubs, mut readers| {
        bus.lost.store(25, Ordering::SeqCst);
        bus.doubled.store(25, Ordering::SeqCst);
        let id = sessions_of(&hubs[1]).await;
        let (mut sent, mut unanswered) = (0, 0);
        for number in 0..24 {
            let frame = sse::direct(None, &number.to_string());
            let answer = hubs[0].send_direct(Who::Session(id.clone()), frame).await.expect("sent");
            match answer.value {
                Some(count) => assert_eq!((count, answer.unanswered.len()), (1, 0)),
                None => {
                    assert_eq!(answer.unanswered, ["lübeck"]);
                    unanswered += 1;
                }
            }
            // Not more than the session's queue takes.
            let reader = &mut readers[2];
            let expected = Duration::from_millis(if answer.value.is_some() { 5000 } else { 50 });
            if let Ok(block) = tokio::time::timeout(expected, reader.next()).await {
                assert_eq!(block.expect("an event").data, number.to_string(), "once, in order");
                sent += 1;
            }
        }
        assert!(sent >= 24 - unanswered && unanswered < 12, "{sent} sent, {unanswered} unanswered");
    });
}

/// The id of the first session of the second hub.
async fn sessions_of(hub: &Hub) -> Name {
    let listed = ListSessions { selector: None, user: None, after: None, limit: 100 };
    let own = &hub.options().node;
    let mut found = Vec::new();
    while found.is_empty() {
        let page = hub.sessions(listed.clone()).await.expect("sessions").value;
        let news = |info: &towncrier_actors::SessionInfo| info.selectors.iter().any(|one| one.as_str() == "news");
        found = page.items.into_iter().filter(|info| info.node == *own && news(info)).collect();
    }
    found.remove(0).id
}

#[test]
fn a_node_that_does_not_answer_is_named() {
    with_hubs(async |bus, hubs, _readers| {
        bus.lost.store(100, Ordering::SeqCst);
        let began = Instant::now();
        let page = hubs[0].sessions(ListSessions { limit: 10, ..ListSessions::default() }).await.expect("sessions");
        assert_eq!((page.value.items.len(), page.unanswered.len()), (2, 2));
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert!(page.unanswered.iter().all(|node| node == "lübeck" || node == "bremen"), "{page:?}");
        assert_eq!(hubs[0].metrics().nodes_unanswered.get(), 2);

        // Where there is no way at all, nobody waits.
        bus.cut.store(100, Ordering::SeqCst);
        let began = Instant::now();
        let page = hubs[0].sessions(ListSessions { limit: 10, ..ListSessions::default() }).await.expect("sessions");
        assert_eq!((page.value.items.len(), page.unanswered.len()), (2, 2));
        assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
    });
}

#[test]
fn a_node_that_takes_leave_is_gone_at_once_and_a_new_one_there() {
    with_hubs(async |bus, hubs, _readers| {
        let new = hub(bus, "emden");
        let began = Instant::now();
        while hubs[0].nodes().await.expect("nodes").len() < 4 {
            assert!(began.elapsed() < Duration::from_millis(500), "it says hello");
            sleep(Duration::from_millis(5)).await;
        }
        new.begin_drain();
        new.take_leave().await;
        let began = Instant::now();
        while hubs[0].nodes().await.expect("nodes").len() > 3 {
            assert!(began.elapsed() < Duration::from_millis(500), "it says good bye");
            sleep(Duration::from_millis(5)).await;
        }
        new.stop();
        let names: Vec<_> = hubs[0].nodes().await.expect("nodes").into_iter().map(|node| node.id).collect();
        assert_eq!(names, ["bremen", "kiel", "lübeck"]);
    });
}
