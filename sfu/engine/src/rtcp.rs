//! RTCP: compounds read in place, packets written behind each other (RFC 3550, 4585, 5104, draft-alvestrand-rmcat-remb).

use crate::rtp::{be16, be32};
use std::slice::ChunksExact;

mod write;

pub(crate) use write::{finish, transport_feedback_start};
pub use write::{nack, pli, receiver_report, sdes_cname, sender_report};

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;

const NACK: u8 = 1; // RTPFB, RFC 4585
const TRANSPORT_CC: u8 = 15; // RTPFB
const PLI: u8 = 1; // PSFB, RFC 4585
const FIR: u8 = 4; // PSFB, RFC 5104
const APPLICATION: u8 = 15; // PSFB, REMB among others

/// Why bytes are no RTCP packet. What follows them in the compound is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpError {
    /// Ends before what its header, or its count, announces.
    Short,
    /// The version isn't 2.
    Version,
    /// Announces padding of 0 bytes, or more than there are.
    Padding,
}

/// What a receiver says of one source (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the start; negative where more came than were expected. 24 bits on the wire, held at the ends.
    pub lost: i32,
    /// Highest sequence number, and above it the number of times it wrapped.
    pub highest: u32,
    /// Interarrival jitter, in units of the RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last SR; 0 before one.
    pub last_sr: u32,
    /// Since that SR came, in 1/65536 s.
    pub delay_since_sr: u32,
}

impl ReportBlock {
    const LEN: usize = 24;

    fn read(bytes: &[u8]) -> Self {
        ReportBlock {
            ssrc: be32(bytes, 0),
            fraction_lost: bytes[4],
            lost: (be32(bytes, 4) << 8) as i32 >> 8, // 24 bits with a sign
            highest: be32(bytes, 8),
            jitter: be32(bytes, 12),
            last_sr: be32(bytes, 16),
            delay_since_sr: be32(bytes, 20),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let lost = self.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        let loss = u32::from(self.fraction_lost) << 24 | lost;
        for word in [
            self.ssrc,
            loss,
            self.highest,
            self.jitter,
            self.last_sr,
            self.delay_since_sr,
        ] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }

    /// The round trip to who wrote this, in 1/65536 s, if it has had an SR of ours (RFC 3550, section 6.4.1).
    ///
    /// `now` is the middle 32 bits of the NTP time, [`compact`], on the clock of our SRs. An answer that seems to come
    /// before its question (clocks drift, and senders lie) gives 0.
    pub fn round_trip(&self, now: u32) -> Option<u32> {
        if self.last_sr == 0 {
            return None;
        }
        let trip = now.wrapping_sub(self.last_sr).wrapping_sub(self.delay_since_sr);
        Some(if trip < 0x8000_0000 { trip } else { 0 })
    }
}

/// The middle 32 bits of an NTP time: 16 of seconds, 16 of fraction.
pub fn compact(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// What a sender says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// Seconds since 1900 in the upper half, their fraction in the lower.
    pub ntp: u64,
    /// The same moment on the RTP clock.
    pub rtp: u32,
    pub packets: u32,
    /// Of payload alone.
    pub octets: u32,
}

/// One packet of a compound.
#[derive(Clone, Debug)]
pub enum Packet<'a> {
    SenderReport {
        ssrc: u32,
        info: SenderInfo,
        blocks: Blocks<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        blocks: Blocks<'a>,
    },
    Nack {
        sender: u32,
        media: u32,
        lost: Lost<'a>,
    },
    Pli {
        sender: u32,
        media: u32,
    },
    Fir {
        sender: u32,
        targets: FirTargets<'a>,
    },
    /// `fci` is for `twcc::parse`.
    TransportFeedback {
        sender: u32,
        media: u32,
        fci: &'a [u8],
    },
    /// `bitrate` in bit/s.
    Remb {
        sender: u32,
        bitrate: u64,
        ssrcs: Ssrcs<'a>,
    },
    Bye {
        ssrcs: Ssrcs<'a>,
    },
    Sdes,
    /// Well formed, and nothing that we read; `format` is the count or feedback type.
    Other {
        packet_type: u8,
        format: u8,
    },
}

