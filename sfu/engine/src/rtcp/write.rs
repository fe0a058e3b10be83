//! RTCP packets, appended to a compound.

use super::{ReportBlock, SenderInfo, NACK, PLI, PSFB, RR, RTPFB, SDES, SR, TRANSPORT_CC};

/// How many blocks or SSRCs fit a packet: its count has five bits.
const MOST_COUNTED: usize = 31;

/// Lost packets named in one NACK packet that we write: with pairs of four bytes, one packet stays below 1100 bytes.
const MOST_NACKED: usize = 256;

/// Appends an SR. Of more than 31 blocks, the rest goes into RRs behind it.
pub fn sender_report(out: &mut Vec<u8>, ssrc: u32, info: &SenderInfo, blocks: &[ReportBlock]) {
    let (first, rest) = blocks.split_at(blocks.len().min(MOST_COUNTED));
    let start = begin(out, SR, first.len() as u8);
    put(
        out,
        &[
            ssrc,
            (info.ntp >> 32) as u32,
            info.ntp as u32,
            info.rtp,
            info.packets,
            info.octets,
        ],
    );
    first.iter().for_each(|block| block.write(out));
    finish(out, start);
    if !rest.is_empty() {
        receiver_report(out, ssrc, rest);
    }
}

/// Appends an RR, or as many as these blocks need at 31 each; without blocks an empty one.
pub fn receiver_report(out: &mut Vec<u8>, ssrc: u32, blocks: &[ReportBlock]) {
    let mut rest = blocks;
    loop {
        let (first, others) = rest.split_at(rest.len().min(MOST_COUNTED));
        let start = begin(out, RR, first.len() as u8);
        put(out, &[ssrc]);
        first.iter().for_each(|block| block.write(out));
        finish(out, start);
        rest = others;
        if rest.is_empty() {
            return;
        }
    }
}

/// Appends a NACK for `lost`, which is sorted (around the wrap: 65535 before 0); nothing if it is empty.
pub fn nack(out: &mut Vec<u8>, sender: u32, media: u32, lost: &[u16]) {
    for lost in lost.chunks(MOST_NACKED) {
        let start = begin(out, RTPFB, NACK);
        put(out, &[sender, media]);
        let mut rest = lost.iter().copied().peekable();
        while let Some(base) = rest.next() {
            let mut mask = 0u16;
            while let Some(bit) = rest.peek().map(|next| next.wrapping_sub(base).wrapping_sub(1)) {
                if bit >= 16 {
                    break;
                }
                mask |= 1 << bit;
                rest.next();
            }
            put(out, &[u32::from(base) << 16 | u32::from(mask)]);
        }
        finish(out, start);
    }
}

/// Appends a request for a key frame.
pub fn pli(out: &mut Vec<u8>, sender: u32, media: u32) {
    let start = begin(out, PSFB, PLI);
    put(out, &[sender, media]);
    finish(out, start);
}

/// Appends an SDES with one source and its CNAME, of which the first 255 bytes go out.
pub fn sdes_cname(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let cname = &cname.as_bytes()[..cname.len().min(255)];
    let start = begin(out, SDES, 1);
    put(out, &[ssrc]);
    out.extend_from_slice(&[1, cname.len() as u8]);
    out.extend_from_slice(cname);
    // At least one zero ends the chunk.
    out.resize(out.len() + 4 - (out.len() - start) % 4, 0);
    finish(out, start);
}

/// Begins a transport-cc feedback and returns where; its FCI, padded to four bytes, and `finish` follow.
pub(crate) fn transport_feedback_start(out: &mut Vec<u8>, sender: u32, media: u32) -> usize {
    let start = begin(out, RTPFB, TRANSPORT_CC);
    put(out, &[sender, media]);
    start
}

/// Writes the length of the packet that began at `start` and ends where `out` does, a multiple of four.
pub(crate) fn finish(out: &mut [u8], start: usize) {
    let words = (out.len() - start) / 4 - 1;
    out[start + 2..start + 4].copy_from_slice(&(words as u16).to_be_bytes());
}

