//! Datagrams on their way out, in one buffer that is made once.

use crate::address::Address;

/// Largest datagram written: what an Ethernet carries. Browsers send at most about 1200 bytes.
pub const MAX_DATAGRAM: usize = 1500;
const STRIDE: usize = 1536;
pub(crate) const MAX_DATAGRAMS: usize = 1024;

pub struct Outbox {
    bytes: Vec<u8>,
    entries: Vec<(Address, usize)>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            bytes: vec![0; MAX_DATAGRAMS * STRIDE],
            entries: Vec::with_capacity(MAX_DATAGRAMS),
        }
    }
}

impl Outbox {
    /// Room for one datagram, kept by `commit`; `None` where the outbox is full.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        let start = self.entries.len() * STRIDE;
        self.bytes.get_mut(start..start + MAX_DATAGRAM)
    }

    /// Keeps the first `len` bytes of what `room` gave.
    pub fn commit(&mut self, to: impl Into<Address>, len: usize) {
        debug_assert!(len <= MAX_DATAGRAM && self.entries.len() < MAX_DATAGRAMS);
        self.entries.push((to.into(), len));
    }

    /// Copies a datagram in; `false` where there is no room.
    pub fn push(&mut self, to: impl Into<Address>, datagram: &[u8]) -> bool {
        match self.room() {
            Some(room) if datagram.len() <= room.len() => {
                room[..datagram.len()].copy_from_slice(datagram);
                self.commit(to, datagram.len());
                true
            }
            _ => false,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn get(&self, i: usize) -> (Address, &[u8]) {
        let (to, len) = self.entries[i];
        (to, &self.bytes[i * STRIDE..i * STRIDE + len])
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
