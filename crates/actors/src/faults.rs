//! Faults on purpose.

use std::time::Duration;

use actix::{Actor, Handler, Message};

use crate::{Bridge, Cluster, History, Hub, Registry, Rooms, Session, SessionStream, Worker, post::takes_posted};

/// Stand still: block the actor's thread for so long.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Block(pub Duration);

/// Panic.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Panic;

macro_rules! faulty {
    ($($actor:ty),+) => {
        $(impl Handler<Panic> for $actor {
            type Result = ();

            fn handle(&mut self, _: Panic, _: &mut <Self as Actor>::Context) {
                panic!("on purpose");
            }
        }

        impl Handler<Block> for $actor {
            type Result = ();

            fn handle(&mut self, Block(time): Block, _: &mut <Self as Actor>::Context) {
                std::thread::sleep(time);
            }
        }

        takes_posted!($actor: Panic, Block;);)+
    };
}

faulty!(Bridge, Cluster, History, Registry, Rooms, Session);

impl Worker {
    /// Makes this worker's rooms panic.
    pub fn panic(&self) {
        self.rooms().do_send(Panic);
    }
}

impl SessionStream {
    /// Makes the session panic.
    pub fn panic(&self) {
        if let Some(address) = &*self.shared().address.borrow() {
            address.do_send(Panic);
        }
    }
}

impl Hub {
    /// Makes one of the hub's own actors panic: `bridge`, `cluster`, `history` or `registry`.
    pub fn panic(&self, actor: &str) {
        match actor {
            "bridge" => self.bridge().do_send(Panic),
            "cluster" => self.cluster().do_send(Panic),
            "history" => self.history().do_send(Panic),
            _ => self.registry().do_send(Panic),
        }
    }

    /// Makes one of them stand still for so long, or the first worker: `worker`.
    pub fn block(&self, actor: &str, time: Duration) {
        match actor {
            "bridge" => self.bridge().do_send(Block(time)),
            "cluster" => self.cluster().do_send(Block(time)),
            "history" => self.history().do_send(Block(time)),
            "registry" => self.registry().do_send(Block(time)),
            _ => self.workers().iter().take(1).for_each(|rooms| rooms.do_send(Block(time))),
        }
    }
}
