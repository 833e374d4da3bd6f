//! Who else is there, and what they say: cards in a hash that is looked through whenever a node says that it is there, and
//! messages on channels, by a connection of their own so that no burst of events holds them up.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use fred::types::Value;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use towncrier_backplane::{Answer, BackplaneError, ControlMessage, NodeId, Peer, Peers, To};

use crate::{
    answers,
    commands::{Commands, text},
    intake::{Intake, Taken},
    link::Link,
    message::Message,
    options::millis,
    scripts::PRESENT,
};

/// For how long a node counts as there after it said so. It says so every second.
const CARD_AGE: Duration = Duration::from_secs(5);

/// Which partition's server carries control messages.
const PARTITION: usize = 0;

/// Most bytes of messages that wait; what comes beyond is lost, and asked for again by who needs it.
const INTAKE_BYTES: usize = 32 * 1024 * 1024;

/// How often it is made sure that the connection lives.
const PING: Duration = Duration::from_secs(2);

/// The waits before a new link is tried, at first and at most.
const REOPEN_FIRST: Duration = Duration::from_millis(50);
const REOPEN_MOST: Duration = Duration::from_secs(1);

type Pinging<'a> = Pin<Box<dyn Future<Output = Result<(), fred::error::Error>> + Send + 'a>>;

/// A node's way to the others. See the module.
pub struct RedisPeers {
    commands: Arc<Commands>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for RedisPeers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisPeers").field("node", &self.commands.node).finish_non_exhaustive()
    }
}

impl Drop for RedisPeers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RedisPeers {
    pub(crate) fn new(commands: Arc<Commands>, sender: mpsc::Sender<ControlMessage>) -> Self {
        let task = tokio::spawn(listen(commands.clone(), sender));
        Self { commands, task }
    }

    async fn present(&self, card: String) -> Result<Vec<Peer>, BackplaneError> {
        self.commands.available()?;
        let more = vec![
            text(self.commands.node.to_string()),
            text(card),
            Value::Integer(i64::try_from(millis(CARD_AGE)).unwrap_or(i64::MAX)),
        ];
        let keys = vec![self.commands.keys[PARTITION].cards.clone()];
        // In whatever era: no event hangs on it.
        let answer = self.commands.sort(self.commands.ask(&PRESENT, PARTITION, "", keys, more).await)?;
        let fields = answers::list(answer)?;
        let peer = |fields: &[Value]| {
            let (id, card) = (answers::str(&fields[0]).ok()?, answers::str(&fields[1]).ok()?);
            Some(Peer { id: id.parse().ok()?, card: card.to_owned() })
        };
        Ok(fields.chunks_exact(2).filter_map(peer).collect())
    }
}

impl Peers for RedisPeers {
    fn node(&self) -> NodeId {
        self.commands.node
    }

    fn appear(&self, card: String) -> Answer<'_, Result<Vec<Peer>, BackplaneError>> {
        Box::pin(self.present(card))
    }

    fn disappear(&self) -> Answer<'_, Result<(), BackplaneError>> {
        Box::pin(async move { self.present(String::new()).await.map(drop) })
    }

    fn tell(&self, to: To, payload: Bytes) -> Answer<'_, Result<(), BackplaneError>> {
        Box::pin(async move {
            self.commands.available()?;
            let keys = &self.commands.keys[PARTITION];
            let channel = match to {
                To::Node(node) => keys.control_of(node),
                To::Others => keys.control.clone(),
            };
            let head = format!("n {} ", self.commands.node);
            let message = Value::Bytes([head.as_bytes(), &payload].concat().into());
            let told = self.commands.plain(self.commands.tell(), &keys.meta, vec![text(channel), message]).await;
            self.commands.sort(told).map(drop)
        })
    }
}

/// Takes messages for as long as the node wants them.
async fn listen(commands: Arc<Commands>, sender: mpsc::Sender<ControlMessage>) {
    let mut wait = REOPEN_FIRST;
    while !sender.is_closed() {
        let Err(why) = listen_once(&commands, &sender, &mut wait).await else { return };
        tracing::debug!(why, "the link for control messages is broken, opening a new one");
        sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
        wait = (wait * 2).min(REOPEN_MOST);
    }
}

/// Takes messages by one link, until it breaks or nobody wants them.
async fn listen_once(
    commands: &Commands,
    sender: &mpsc::Sender<ControlMessage>,
    wait: &mut Duration,
) -> Result<(), String> {
    let why = |error: fred::error::Error| error.to_string();
    let intake = Arc::new(Intake::new(INTAKE_BYTES));
    let link = Link::open(commands, &intake, PARTITION..PARTITION + 1).await.map_err(why)?;
    let keys = &commands.keys[PARTITION];
    let own = keys.control_of(commands.node);
    link.subscribe(&[(PARTITION, keys.control.clone()), (PARTITION, own)]).await.map_err(why)?;
    link.barrier().await.map_err(why)?;
    *wait = REOPEN_FIRST;

    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pinging: Option<Pinging<'_>> = None;
    loop {
        tokio::select! {
            taken = intake.take(1) => match taken {
                Taken::Messages(messages, _) => for message in messages {
                    let Message::Control(message) = message else { continue };
                    if message.from != commands.node && sender.send(message).await.is_err() {
                        return Ok(());
                    }
                },
                Taken::Lost => {
                    tracing::warn!("control messages came faster than they were taken, some were dropped");
                    intake.resume();
                }
                Taken::Closed(why) => return Err(why),
            },
            pong = async { match &mut pinging { Some(pinging) => pinging.await, None => std::future::pending().await } } => {
                pinging = None;
                pong.map_err(why)?;
            }
            _ = ping.tick(), if pinging.is_none() => pinging = Some(Box::pin(link.barrier())),
            () = link.left_behind() => return Err("another server is in use".to_owned()),
            () = sender.closed() => return Ok(()),
        }
    }
}
