//! Bits from the highest on, as VP9's and AV1's headers are written.

pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, at: 0 }
    }

    /// The next `count` bits, 32 at most; nothing where the bytes end before.
    pub fn take(&mut self, count: usize) -> Option<u32> {
        if count > 32 || self.at + count > 8 * self.bytes.len() {
            return None;
        }
        let mut value = 0u64;
        let end = self.at + count;
        while self.at < end {
            let left = 8 - self.at % 8;
            let taken = left.min(end - self.at);
            let byte = u64::from(self.bytes[self.at / 8]) >> (left - taken);
            value = value << taken | byte & ((1 << taken) - 1);
            self.at += taken;
        }
        Some(value as u32)
    }

    pub fn flag(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// A number below `end`, which is 1 or more: "ns(n)" of the AV1 specification, section 4.10.7.
    pub fn below(&mut self, end: u32) -> Option<u32> {
        let width = 32 - end.leading_zeros() as usize;
        let short = (1u64 << width) as u32 - end;
        let value = self.take(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1 | self.take(1)?) - short)
    }

    /// A number of any size: "uvlc()" of the AV1 specification, section 4.10.3.
    pub fn unbounded(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        if zeros >= 32 {
            return Some(u32::MAX);
        }
        Some(self.take(zeros)? + ((1u64 << zeros) - 1) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_taken_across_bytes_and_never_beyond_the_end() {
        let mut bits = Bits::new(&[0b1010_0101, 0xff, 0x00, 0x81, 0x7e]);
        assert_eq!(bits.take(0), Some(0));
        assert_eq!(bits.take(3), Some(0b101));
        assert_eq!(bits.take(7), Some(0b0010111));
        assert_eq!(bits.flag(), Some(true));
        assert_eq!(bits.take(29), Some(0x1f00_817e));
        assert_eq!(bits.take(1), None);
        assert_eq!(Bits::new(&[0xff; 8]).take(33), None);
    }

    #[test]
    fn numbers_below_an_end_take_no_more_bits_than_they_need() {
        // Of five values, three take two bits and two take three.
        let read = |byte| Bits::new(&[byte]).below(5);
        let values: Vec<_> = [0b000, 0b010, 0b100, 0b110, 0b111]
            .iter()
            .map(|b| read(b << 5))
            .collect();
        assert_eq!(values, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!(Bits::new(&[]).below(1), Some(0));
    }

    #[test]
    fn numbers_of_any_size_count_their_zeros_first() {
        assert_eq!(Bits::new(&[0b1000_0000]).unbounded(), Some(0));
        assert_eq!(Bits::new(&[0b0110_0000]).unbounded(), Some(2));
        assert_eq!(Bits::new(&[0; 3]).unbounded(), None);
        assert_eq!(Bits::new(&[0, 0, 0, 0, 0x80]).unbounded(), Some(u32::MAX));
    }
}
