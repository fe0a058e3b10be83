//! Sealing and opening: vectors, an independent peer's packets, wraps, forgeries, and bytes of any kind.

use super::*;
use crate::crypto::vectors::Vectors;
use crate::testing::{for_each_seed, Random};

const PROFILES: [(Profile, &str); 3] = [
    (Profile::Aes128CmSha1_80, "cm"),
    (Profile::AeadAes128Gcm, "gcm_128"),
    (Profile::AeadAes256Gcm, "gcm_256"),
];

fn pair(profile: Profile) -> (Sender, Receiver) {
    let (key, salt) = (vec![3; profile.key_len()], vec![5; profile.salt_len()]);
    (
        Sender::new(profile, &key, &salt).unwrap(),
        Receiver::new(profile, &key, &salt).unwrap(),
    )
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn seal(sender: &mut Sender, packet: &[u8], roc: u32) -> Vec<u8> {
    let mut buf = [packet, &[0; RTP_OVERHEAD]].concat();
    let len = sender.seal_rtp(&mut buf, packet.len(), 12, roc).unwrap();
    buf.truncate(len);
    buf
}

fn seal_rtcp(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut buf = [packet, &[0; RTCP_OVERHEAD]].concat();
    let len = sender.seal_rtcp(&mut buf, packet.len()).unwrap();
    buf.truncate(len);
    buf
}

fn rfc7714() -> Vectors {
    Vectors::read(include_str!("../../../../tests/vectors/rfc7714.txt"))
}

/// The RFC's packets are sealed with session keys, without derivation.
fn session(vectors: &Vectors, bits: &str) -> Keys {
    let mut salt = [0; 12];
    salt.copy_from_slice(&vectors.get("salt"));
    Keys::Gcm {
        gcm: AesGcm::new(&vectors.get(&format!("key_{}", bits))).unwrap(),
        salt,
    }
}

fn sessions(vectors: &Vectors, bits: &str) -> (Sender, Receiver) {
    let keys = || session(vectors, bits);
    let index = u32_at(&vectors.get("rtcp_index"), 0);
    let (rtp_streams, rtcp_streams) = (Streams::default(), Streams::default());
    (
        Sender {
            rtp: keys(),
            rtcp: keys(),
            tag: TAG,
            rtcp_index: index,
        },
        Receiver {
            rtp: keys(),
            rtcp: keys(),
            tag: TAG,
            rtp_streams,
            rtcp_streams,
        },
    )
}

#[test]
fn keys_are_derived_as_in_rfc_3711() {
    let vectors = Vectors::read(include_str!("../../../../tests/vectors/rfc3711.txt"));
    let (key, salt) = (vectors.get("master_key"), vectors.get("master_salt"));
    for (label, name) in [
        (RTP.key, "cipher_key"),
        (RTP.auth, "auth_key"),
        (RTP.salt, "cipher_salt"),
    ] {
        let expected = vectors.get(name);
        let mut derived = vec![0xff; expected.len()];
        derive(&key, &salt, label, &mut derived).unwrap();
        assert_eq!(derived, expected, "{}", name);
    }
}

#[test]
fn gcm_packets_are_those_of_rfc_7714() {
    let vectors = rfc7714();
    for bits in ["128", "256"] {
        let (mut sender, mut receiver) = sessions(&vectors, bits);
        let (packet, sealed) = (vectors.get("rtp"), vectors.get(&format!("srtp_{}", bits)));
        assert_eq!(seal(&mut sender, &packet, 0), sealed);
        let mut buf = sealed;
        assert_eq!(receiver.open_rtp(&mut buf, 12), Ok((packet.len(), 0xf17b)));
        assert_eq!(buf[..packet.len()], packet[..]);

        let (packet, sealed) = (vectors.get("rtcp"), vectors.get(&format!("srtcp_{}", bits)));
        assert_eq!(seal_rtcp(&mut sender, &packet), sealed);
        let mut buf = sealed;
        assert_eq!(receiver.open_rtcp(&mut buf), Ok(packet.len()));
        assert_eq!(buf[..packet.len()], packet[..]);
    }
}

#[test]
fn unencrypted_rtcp_of_rfc_7714_is_authenticated() {
    let vectors = rfc7714();
    for bits in ["128", "256"] {
        let (packet, sealed) = (vectors.get("rtcp"), vectors.get(&format!("srtcp_tag_only_{}", bits)));
        let mut buf = sealed.clone();
        assert_eq!(sessions(&vectors, bits).1.open_rtcp(&mut buf), Ok(packet.len()));
        assert_eq!(buf[..packet.len()], packet[..]);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            let mut receiver = sessions(&vectors, bits).1;
            assert_eq!(
                receiver.open_rtcp(&mut forged),
                Err(OpenError::Authentication),
                "byte {}",
                at
            );
        }
    }
}