/// The packets of a compound, one after the other; after an error there is no next.
///
/// A reduced-size compound (RFC 5506) is as good as a full one.
pub fn packets(compound: &[u8]) -> Packets<'_> {
    Packets { rest: compound }
}

/// See [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = split(self.rest).and_then(|(packet, rest)| {
            self.rest = rest;
            read(packet)
        });
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

/// The first packet with its header, and what follows it.
fn split(compound: &[u8]) -> Result<(&[u8], &[u8]), RtcpError> {
    let header = compound.get(..4).ok_or(RtcpError::Short)?;
    if header[0] >> 6 != 2 {
        return Err(RtcpError::Version);
    }
    let len = 4 + 4 * usize::from(be16(header, 2));
    if compound.len() < len {
        return Err(RtcpError::Short);
    }
    Ok(compound.split_at(len))
}

fn read(packet: &[u8]) -> Result<Packet<'_>, RtcpError> {
    let (count, packet_type) = (packet[0] & 0x1f, packet[1]);
    let mut body = &packet[4..];
    // Padding belongs in a compound's last packet, but libwebrtc pads its transport-cc wherever it stands.
    if packet[0] & 0x20 != 0 {
        let padding = usize::from(*body.last().ok_or(RtcpError::Padding)?);
        if padding == 0 || padding > body.len() {
            return Err(RtcpError::Padding);
        }
        body = &body[..body.len() - padding];
    }
    let part = |from: usize, len: usize| body.get(from..from + len).ok_or(RtcpError::Short);
    let blocks = |from| part(from, usize::from(count) * ReportBlock::LEN).map(Blocks::new);
    Ok(match (packet_type, count) {
        (SR, _) => {
            let fixed = part(0, 24)?;
            let info = SenderInfo {
                ntp: u64::from(be32(fixed, 4)) << 32 | u64::from(be32(fixed, 8)),
                rtp: be32(fixed, 12),
                packets: be32(fixed, 16),
                octets: be32(fixed, 20),
            };
            Packet::SenderReport {
                ssrc: be32(fixed, 0),
                info,
                blocks: blocks(24)?,
            }
        }
        (RR, _) => Packet::ReceiverReport {
            ssrc: be32(part(0, 4)?, 0),
            blocks: blocks(4)?,
        },
        (SDES, _) => Packet::Sdes,
        (BYE, _) => Packet::Bye {
            ssrcs: Ssrcs::new(part(0, 4 * usize::from(count))?),
        },
        (RTPFB, NACK) | (RTPFB, TRANSPORT_CC) | (PSFB, PLI) | (PSFB, FIR) | (PSFB, APPLICATION) => {
            let fixed = part(0, 8)?;
            read_feedback(packet_type, count, be32(fixed, 0), be32(fixed, 4), &body[8..])?
        }
        (packet_type, format) => Packet::Other { packet_type, format },
    })
}

fn read_feedback(packet_type: u8, format: u8, sender: u32, media: u32, fci: &[u8]) -> Result<Packet<'_>, RtcpError> {
    Ok(match (packet_type, format) {
        (RTPFB, NACK) => Packet::Nack {
            sender,
            media,
            lost: Lost {
                pairs: fci.chunks_exact(4),
                base: 0,
                mask: 0,
            },
        },
        (RTPFB, TRANSPORT_CC) => Packet::TransportFeedback { sender, media, fci },
        (PSFB, PLI) => Packet::Pli { sender, media },
        (PSFB, FIR) => Packet::Fir {
            sender,
            targets: FirTargets {
                entries: fci.chunks_exact(8),
            },
        },
        (PSFB, APPLICATION) if fci.get(..4) == Some(b"REMB") => {
            let fixed = fci.get(4..8).ok_or(RtcpError::Short)?;
            let ssrcs = fci.get(8..8 + 4 * usize::from(fixed[0])).ok_or(RtcpError::Short)?;
            // Six bits of exponent over 18 of mantissa can say more than 64 bits can hold.
            let mantissa = u128::from(be32(fixed, 0) & 0x3_ffff);
            let bitrate = u64::try_from(mantissa << (fixed[1] >> 2)).unwrap_or(u64::MAX);
            Packet::Remb {
                sender,
                bitrate,
                ssrcs: Ssrcs::new(ssrcs),
            }
        }
        _ => Packet::Other { packet_type, format },
    })
}

