//! The protocols below media: STUN, RTP, RTCP, transport-cc, SRTP, framing on TCP, and our own commands.

use vardrum_engine::command::Command;
use vardrum_engine::crypto::HmacSha1;
use vardrum_engine::rtcp::{self, Packet};
use vardrum_engine::rtp::{self, Header};
use vardrum_engine::srtp::{Profile, Receiver, Sender};
use vardrum_engine::{demux, framing, stun, twcc};

use crate::{corpus, Target};

pub fn targets() -> Vec<Target> {
    let key = HmacSha1::new(b"VOkJxbRl1RmTxUk/WvJxBt");
    let mut datagrams = corpus::stun();
    datagrams.extend(corpus::rtp());
    datagrams.extend(corpus::rtcp());
    vec![
        Target::new("stun", corpus::stun(), move |bytes| check_stun(bytes, &key)),
        Target::new("rtp", corpus::rtp(), check_rtp),
        Target::new("rtcp", corpus::rtcp(), check_rtcp),
        Target::new("transport-cc", corpus::feedback(), check_feedback),
        Target::new("demux", datagrams, |bytes| {
            let _ = demux::protocol(bytes);
        }),
        Target::new("command", corpus::commands(), |bytes| drop(Command::parse(bytes))),
        Target::new("tcp framing", framed(), check_framing),
        srtp("srtp gcm-128", Profile::AeadAes128Gcm),
        srtp("srtp cm-sha1", Profile::Aes128CmSha1_80),
    ]
}

fn check_stun(bytes: &[u8], key: &HmacSha1) {
    if let Ok(message) = stun::Message::parse(bytes) {
        assert!(bytes.len() % 4 == 0 && bytes.len() >= 20);
        assert_eq!(&message.transaction()[..], &bytes[8..20]);
        let _ = (message.verify_integrity(key), message.ufrag(), message.error_code());
        let _ = (
            message.xor_mapped_address(),
            message.priority(),
            message.ice_controlling(),
        );
        assert!(message.unknown_required().count() <= bytes.len() / 4);
    }
}

fn check_rtp(bytes: &[u8]) {
    let _ = (rtp::is_rtcp(bytes), rtp::ssrc(bytes));
    let header = match rtp::parse(bytes) {
        Ok(header) => header,
        Err(_) => return,
    };
    let mut found: Vec<(u8, &[u8])> = Vec::new();
    for (id, data) in rtp::extensions(bytes, &header) {
        if !found.iter().any(|(known, _)| *known == id) {
            assert_eq!(rtp::extension(bytes, &header, id), Some(data));
            found.push((id, data));
        }
    }
    if let Ok(payload) = rtp::payload(bytes, &header) {
        assert!(payload.end <= bytes.len());
    }
    // What is read can be written, and reads the same.
    let mut out = vec![0; bytes.len() * 2 + 300];
    let len = rtp::write_header(&mut out, &header, &found);
    if len > 0 {
        let again = rtp::parse(&out[..len]).expect("just written");
        let lengths = |header: &Header| Header {
            header_len: 0,
            extension_start: 0,
            ..*header
        };
        assert_eq!(lengths(&again), lengths(&header));
        for (id, data) in found {
            assert_eq!(rtp::extension(&out[..len], &again, id), Some(data));
        }
    }
}

fn check_rtcp(bytes: &[u8]) {
    let mut items = 0;
    for packet in rtcp::packets(bytes) {
        items += 1 + match packet {
            Ok(Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. }) => {
                blocks.filter(|block| block.round_trip(7) != Some(u32::MAX)).count()
            }
            Ok(Packet::Nack { lost, .. }) => lost.count() / 17,
            Ok(Packet::Fir { targets, .. }) => targets.count(),
            Ok(Packet::Remb { ssrcs, .. } | Packet::Bye { ssrcs }) => ssrcs.count(),
            Ok(Packet::TransportFeedback { fci, .. }) => {
                check_feedback(fci);
                0
            }
            _ => 0,
        };
    }
    assert!(items <= bytes.len() / 4 + 1, "{items} items in {} bytes", bytes.len());
}

fn check_feedback(bytes: &[u8]) {
    if let Ok(feedback) = twcc::parse(bytes) {
        assert_eq!(feedback.iter().count(), usize::from(feedback.count));
    }
}

fn framed() -> Vec<Vec<u8>> {
    let packet = |len: u16| [&len.to_be_bytes()[..], &vec![7; usize::from(len)]].concat();
    vec![
        [packet(20), packet(0), packet(1)].concat(),
        packet(2048),
        packet(2049),
        packet(100)[..50].to_vec(),
    ]
}

/// However a stream is cut, the same packets come out of it.
fn check_framing(bytes: &[u8]) {
    let mut whole: Vec<Vec<u8>> = Vec::new();
    let end = framing::split(&mut bytes.to_vec(), |packet| whole.push(packet.to_vec()));
    let (mut parts, mut waiting, mut broken) = (Vec::new(), Vec::new(), false);
    for part in bytes.chunks(1 + bytes.len() % 7) {
        waiting.extend_from_slice(part);
        match framing::split(&mut waiting, |packet: &mut [u8]| parts.push(packet.to_vec())) {
            Ok(used) => drop(waiting.drain(..used)),
            Err(_) => {
                broken = true;
                break;
            }
        }
        assert!(waiting.len() < framing::HEADER + framing::MAX_PACKET);
    }
    assert_eq!(end.is_err(), broken);
    assert_eq!(whole, parts);
    let mut backlog = framing::Backlog::new(4096);
    for packet in &whole {
        if backlog.push(packet) {
            backlog.took(packet.len());
        }
        assert!(backlog.len() <= 4096);
    }
}

/// Only what was sealed opens, and only once.
fn srtp(name: &'static str, profile: Profile) -> Target {
    let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
    let mut sender = Sender::new(profile, &key, &salt).unwrap();
    let mut sealed = Vec::new();
    for packet in corpus::rtp() {
        let header = rtp::parse(&packet).unwrap();
        let mut room = packet.clone();
        room.resize(packet.len() + 32, 0);
        let len = sender.seal_rtp(&mut room, packet.len(), header.header_len, 0).unwrap();
        sealed.push(room[..len].to_vec());
    }
    for compound in corpus::rtcp() {
        let mut room = compound.clone();
        room.resize(compound.len() + 32, 0);
        let len = sender.seal_rtcp(&mut room, compound.len()).unwrap();
        sealed.push(room[..len].to_vec());
    }
    let known = sealed.clone();
    let mut receiver = Receiver::new(profile, &key, &salt).unwrap();
    Target::new(name, sealed, move |bytes| {
        let mut buffer = bytes.to_vec();
        let opened = if rtp::is_rtcp(bytes) {
            receiver.open_rtcp(&mut buffer).is_ok()
        } else {
            let len = rtp::parse(bytes).map_or(12, |header| header.header_len);
            receiver.open_rtp(&mut buffer, len).is_ok()
        };
        assert!(!opened || known.iter().any(|good| good == bytes), "a forgery opens");
    })
}