#[test]
fn ivs_are_those_of_rfc_7714() {
    let vectors = rfc7714();
    let mut salt = [0; 12];
    salt.copy_from_slice(&vectors.get("salt"));
    assert_eq!(gcm_iv(&salt, 0x5501_a0b2, 0xf17b)[..], vectors.get("rtp_iv")[..]);
    assert_eq!(gcm_iv(&salt, 0x4d61_7273, 0x5d4)[..], vectors.get("rtcp_iv")[..]);
}

#[test]
fn libsrtp_and_we_seal_the_same_bytes_and_open_each_other() {
    let vectors = Vectors::read(include_str!("../../../../tests/vectors/libsrtp.txt"));
    for (profile, name) in PROFILES {
        let (key, salt) = (
            vectors.get(&format!("{}_key", name)),
            vectors.get(&format!("{}_salt", name)),
        );
        let mut sender = Sender::new(profile, &key, &salt).unwrap();
        let mut receiver = Receiver::new(profile, &key, &salt).unwrap();
        for (n, header_len, roc) in [(0, 12, 0), (1, 12, 1), (2, 28, 1)] {
            let packet = vectors.get(&format!("rtp_{}", n));
            let sealed = vectors.get(&format!("{}_rtp_{}", name, n));
            let mut buf = [&packet[..], &[0; RTP_OVERHEAD]].concat();
            let len = sender.seal_rtp(&mut buf, packet.len(), header_len, roc).unwrap();
            assert_eq!(buf[..len], sealed[..], "{} rtp {}", name, n);
            let mut buf = sealed;
            let index = u64::from(roc) << 16 | u64::from(sequence(&packet));
            assert_eq!(receiver.open_rtp(&mut buf, header_len), Ok((packet.len(), index)));
            assert_eq!(buf[..packet.len()], packet[..]);
        }
        sender.rtcp_index = 1;
        for n in 0..2 {
            let packet = vectors.get(&format!("rtcp_{}", n));
            let sealed = vectors.get(&format!("{}_rtcp_{}", name, n));
            assert_eq!(seal_rtcp(&mut sender, &packet), sealed, "{} rtcp {}", name, n);
            let mut buf = sealed;
            assert_eq!(receiver.open_rtcp(&mut buf), Ok(packet.len()));
            assert_eq!(buf[..packet.len()], packet[..]);
        }
    }
}

#[test]
fn the_index_follows_over_the_wrap_in_any_near_order() {
    let cases = [
        (0, 1, 1),
        (65_534, 65_535, 65_535),
        (65_535, 0, 65_536),
        (65_535, 1, 65_537),
        (65_536, 65_535, 65_535),
        (65_537, 0, 65_536),
        (0x1_8000, 0x7fff, 0x1_7fff),
        (0x1_8000, 0, 0x1_0000),
        (0x1_8001, 0, 0x2_0000),
        (10, 65_530, 65_530),
        ((1 << 48) - 1, 0, 0),
    ];
    for (newest, sequence, expected) in cases {
        assert_eq!(guess(newest, sequence), expected, "{} after {}", sequence, newest);
    }
}

#[test]
fn a_stream_opens_over_two_wraps_with_reordering_and_each_packet_once() {
    for (profile, name) in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        for step in 0..400u64 {
            let index = 65_000 + (step ^ 1) * 250;
            let packet = rtp(7, index as u16, b"payload");
            let sealed = seal(&mut sender, &packet, (index >> 16) as u32);
            let mut buf = sealed.clone();
            assert_eq!(
                receiver.open_rtp(&mut buf, 12),
                Ok((packet.len(), index)),
                "{} step {}",
                name,
                step
            );
            assert_eq!(buf[..packet.len()], packet[..]);
            assert_eq!(receiver.open_rtp(&mut sealed.clone(), 12), Err(OpenError::Replay));
        }
    }
}

#[test]
fn what_is_not_authentic_changes_nothing() {
    for (profile, _) in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let sealed = seal(&mut sender, &rtp(1, 30_000, b"payload"), 0);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 0x10;
            assert_eq!(
                receiver.open_rtp(&mut forged, 12),
                Err(OpenError::Authentication),
                "byte {}",
                at
            );
        }
        assert!(receiver.rtp_streams.ssrcs.is_empty());
        assert!(receiver.open_rtp(&mut sealed.clone(), 12).is_ok());

        let sealed = seal_rtcp(&mut sender, &[0x80, 201, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4]);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 0x10;
            assert_eq!(
                receiver.open_rtcp(&mut forged),
                Err(OpenError::Authentication),
                "byte {}",
                at
            );
        }
        assert!(receiver.rtcp_streams.ssrcs.is_empty());
        assert!(receiver.open_rtcp(&mut sealed.clone()).is_ok());
        assert_eq!(receiver.open_rtcp(&mut sealed.clone()), Err(OpenError::Replay));
    }
}

