//! One connection of the floor server.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::rooms::Seat;
use crate::poll::Ready;

/// Bytes that may wait for a slow reader before it is cut off.
const PENDING_MAX: usize = 16 * 1024 * 1024;

/// The other side is gone, or too slow.
#[derive(Debug)]
pub(super) struct Gone;

/// A socket, and what does not fit into it. Kept small: idle connections are counted by the byte.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Of a subscriber, one for each topic.
    pub(super) seats: Box<[Seat]>,
    /// Bytes that did not fit into the socket.
    waiting: Option<Vec<u8>>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, seats: Box::default(), waiting: None }
    }

    /// Reads all there is into `input`.
    pub(super) fn read(&mut self, ready: Ready, buffer: &mut [u8], input: &mut Vec<u8>) -> Result<(), Gone> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Gone),
                Ok(length) => {
                    input.extend_from_slice(&buffer[..length]);
                    if length < buffer.len() && !ready.ended {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
    }

    /// Writes `bytes`, behind what is still waiting.
    #[inline]
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if self.waiting.is_some() {
            return self.wait(bytes);
        }
        match self.stream.write(bytes) {
            Ok(length) if length == bytes.len() => Ok(()),
            Ok(length) => self.wait(&bytes[length..]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => self.wait(bytes),
            Err(_) => Err(Gone),
        }
    }

    #[cold]
    fn wait(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let waiting = self.waiting.get_or_insert_default();
        if waiting.len() + bytes.len() > PENDING_MAX {
            return Err(Gone);
        }
        waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what is waiting, now that there may be room.
    pub(super) fn flush(&mut self) -> Result<(), Gone> {
        while let Some(waiting) = &mut self.waiting {
            match self.stream.write(waiting) {
                Ok(length) if length == waiting.len() => self.waiting = None,
                Ok(length) => drop(waiting.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }
}