/// The report blocks of an SR or RR.
#[derive(Clone, Debug)]
pub struct Blocks<'a>(ChunksExact<'a, u8>);

impl<'a> Blocks<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Blocks(bytes.chunks_exact(ReportBlock::LEN))
    }
}

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        self.0.next().map(ReportBlock::read)
    }
}

/// A list of SSRCs.
#[derive(Clone, Debug)]
pub struct Ssrcs<'a>(ChunksExact<'a, u8>);

impl<'a> Ssrcs<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Ssrcs(bytes.chunks_exact(4))
    }
}

impl Iterator for Ssrcs<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.0.next().map(|bytes| be32(bytes, 0))
    }
}

/// The SSRCs that a FIR asks for a key frame. Its command numbers aren't given: whoever is asked throttles anyway.
#[derive(Clone, Debug)]
pub struct FirTargets<'a> {
    entries: ChunksExact<'a, u8>,
}

impl Iterator for FirTargets<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.entries.next().map(|entry| be32(entry, 0))
    }
}

/// The sequence numbers that a NACK names, at most 17 for each four bytes of it.
#[derive(Clone, Debug)]
pub struct Lost<'a> {
    pairs: ChunksExact<'a, u8>,
    base: u16,
    mask: u16, // bit n: base + n + 1
}

