//! Datagrams on their way out, in one buffer that is made once.

use std::net::SocketAddr;

use crate::address::{Address, Transport};

/// Largest datagram written: what an Ethernet carries. Browsers send at most about 1200 bytes.
pub const MAX_DATAGRAM: usize = 1500;
const STRIDE: usize = 1536;
pub(crate) const MAX_DATAGRAMS: usize = 1024;

pub struct Outbox {
    bytes: Vec<u8>,
    entries: Vec<(Address, usize)>,
    /// What goes out on connections leaves by other calls, and has a buffer of its own, made when it is first needed.
    streams: Vec<u8>,
    stream_entries: Vec<(SocketAddr, usize)>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            bytes: vec![0; MAX_DATAGRAMS * STRIDE],
            entries: Vec::with_capacity(MAX_DATAGRAMS),
            streams: Vec::new(),
            stream_entries: Vec::new(),
        }
    }
}

impl Outbox {
    /// Room for one datagram, kept by `commit`; `None` where the outbox is full.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        if self.stream_entries.len() == MAX_DATAGRAMS {
            return None;
        }
        let start = self.entries.len() * STRIDE;
        self.bytes.get_mut(start..start + MAX_DATAGRAM)
    }

    /// Keeps the first `len` bytes of what `room` gave.
    pub fn commit(&mut self, to: impl Into<Address>, len: usize) {
        debug_assert!(len <= MAX_DATAGRAM && self.entries.len() < MAX_DATAGRAMS);
        let to: Address = to.into();
        match to.transport {
            Transport::Udp => self.entries.push((to, len)),
            Transport::Tcp => {
                let start = self.entries.len() * STRIDE;
                self.streams.extend_from_slice(&self.bytes[start..start + len]);
                self.stream_entries.push((to.socket, len));
            }
        }
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

    /// How many packets there are, whichever way they go.
    pub fn waiting(&self) -> usize {
        self.entries.len() + self.stream_entries.len()
    }

    /// What goes out on connections, in order.
    pub fn streams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let mut rest = &self.streams[..];
        self.stream_entries.iter().map(move |&(to, len)| {
            let (packet, after) = rest.split_at(len);
            rest = after;
            (to, packet)
        })
    }

    pub fn clear_streams(&mut self) {
        self.streams.clear();
        self.stream_entries.clear();
    }

    /// Forgets the datagrams.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
