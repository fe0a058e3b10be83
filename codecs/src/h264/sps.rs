//! The picture size in a sequence parameter set (ITU-T H.264, sections 7.3.2.1.1 and 7.4.2.1.1).

/// Profiles whose sets tell of chroma, bit depth and scaling too.
const HIGH: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// More macroblocks in a row or column than any level allows (level 6.2 has 1055).
const MOST_MACROBLOCKS: u32 = 1056;

/// Width and height in pixels, cropping taken off. `set` is the NAL unit without its first byte; its end may be missing.
pub fn size(set: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits {
        bytes: set,
        at: 0,
        zeros: 0,
        byte: 0,
        left: 0,
    };
    let profile = bits.fixed(8)?;
    bits.fixed(16)?; // constraints, level
    bits.unsigned()?; // id
    let mut chroma = 1; // 4:2:0
    if HIGH.contains(&profile) {
        let format = bits.unsigned()?;
        // Three planes that are coded apart count as three monochrome pictures.
        let apart = format == 3 && bits.fixed(1)? == 1;
        chroma = if apart { 0 } else { format };
        bits.unsigned()?; // bit depths
        bits.unsigned()?;
        bits.fixed(1)?;
        if bits.fixed(1)? == 1 {
            for list in 0..if format == 3 { 12 } else { 8 } {
                if bits.fixed(1)? == 1 {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.unsigned()?; // bits of frame_num
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.fixed(1)?;
            bits.unsigned()?;
            bits.unsigned()?;
            for _ in 0..bits.unsigned()?.min(256) {
                bits.unsigned()?;
            }
        }
        _ => {}
    }
    bits.unsigned()?; // reference frames
    bits.fixed(1)?;
    let columns = bits
        .unsigned()?
        .checked_add(1)
        .filter(|&columns| columns <= MOST_MACROBLOCKS)?;
    let rows = bits
        .unsigned()?
        .checked_add(1)
        .filter(|&rows| rows <= MOST_MACROBLOCKS)?;
    let fields = 2 - bits.fixed(1)?; // 2 where a row of macroblocks is one of a field
    if fields == 2 {
        bits.fixed(1)?;
    }
    bits.fixed(1)?;
    let mut crop = [0; 4]; // left, right, top, bottom
    if bits.fixed(1)? == 1 {
        for edge in &mut crop {
            *edge = bits.unsigned()?.min(0xffff);
        }
    }
    let (across, down) = match chroma {
        1 => (2, 2 * fields),
        2 => (2, fields),
        _ => (1, fields),
    };
    let width = (16 * columns).checked_sub(across * (crop[0] + crop[1]))?;
    let height = (16 * fields * rows).checked_sub(down * (crop[2] + crop[3]))?;
    let pixels = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    Some(pixels).filter(|&(width, height)| width > 0 && height > 0)
}

fn skip_scaling_list(bits: &mut Bits, len: usize) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..len {
        if next != 0 {
            let code = i64::from(bits.unsigned()?);
            let delta = if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) };
            next = (last + delta).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// Reads bits, without the 3 that is put after two zero bytes so that no start code appears.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    zeros: u32, // zero bytes just before `at`
    byte: u8,
    left: u32, // bits of `byte`
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            if self.zeros >= 2 && self.bytes.get(self.at) == Some(&3) {
                self.at += 1;
                self.zeros = 0;
            }
            self.byte = *self.bytes.get(self.at)?;
            self.at += 1;
            self.zeros = if self.byte == 0 { self.zeros + 1 } else { 0 };
            self.left = 8;
        }
        self.left -= 1;
        Some(u32::from(self.byte >> self.left & 1))
    }

    fn fixed(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| self.bit().map(|bit| value << 1 | bit))
    }

    /// An Exp-Golomb code (section 9.1) of at most 32 bits of value.
    fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        self.fixed(zeros).map(|rest| (1u32 << zeros) - 1 + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    /// x264's parameter sets, from profile_idc on, as hexadecimal digits.
    const WRITTEN: [(&str, (u16, u16)); 7] = [
        ("42c016d900a02ff961000003000100000300280f162e48", (640, 360)),
        ("42c00cd901419f9e1000000300100000030280f142a480", (320, 180)),
        ("64001facd9405005ba1000000300100000030280f1831960", (1280, 720)),
        ("4d401eeca06c1ef370800000030080000014078b16cb", (854, 480)),
        ("42c028d900780227e584000003000400000300a03c60c920", (1920, 1080)),
        ("640016acd940a42fe22484000003000400000300a03c58b658", (642, 362)),
        ("f40016919b281405ff13080000030008000003014078b16cb0", (640, 360)), // 4:4:4
    ];

    fn bytes(digits: &str) -> Vec<u8> {
        (0..digits.len() / 2)
            .map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap())
            .collect()
    }

    /// Bits as a row of codes: (value, width), a width of 0 for Exp-Golomb.
    fn packed(codes: &[(u32, usize)]) -> Vec<u8> {
        let mut row = String::new();
        for &(value, width) in codes {
            match width {
                0 => {
                    let digits = format!("{:b}", value + 1);
                    row += &"0".repeat(digits.len() - 1);
                    row += &digits;
                }
                _ => row += &format!("{:0width$b}", value, width = width),
            }
        }
        row += &"1".repeat(8 - row.len() % 8);
        (0..row.len() / 8)
            .map(|n| u8::from_str_radix(&row[8 * n..8 * n + 8], 2).unwrap())
            .collect()
    }

    #[test]
    fn the_size_is_what_the_encoder_was_given() {
        for (digits, expected) in WRITTEN {
            assert_eq!(size(&bytes(digits)), Some(expected), "{}", digits);
        }
    }

    #[test]
    fn fields_count_twice_and_picture_order_of_type_one_is_passed_over() {
        let codes = [
            (77, 8),
            (0, 16),
            (0, 0),
            (0, 0),
            (1, 0),
            (0, 1),
            (3, 0),
            (4, 0),
            (2, 0),
            (9, 0),
            (9, 0),
            (1, 0),
            (0, 1),
            (44, 0),
            (17, 0),
            (0, 1),
            (0, 1),
            (1, 1),
            (1, 1),
            (0, 0),
            (0, 0),
            (0, 0),
            (2, 0), // 45 by 18, fields, crop 2
        ];
        assert_eq!(size(&packed(&codes)), Some((720, 568)));
    }

    #[test]
    fn scaling_lists_are_passed_over() {
        let mut codes = vec![(100, 8), (0, 16), (0, 0), (1, 0), (0, 0), (0, 0), (0, 1), (1, 1)];
        codes.push((1, 1));
        codes.extend([(1, 0); 16]); // sixteen deltas of 1
        codes.extend([(1, 1), (16, 0)]); // a delta of -8: the rest as by default
        codes.extend([(0, 1); 6]);
        codes.extend([(0, 0), (2, 0), (1, 0), (0, 1), (19, 0), (14, 0), (1, 1), (1, 1), (0, 1)]);
        assert_eq!(size(&packed(&codes)), Some((320, 240)));
    }

    #[test]
    fn bytes_put_in_against_start_codes_are_taken_out() {
        // An id and frame_num bits that leave a run of zeros, before a width that has its bits behind them.
        let codes = [
            (66, 8),
            (0, 8),
            (0, 8), // constraints and level are two zero bytes
            (0, 0),
            (0, 0),
            (2, 0),
            (1, 0),
            (0, 1),
            (39, 0),
            (21, 0),
            (1, 1),
            (1, 1),
            (0, 1),
        ];
        let mut set = packed(&codes);
        set.insert(3, 3);
        assert_eq!(size(&set), Some((640, 352)));
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let start = [(66, 8), (0, 16), (0, 0), (0, 0), (2, 0), (1, 0), (0, 1)];
        let with = |rest: &[(u32, usize)]| packed(&[&start[..], rest].concat());
        assert_eq!(size(&with(&[(1056, 0), (9, 0), (1, 1), (1, 1), (0, 1)])), None);
        assert_eq!(size(&with(&[(9, 0), (u32::MAX - 1, 0), (1, 1), (1, 1), (0, 1)])), None);
        // More cropped than there is, and all of it.
        let cropped = |edge| {
            with(&[
                (0, 0),
                (0, 0),
                (1, 1),
                (1, 1),
                (1, 1),
                (edge, 0),
                (0, 0),
                (0, 0),
                (0, 0),
            ])
        };
        assert_eq!(size(&cropped(7)), Some((2, 16)));
        assert_eq!(size(&cropped(8)), None);
        assert_eq!(size(&cropped(9)), None);
        assert_eq!(size(&[66, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None); // a code that never begins
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for_each_seed(20_000, |random| {
            let good = bytes(WRITTEN[random.below(7)].0);
            size(&if random.one_in(3) {
                random.bytes(40)
            } else {
                random.mutated(&good)
            });
        });
    }
}
