//! Opus packets joined into a longer one, without a decoder (RFC 6716, section 3.2): the same frames under one TOC.

use crate::opus::{duration, frame_samples, Frames, LONGEST, LONGEST_FRAME, MOST_FRAMES};

/// Configuration and channels of a TOC byte, without the code for its number of frames.
const KIND: u8 = 0xfc;

/// Frames of one kind, which become one packet.
pub struct Repacketizer {
    toc: u8,
    lens: [u16; MOST_FRAMES],
    count: usize,
    frames: Vec<u8>,
}

impl Default for Repacketizer {
    fn default() -> Self {
        Self {
            toc: 0,
            lens: [0; MOST_FRAMES],
            count: 0,
            frames: Vec::new(),
        }
    }
}

impl Repacketizer {
    /// Takes a packet's frames behind those it has, if the whole is of one configuration and number of channels and
    /// lasts at most `longest` samples of 48 kHz. The first packet is taken however long it is.
    ///
    /// Returns `false`, and changes nothing, where that is not so, or where the packet is malformed.
    pub fn push(&mut self, packet: &[u8], longest: u32) -> bool {
        let frames = match Frames::parse(packet) {
            Ok(frames) => frames,
            Err(_) => return false,
        };
        let longer = self.duration() + duration(packet).unwrap_or(LONGEST + 1);
        if self.count > 0 && (packet[0] & KIND != self.toc || longer > longest.min(LONGEST)) {
            return false;
        }
        self.toc = packet[0] & KIND;
        for frame in frames.iter() {
            self.lens[self.count] = frame.len() as u16;
            self.count += 1;
            self.frames.extend_from_slice(frame);
        }
        true
    }

    /// How long what it has plays, in samples of the 48 kHz clock.
    pub fn duration(&self) -> u32 {
        self.count as u32 * frame_samples(self.toc)
    }

    /// Bytes of all frames, without what tells their number and lengths.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn clear(&mut self) {
        self.count = 0;
        self.frames.clear();
    }

    /// Appends the packet; nothing if there are no frames. The shortest of the four codes is taken.
    pub fn write(&self, out: &mut Vec<u8>) {
        let lens = &self.lens[..self.count];
        let equal = lens.windows(2).all(|pair| pair[0] == pair[1]);
        let told = match (self.count, equal) {
            (0, _) => return,
            (1, _) => {
                out.push(self.toc);
                0
            }
            (2, true) => {
                out.push(self.toc | 1);
                0
            }
            (2, false) => {
                out.push(self.toc | 2);
                1
            }
            (count, true) => {
                out.extend_from_slice(&[self.toc | 3, count as u8]);
                0
            }
            (count, false) => {
                out.extend_from_slice(&[self.toc | 3, 0x80 | count as u8]);
                count - 1
            }
        };
        lens[..told].iter().for_each(|len| write_len(out, usize::from(*len)));
        out.extend_from_slice(&self.frames);
    }
}

/// Appends a frame's length (RFC 6716, section 3.2.1).
fn write_len(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len <= LONGEST_FRAME);
    if len < 252 {
        out.push(len as u8);
    } else {
        let first = 252 + (len & 3);
        out.extend_from_slice(&[first as u8, ((len - first) / 4) as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    const SIXTY: u32 = 2880;

    fn joined(packets: &[&[u8]]) -> Vec<u8> {
        let mut repacketizer = Repacketizer::default();
        for packet in packets {
            assert!(repacketizer.push(packet, SIXTY), "{packet:?}");
        }
        let mut out = Vec::new();
        repacketizer.write(&mut out);
        out
    }

    #[test]
    fn packets_become_one_under_the_shortest_code() {
        let cases: [(&[&[u8]], &[u8]); 7] = [
            (&[], b""),
            (&[b"\xf8abc"], b"\xf8abc"),
            (&[b"\xf8ab", b"\xf8cd"], b"\xf9abcd"),
            (&[b"\xf8a", b"\xf8bcd"], b"\xfa\x01abcd"),
            (&[b"\xf8ab", b"\xf8cd", b"\xf8ef"], b"\xfb\x03abcdef"),
            (&[b"\xf8a", b"\xf8", b"\xf8bc"], b"\xfb\x83\x01\x00abc"),
            (&[b"\xfa\x01abb", b"\xf8c"], b"\xfb\x83\x01\x02abbc"),
        ];
        for (packets, expected) in cases {
            assert_eq!(joined(packets), expected, "{packets:?}");
        }
    }

    #[test]
    fn lengths_of_all_sizes_are_written_as_they_are_read() {
        for len in 0..=LONGEST_FRAME {
            let first = [vec![0xf8], vec![1; len]].concat();
            let packet = joined(&[&first, b"\xf8", b"\xf8xy"]);
            let frames: Vec<usize> = Frames::parse(&packet).unwrap().iter().map(<[u8]>::len).collect();
            assert_eq!(frames, [len, 0, 2]);
        }
    }

    #[test]
    fn other_sounds_and_what_gets_too_long_are_not_taken() {
        let mut repacketizer = Repacketizer::default();
        assert!(repacketizer.push(b"\xf8a", SIXTY));
        for packet in [&b"\xfca"[..], b"\xf0a", b"\x78a", b"", b"\xfb\x03abc", b"\xfb\x03ab"] {
            assert!(!repacketizer.push(packet, SIXTY), "{packet:?}");
        }
        assert!(repacketizer.push(b"\xf9ab", SIXTY), "two more frames are 60 ms");
        assert!(!repacketizer.push(b"\xf8a", SIXTY));
        assert_eq!(repacketizer.duration(), SIXTY);
        repacketizer.clear();
        assert!(repacketizer.is_empty());
        assert!(repacketizer.push(b"\xfb\x06abcdef", SIXTY), "120 ms by itself");
        assert!(!repacketizer.push(b"\xf8a", SIXTY));
    }

    #[test]
    fn whatever_is_joined_holds_the_same_frames_and_lasts_as_long() {
        for_each_seed(2_000, |random| {
            let toc = (random.below(64) << 2) as u8;
            let (mut repacketizer, mut frames, mut samples) = (Repacketizer::default(), Vec::new(), 0);
            for _ in 0..random.below(60) {
                let longest = [60, 600][random.below(2)];
                let frame = random.bytes(longest);
                let packet = [vec![toc], frame.clone()].concat();
                if !repacketizer.push(&packet, LONGEST) {
                    assert!(samples + frame_samples(toc) > LONGEST);
                    break;
                }
                frames.push(frame);
                samples += frame_samples(toc);
            }
            let mut packet = Vec::new();
            repacketizer.write(&mut packet);
            assert_eq!(packet.is_empty(), frames.is_empty());
            if !packet.is_empty() {
                assert_eq!(duration(&packet), Some(samples));
                assert_eq!(Frames::parse(&packet).unwrap().iter().collect::<Vec<_>>(), frames);
            }
        });
    }

    #[test]
    fn no_bytes_make_it_panic_or_write_what_it_cannot_read() {
        for_each_seed(5_000, |random| {
            let mut repacketizer = Repacketizer::default();
            for _ in 0..5 {
                let bytes = random.bytes(40);
                repacketizer.push(&bytes, LONGEST);
            }
            let mut out = Vec::new();
            repacketizer.write(&mut out);
            assert!(out.is_empty() || Frames::parse(&out).is_ok());
        });
    }
}
