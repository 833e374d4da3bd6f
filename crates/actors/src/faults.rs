//! Faults on purpose.

use actix::{Actor, Handler, Message};

use crate::{Bridge, Cluster, History, Hub, Registry, Rooms, Session, SessionStream, Worker};

/// Panic.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Panic;

macro_rules! panics {
    ($($actor:ty),+) => {
        $(impl Handler<Panic> for $actor {
            type Result = ();

            fn handle(&mut self, _: Panic, _: &mut <Self as Actor>::Context) {
                panic!("on purpose");
            }
        })+
    };
}

panics!(Bridge, Cluster, History, Registry, Rooms, Session);

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
}
