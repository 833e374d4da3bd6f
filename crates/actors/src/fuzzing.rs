//! What reads the bytes of other nodes, for the fuzz targets: nothing here is for anybody else.

use bytes::Bytes;

use crate::cluster::said::Said;

/// Reads what a node says, and writes it again; `None` if it is not understood.
#[must_use]
pub fn say_again(payload: &Bytes) -> Option<Bytes> {
    Said::decode(payload).map(|said| said.encode())
}
