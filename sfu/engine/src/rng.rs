//! The shard's own randomness: AES-CTR over a seed, so that a simulation replays exactly, and so that nobody who
//! has seen some transaction ids can tell the next (they prove an address; see `ice`).

use crate::crypto::AesCtr;

pub struct Rng {
    stream: AesCtr,
    block: u64,
}

impl Rng {
    pub fn new(seed: [u8; 16]) -> Self {
        // A key of 16 bytes is always taken.
        Self {
            stream: AesCtr::new(&seed).expect("AES-128"),
            block: 0,
        }
    }

    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(16) {
            let mut iv = [0u8; 16];
            iv[..8].copy_from_slice(&self.block.to_be_bytes());
            self.block += 1;
            chunk.fill(0);
            self.stream.apply(&iv, chunk);
        }
    }

    pub fn u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_be_bytes(bytes)
    }
}
