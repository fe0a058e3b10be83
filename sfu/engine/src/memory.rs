//! What participants cost in memory, added up where it is held: close to what the allocator says (`tests/memory.rs`),
//! and cheap enough to be asked for each second. OpenSSL's contexts are not in it.

use std::mem::size_of;

use crate::layer::Layer;
use crate::patience::Patience;
use crate::peer::{Peer, Stream};
use crate::reports::SlotReception;
use crate::resend::Resends;
use crate::shard::Shard;
use crate::slot::Slot;

impl Layer {
    fn memory(&self) -> usize {
        self.store.memory() + self.gaps.memory()
    }
}

impl Peer {
    /// Bytes allocated for this participant.
    pub fn memory(&self) -> usize {
        let tracks = self.tracks.iter().map(|track| {
            let layers: usize = track.layers.iter().map(Layer::memory).sum();
            layers
                + track.layers.capacity() * size_of::<Layer>()
                + track.listeners.capacity() * size_of::<(usize, usize)>()
        });
        let slots = self.slots.iter().map(Slot::memory);
        let resends = self.resends.iter().map(Resends::memory);
        let per_slot = size_of::<Slot>() + size_of::<Resends>() + size_of::<Patience>() + size_of::<SlotReception>();
        size_of::<Peer>()
            + tracks.sum::<usize>()
            + slots.sum::<usize>()
            + resends.sum::<usize>()
            + self.slots.capacity() * per_slot
            + self.streams.capacity() * size_of::<(u32, Stream)>()
            + self.ways.memory()
            + self.history.memory()
            + self.pacer.memory()
            + self.arrivals.memory()
    }
}

impl Shard {
    /// Bytes allocated for all participants.
    pub fn memory(&self) -> usize {
        self.all_peers().map(Peer::memory).sum()
    }
}
