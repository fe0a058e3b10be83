//! A network that loses datagrams at random, and in each run the same.

/// Nothing is lost until [`Lossy::set`] says so.
pub struct Lossy {
    /// Of 2^32.
    share: u64,
    state: u64,
}

impl Default for Lossy {
    fn default() -> Self {
        Lossy {
            share: 0,
            state: 0x9E37_79B9_7F4A_7C15,
        }
    }
}

impl Lossy {
    /// From now on this share of all datagrams is lost, 0 to 1.
    pub fn set(&mut self, share: f64) {
        self.share = (share.clamp(0.0, 1.0) * (1u64 << 32) as f64) as u64;
    }

    /// Whether the next datagram is lost.
    pub fn takes(&mut self) -> bool {
        if self.share == 0 {
            return false;
        }
        // Marsaglia, "Xorshift RNGs" (2003), section 4.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 32 < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_lost_as_was_said() {
        let mut lossy = Lossy::default();
        assert!((0..1000).all(|_| !lossy.takes()));
        lossy.set(0.3);
        let lost = (0..100_000).filter(|_| lossy.takes()).count();
        assert!((29_000..31_000).contains(&lost), "{}", lost);
        lossy.set(1.0);
        assert!((0..1000).all(|_| lossy.takes()));
    }
}