impl Iterator for Lost<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.mask != 0 {
            let bit = self.mask.trailing_zeros() as u16;
            self.mask &= self.mask - 1;
            return Some(self.base.wrapping_add(bit + 1));
        }
        let pair = self.pairs.next()?;
        self.base = be16(pair, 0);
        self.mask = be16(pair, 2);
        Some(self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn busy_compound() -> Vec<u8> {
        let mut out = Vec::new();
        let info = SenderInfo {
            ntp: 0x0102_0304_0506_0708,
            rtp: 90_000,
            packets: 10,
            octets: 1000,
        };
        sender_report(&mut out, 1, &info, &[block(2), block(3)]);
        sdes_cname(&mut out, 1, "vardrum");
        nack(&mut out, 1, 2, &[65_534, 65_535, 0, 1, 40]);
        pli(&mut out, 1, 2);
        out.extend_from_slice(&[0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 33, 0, 0, 0]);
        out.extend_from_slice(&[0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0]);
        out.extend_from_slice(b"REMB");
        out.extend_from_slice(&[1, 0x04, 0x03, 0xe8, 0, 0, 0, 5]); // exponent 1, mantissa 1000
        out.extend_from_slice(&[0x81, 203, 0, 1, 0, 0, 0, 6]);
        out.extend_from_slice(&[0x80, 207, 0, 1, 0, 0, 0, 6]);
        out
    }

    #[test]
    fn a_busy_compound_is_read_in_order() {
        let out = busy_compound();
        let read = all(&out);
        assert_eq!(read.len(), 8);
        match &read[0] {
            Packet::SenderReport { ssrc: 1, info, blocks } => {
                assert_eq!(
                    (info.ntp, info.rtp, info.packets, info.octets),
                    (0x0102_0304_0506_0708, 90_000, 10, 1000)
                );
                assert_eq!(blocks.clone().collect::<Vec<_>>(), [block(2), block(3)]);
            }
            other => panic!("{:?}", other),
        }
        assert!(matches!(read[1], Packet::Sdes));
        match &read[2] {
            Packet::Nack {
                sender: 1,
                media: 2,
                lost,
            } => {
                assert_eq!(lost.clone().collect::<Vec<_>>(), [65_534, 65_535, 0, 1, 40])
            }
            other => panic!("{:?}", other),
        }
        assert!(matches!(read[3], Packet::Pli { sender: 1, media: 2 }));
        match &read[4] {
            Packet::Fir { sender: 1, targets } => assert_eq!(targets.clone().collect::<Vec<_>>(), [9]),
            other => panic!("{:?}", other),
        }
        match &read[5] {
            Packet::Remb {
                bitrate: 2000, ssrcs, ..
            } => assert_eq!(ssrcs.clone().collect::<Vec<_>>(), [5]),
            other => panic!("{:?}", other),
        }
        match &read[6] {
            Packet::Bye { ssrcs } => assert_eq!(ssrcs.clone().collect::<Vec<_>>(), [6]),
            other => panic!("{:?}", other),
        }
        assert!(matches!(
            read[7],
            Packet::Other {
                packet_type: 207,
                format: 0
            }
        ));
    }

    #[test]
    fn an_error_ends_the_compound_and_what_came_before_counts() {
        let good = busy_compound();
        let mut out = Vec::new();
        pli(&mut out, 1, 2);
        out.extend_from_slice(&good[..11]);
        let mut read = packets(&out);
        assert!(matches!(read.next(), Some(Ok(Packet::Pli { .. }))));
        assert_eq!(read.next().unwrap().unwrap_err(), RtcpError::Short);
        assert!(read.next().is_none());
        assert_eq!(packets(&[0; 8]).next().unwrap().unwrap_err(), RtcpError::Version);
    }

    #[test]
    fn counts_that_their_packet_cannot_hold_are_refused() {
        let cases: [&[u8]; 7] = [
            &[0x81, RR, 0, 1, 0, 0, 0, 1],    // one block announced
            &[0x80, SR, 0, 1, 0, 0, 0, 1],    // no sender info
            &[0x80, RR, 0, 0],                // no SSRC
            &[0x82, BYE, 0, 1, 0, 0, 0, 1],   // two announced
            &[0x81, RTPFB, 0, 1, 0, 0, 0, 1], // no media SSRC
            &[0x81, PSFB, 0, 0],              // no SSRCs
            &[0x8f, PSFB, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B'],
        ];
        for case in cases {
            assert_eq!(
                packets(case).next().unwrap().unwrap_err(),
                RtcpError::Short,
                "{:?}",
                case
            );
        }
    }

    #[test]
    fn padding_is_taken_off_and_must_be_there() {
        let mut out = Vec::new();
        nack(&mut out, 1, 2, &[3]);
        out.extend_from_slice(&[0, 0, 0, 4]);
        out[0] |= 0x20;
        out[3] += 1;
        match &all(&out)[0] {
            Packet::Nack { lost, .. } => assert_eq!(lost.clone().collect::<Vec<_>>(), [3]),
            other => panic!("{:?}", other),
        }
        for padding in [0, 17, 255] {
            *out.last_mut().unwrap() = padding;
            assert_eq!(
                packets(&out).next().unwrap().unwrap_err(),
                RtcpError::Padding,
                "{}",
                padding
            );
        }
        assert_eq!(
            packets(&[0xa0, RR, 0, 0]).next().unwrap().unwrap_err(),
            RtcpError::Padding
        );
    }

    #[test]
    fn the_round_trip_is_what_the_other_side_did_not_hold() {
        let block = ReportBlock {
            last_sr: 0xffff_0000,
            delay_since_sr: 0x8000,
            ..block(1)
        };
        assert_eq!(block.round_trip(0x0000_0000), Some(0x8000)); // over the wrap
        assert_eq!(block.round_trip(0xffff_7fff), Some(0)); // before its question
        assert_eq!(block.round_trip(0x9000_0000), Some(0)); // by half the circle
        assert_eq!(ReportBlock { last_sr: 0, ..block }.round_trip(5), None);
        assert_eq!(compact(0x0102_0304_0506_0708), 0x0304_0506);
    }

    #[test]
    fn no_bytes_make_it_panic_or_give_more_than_they_hold() {
        let good = busy_compound();
        for_each_seed(20_000, |random| {
            let mut bytes = if random.one_in(3) {
                random.bytes(80)
            } else {
                random.mutated(&good)
            };
            if random.one_in(2) && bytes.len() > 1 {
                bytes[0] = 0x80 | bytes[0] & 0x3f;
                bytes[1] = 200 + bytes[1] % 8;
            }
            let mut items = 0;
            for packet in packets(&bytes).flatten() {
                items += 1 + match packet {
                    Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => {
                        blocks.filter(|block| block.round_trip(7) != Some(u32::MAX)).count()
                    }
                    Packet::Nack { lost, .. } => lost.count(),
                    Packet::Fir { targets, .. } => targets.count(),
                    Packet::Remb { ssrcs, .. } | Packet::Bye { ssrcs } => ssrcs.count(),
                    _ => 0,
                };
            }
            assert!(items <= bytes.len() * 5);
        });
    }
}
