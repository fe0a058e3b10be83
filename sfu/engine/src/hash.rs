//! A quick hash for small keys that strangers choose: keyed, so that nobody can choose keys that collide.

use std::hash::{BuildHasher, Hasher};

/// Makes hashes under one secret key; two multiplications for an address.
#[derive(Clone, Copy)]
pub struct Keyed([u64; 2]);

impl Keyed {
    /// `fill` gives random bytes.
    pub fn new(fill: impl FnOnce(&mut [u8])) -> Keyed {
        let mut bytes = [0; 16];
        fill(&mut bytes);
        let number = u128::from_ne_bytes(bytes);
        // Odd: a factor of which bits are lost makes more keys collide.
        Keyed([number as u64, (number >> 64) as u64 | 1])
    }
}

impl BuildHasher for Keyed {
    type Hasher = State;

    fn build_hasher(&self) -> State {
        State {
            state: self.0[0],
            factor: self.0[1],
        }
    }
}

/// One hash on its way.
pub struct State {
    state: u64,
    factor: u64,
}

/// Both halves of the product, so that every bit of the key is in every bit of the hash.
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Hasher for State {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.state = folded(self.state ^ n, self.factor);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        folded(self.state, self.factor.rotate_left(32) | 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn hash(keyed: Keyed, n: u64) -> u64 {
        let mut state = keyed.build_hasher();
        state.write_u64(n);
        state.finish()
    }

    #[test]
    fn numbers_in_a_row_spread_over_low_and_high_bits() {
        let keyed = Keyed::new(|bytes| bytes.copy_from_slice(b"0123456789abcdef"));
        for shift in [0, 52] {
            let places: HashSet<u64> = (0..4096).map(|n| hash(keyed, n << 16) >> shift & 0xfff).collect();
            // Thrown at random into 4096 places, 4096 numbers fill 2589 on average.
            assert!(places.len() > 2_000, "{} places from bit {}", places.len(), shift);
        }
    }

    #[test]
    fn another_key_gives_another_order() {
        let one = Keyed::new(|bytes| bytes.fill(0x5a));
        let other = Keyed::new(|bytes| bytes.fill(0xc3));
        assert_ne!(hash(one, 1), hash(other, 1));
        assert_eq!(hash(one, 1), hash(one, 1));
    }
}