fn begin(out: &mut Vec<u8>, packet_type: u8, count: u8) -> usize {
    out.extend_from_slice(&[0x80 | count, packet_type, 0, 0]);
    out.len() - 4
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{packets, Packet};
    use crate::testing::for_each_seed;

    fn all(compound: &[u8]) -> Vec<Packet<'_>> {
        packets(compound).map(|packet| packet.unwrap()).collect()
    }

    fn block(ssrc: u32) -> ReportBlock {
        ReportBlock {
            ssrc,
            fraction_lost: 64,
            lost: -5,
            highest: 0x1_0002,
            jitter: 7,
            last_sr: 8,
            delay_since_sr: 9,
        }
    }

    #[test]
    fn more_blocks_than_a_packet_counts_go_into_the_next() {
        let blocks: Vec<ReportBlock> = (0..70).map(block).collect();
        for (sr, expected) in [(true, vec![31, 31, 8]), (false, vec![31, 31, 8])] {
            let mut out = Vec::new();
            if sr {
                sender_report(&mut out, 1, &SenderInfo::default(), &blocks);
            } else {
                receiver_report(&mut out, 1, &blocks);
            }
            let read: Vec<Vec<ReportBlock>> = all(&out)
                .into_iter()
                .map(|packet| match packet {
                    Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => blocks.collect(),
                    other => panic!("{:?}", other),
                })
                .collect();
            assert_eq!(read.iter().map(Vec::len).collect::<Vec<_>>(), expected);
            assert_eq!(read.concat(), blocks);
        }
    }

    #[test]
    fn a_loss_count_beyond_24_bits_is_held_at_the_end() {
        for (lost, expected) in [
            (i32::MAX, 0x7f_ffff),
            (i32::MIN, -0x80_0000),
            (-1, -1),
            (0x7f_ffff, 0x7f_ffff),
        ] {
            let mut out = Vec::new();
            receiver_report(&mut out, 1, &[ReportBlock { lost, ..block(1) }]);
            match all(&out).remove(0) {
                Packet::ReceiverReport { mut blocks, .. } => assert_eq!(blocks.next().unwrap().lost, expected),
                other => panic!("{:?}", other),
            }
        }
    }

    #[test]
    fn nothing_lost_writes_nothing_and_much_is_split() {
        let mut out = Vec::new();
        nack(&mut out, 1, 2, &[]);
        assert!(out.is_empty());
        let lost: Vec<u16> = (0..1000u16).map(|n| n.wrapping_mul(20).wrapping_add(60_000)).collect();
        nack(&mut out, 1, 2, &lost);
        let read = all(&out);
        assert_eq!(read.len(), 4);
        let named = read.into_iter().flat_map(|packet| match packet {
            Packet::Nack { lost, .. } => lost,
            other => panic!("{:?}", other),
        });
        assert_eq!(named.collect::<Vec<_>>(), lost);
    }

    #[test]
    fn a_pair_holds_the_sixteen_after_its_first() {
        for first in [0u16, 1, 65_534, 65_535] {
            for (ahead, pairs) in [(1, 1), (16, 1), (17, 2)] {
                let mut out = Vec::new();
                nack(&mut out, 1, 2, &[first, first.wrapping_add(ahead)]);
                assert_eq!(out.len(), 12 + 4 * pairs, "{} and {} more", first, ahead);
            }
        }
    }

    #[test]
    fn any_sorted_losses_are_read_back() {
        for_each_seed(500, |random| {
            let mut at = [0u16, 1, 65_534, 65_535][random.below(4)];
            let mut lost = Vec::new();
            for _ in 0..random.below(300) {
                lost.push(at);
                at = at.wrapping_add(1 + random.below(25) as u16);
            }
            let mut out = Vec::new();
            nack(&mut out, 1, 2, &lost);
            let read = all(&out).into_iter().flat_map(|packet| match packet {
                Packet::Nack { lost, .. } => lost,
                other => panic!("{:?}", other),
            });
            assert_eq!(read.collect::<Vec<_>>(), lost);
        });
    }

    #[test]
    fn a_cname_of_any_length_is_padded_to_words() {
        for len in [0, 1, 2, 3, 4, 254, 255, 300] {
            let mut out = Vec::new();
            sdes_cname(&mut out, 1, &"c".repeat(len));
            assert_eq!(out.len() % 4, 0);
            assert_eq!(*out.last().unwrap(), 0);
            assert_eq!(usize::from(out[9]), len.min(255));
            assert_eq!(all(&out).len(), 1);
        }
    }
}