#[test]
fn a_peer_may_send_so_many_streams_and_no_more() {
    let (mut sender, mut receiver) = pair(Profile::AeadAes128Gcm);
    for ssrc in 0..MAX_STREAMS as u32 {
        assert!(receiver
            .open_rtp(&mut seal(&mut sender, &rtp(ssrc, 1, &[]), 0), 12)
            .is_ok());
    }
    let mut further = seal(&mut sender, &rtp(u32::MAX, 1, &[]), 0);
    assert_eq!(receiver.open_rtp(&mut further, 12), Err(OpenError::TooManyStreams));
    assert!(receiver
        .open_rtp(&mut seal(&mut sender, &rtp(0, 2, &[]), 0), 12)
        .is_ok());
}

#[test]
fn what_does_not_fit_is_refused_before_anything_happens() {
    for (profile, _) in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let mut buf = rtp(1, 1, &[0; 20]);
        let whole = buf.clone();
        let len = buf.len();
        assert_eq!(sender.seal_rtp(&mut buf, len, 12, 0), Err(SrtpError::NoRoom));
        assert_eq!(sender.seal_rtp(&mut buf, usize::MAX, 12, 0), Err(SrtpError::NoRoom));
        assert_eq!(sender.seal_rtp(&mut buf, 10, 12, 0), Err(SrtpError::Malformed));
        assert_eq!(sender.seal_rtp(&mut buf, 10, 8, 0), Err(SrtpError::Malformed));
        assert_eq!(sender.seal_rtcp(&mut buf, 7), Err(SrtpError::Malformed));
        assert_eq!(sender.seal_rtcp(&mut buf, len - 5), Err(SrtpError::NoRoom));
        assert_eq!(buf, whole);
        for header_len in [0, 11, 40, usize::MAX] {
            assert_eq!(receiver.open_rtp(&mut buf.clone(), header_len), Err(OpenError::Short));
        }
        for len in 0..12 + profile.tag_len() {
            assert_eq!(
                receiver.open_rtp(&mut vec![0x80; len], 12),
                Err(OpenError::Short),
                "{} bytes",
                len
            );
            assert_eq!(
                receiver.open_rtcp(&mut vec![0x80; len]),
                Err(OpenError::Short),
                "{} bytes",
                len
            );
        }
    }
}

#[test]
fn keys_of_another_length_and_unknown_profiles_are_refused() {
    for (profile, _) in PROFILES {
        assert_eq!(Profile::from_u16(profile as u16), Some(profile));
        let (key, salt) = (vec![0; profile.key_len()], vec![0; profile.salt_len()]);
        assert_eq!(Sender::new(profile, &key[1..], &salt).err(), Some(SrtpError::KeyLength));
        assert_eq!(
            Receiver::new(profile, &key, &salt[1..]).err(),
            Some(SrtpError::SaltLength)
        );
    }
    for number in [0, 2, 5, 6, 9, 0xffff] {
        assert_eq!(Profile::from_u16(number), None);
    }
}

#[test]
fn the_last_srtcp_index_is_used_once_and_then_no_more() {
    let (mut sender, _) = pair(Profile::AeadAes128Gcm);
    sender.rtcp_index = ENCRYPTED - 1;
    let mut buf = [0x80; 64];
    assert!(sender.seal_rtcp(&mut buf, 8).is_ok());
    assert_eq!(sender.seal_rtcp(&mut buf, 8), Err(SrtpError::Exhausted));
}

#[test]
fn random_and_mutated_bytes_are_refused_without_panic() {
    fn feed(receiver: &mut Receiver, random: &mut Random, bytes: &[u8]) {
        let header_len = [0, 11, 12, 16, 28, bytes.len(), usize::MAX][random.below(7)];
        let _ = receiver.open_rtp(&mut bytes.to_vec(), header_len);
        let _ = receiver.open_rtcp(&mut bytes.to_vec());
    }
    for_each_seed(60, |random| {
        for (profile, _) in PROFILES {
            let (mut sender, mut receiver) = pair(profile);
            let sealed = seal(&mut sender, &rtp(1, 1, &[9; 40]), 0);
            let report = seal_rtcp(&mut sender, &[0x80; 28]);
            for _ in 0..100 {
                let noise = random.bytes(90);
                feed(&mut receiver, random, &noise);
                for original in [&sealed, &report] {
                    let mutated = random.mutated(original);
                    feed(&mut receiver, random, &mutated);
                }
            }
            assert!(receiver.rtp_streams.ssrcs.len() <= 1 && receiver.rtcp_streams.ssrcs.len() <= 1);
        }
    });
}
