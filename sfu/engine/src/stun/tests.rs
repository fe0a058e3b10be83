//! Binding messages: the vectors of RFC 5769, what we write, what must be refused, and bytes of any kind.

use super::*;
use crate::crypto::vectors::Vectors;
use crate::testing::for_each_seed;

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
const ID: Transaction = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";

fn rfc5769(name: &str) -> Vec<u8> {
    Vectors::read(include_str!("../../../../tests/vectors/rfc5769.txt")).get(name)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Sets the length field and a right FINGERPRINT, so that what is tested is what comes after them.
fn with_fingerprint(mut raw: Vec<u8>) -> Vec<u8> {
    let len = ((raw.len() + 8 - HEADER) as u16).to_be_bytes();
    raw[2..4].copy_from_slice(&len);
    let crc = crc32(&raw) ^ FINGERPRINT_XOR;
    raw.extend([0x80, 0x28, 0, 4]);
    raw.extend(crc.to_be_bytes());
    raw
}

fn with_attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    Writer::new(&mut raw, 0x0001, &ID).attribute(kind, &[value]);
    with_fingerprint(raw)
}

#[test]
fn the_request_of_rfc_5769_is_read_and_its_integrity_verified() {
    let raw = rfc5769("request");
    let message = Message::parse(&raw).ok().unwrap();
    assert_eq!((message.class(), message.transaction()), (Class::Request, ID));
    assert_eq!((message.username(), message.ufrag()), (Some("evtj:h6vY"), Some("evtj")));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(
        (message.ice_controlled(), message.ice_controlling()),
        (Some(0x932f_f9b1_5126_3b36), None)
    );
    assert!(message.has_fingerprint() && message.has_integrity() && !message.use_candidate());
    assert_eq!(message.unknown_required().count(), 0);
    assert!(message.verify_integrity(&HmacSha1::new(PASSWORD)));
    assert!(!message.verify_integrity(&HmacSha1::new(b"another")));
}

#[test]
fn the_responses_of_rfc_5769_are_read_and_their_integrity_verified() {
    let cases = [
        ("response_ipv4", "192.0.2.1:32853"),
        ("response_ipv6", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ];
    for (name, mapped) in cases {
        let raw = rfc5769(name);
        let message = Message::parse(&raw).ok().unwrap();
        assert_eq!((message.class(), message.transaction()), (Class::Success, ID));
        assert!(message.xor_mapped_address() == Some(address(mapped)), "{}", name);
        assert!(message.verify_integrity(&HmacSha1::new(PASSWORD)));
    }
}

#[test]
fn any_changed_byte_of_the_rfc_request_is_noticed() {
    let raw = rfc5769("request");
    for at in 0..raw.len() - 8 {
        let mut forged = raw.clone();
        forged[at] ^= 4;
        assert!(Message::parse(&forged).is_err(), "byte {} and the old fingerprint", at);
        forged.truncate(raw.len() - 8);
        let forged = with_fingerprint(forged);
        let believed = Message::parse(&forged).map_or(false, |m| m.verify_integrity(&HmacSha1::new(PASSWORD)));
        assert_eq!(
            believed,
            (2..4).contains(&at),
            "byte {} and a new fingerprint (and length field)",
            at
        );
    }
}

#[test]
fn what_we_write_reads_back() {
    let key = HmacSha1::new(PASSWORD);
    let mut raw = vec![0xff; 3];
    let check = Check {
        transaction: &ID,
        username: "theirs:ours",
        priority: 0x6e00_01ff,
        tie_breaker: 9,
    };
    write_binding_request(&mut raw, &check, &key);
    let message = Message::parse(&raw[3..]).ok().unwrap();
    assert_eq!(
        (message.class(), message.username()),
        (Class::Request, Some("theirs:ours"))
    );
    assert_eq!(
        (message.priority(), message.ice_controlled()),
        (Some(0x6e00_01ff), Some(9))
    );
    assert!(message.has_fingerprint() && message.verify_integrity(&key));

    let told = [
        ("192.0.2.7:9", "192.0.2.7:9"),
        ("[2001:db8::7]:65535", "[2001:db8::7]:65535"),
        ("[::ffff:192.0.2.7]:1", "192.0.2.7:1"),
    ];
    for (from, expected) in told {
        raw.clear();
        write_binding_success(&mut raw, &ID, address(from), &key);
        let message = Message::parse(&raw).ok().unwrap();
        assert_eq!((message.class(), message.transaction()), (Class::Success, ID));
        assert!(message.xor_mapped_address() == Some(address(expected)), "{}", expected);
        assert!(message.has_fingerprint() && message.verify_integrity(&key));
    }

    for code in [400, 401, 420, 487] {
        raw.clear();
        let signed = code == 420 || code == 487;
        write_binding_error(&mut raw, &ID, code, [0x7000, 2], if signed { Some(&key) } else { None });
        let message = Message::parse(&raw).ok().unwrap();
        assert_eq!((message.class(), message.error_code()), (Class::Error, Some(code)));
        assert_eq!(
            (message.has_integrity(), message.verify_integrity(&key)),
            (signed, signed)
        );
        let unknown = raw.windows(8).any(|bytes| bytes == [0, 0x0a, 0, 4, 0x70, 0, 0, 2]);
        assert_eq!(unknown, code == 420);
    }
}

#[test]
fn attributes_that_must_be_understood_are_listed_and_others_ignored() {
    let mut raw = Vec::new();
    let mut writer = Writer::new(&mut raw, 0x0001, &ID);
    for kind in [0x7fff, 0xc057, USERNAME, 0x0002, 0x8022, 0x001c] {
        writer.attribute(kind, &[b"abc"]);
    }
    writer.attribute(MESSAGE_INTEGRITY, &[&[0; 20]]);
    writer.attribute(0x7ffe, &[b"behind it"]);
    writer.attribute(USE_CANDIDATE, &[]);
    let raw = with_fingerprint(raw);
    let message = Message::parse(&raw).ok().unwrap();
    assert_eq!(message.unknown_required().collect::<Vec<_>>(), [0x7fff, 0x0002]);
    assert!(!message.use_candidate(), "behind MESSAGE-INTEGRITY nothing counts");
}

#[test]
fn of_an_attribute_that_comes_twice_the_first_counts() {
    let mut raw = Vec::new();
    let mut writer = Writer::new(&mut raw, 0x0001, &ID);
    writer.attribute(PRIORITY, &[&[0, 0, 0, 1]]);
    writer.attribute(PRIORITY, &[&[0, 0, 0, 2]]);
    let raw = with_fingerprint(raw);
    assert_eq!(Message::parse(&raw).ok().unwrap().priority(), Some(1));
}

#[test]
fn values_that_cannot_be_are_refused() {
    let long = [b'a'; 600];
    let cases: [(u16, &[u8]); 14] = [
        (USERNAME, &[0xff, 0xfe]),
        (USERNAME, &long),
        (PRIORITY, &[1, 2, 3]),
        (USE_CANDIDATE, &[1]),
        (ICE_CONTROLLED, &[0; 7]),
        (ICE_CONTROLLING, &[0; 9]),
        (MESSAGE_INTEGRITY, &[0; 19]),
        (XOR_MAPPED_ADDRESS, &[]),
        (XOR_MAPPED_ADDRESS, &[0, 1, 0, 0, 1, 2, 3]),
        (XOR_MAPPED_ADDRESS, &[0, 2, 0, 0, 1, 2, 3, 4]),
        (XOR_MAPPED_ADDRESS, &[0, 3, 0, 0, 1, 2, 3, 4]),
        (ERROR_CODE, &[0, 0, 4]),
        (ERROR_CODE, &[0, 0, 2, 0]),
        (ERROR_CODE, &[0, 0, 4, 100]),
    ];
    for (kind, value) in cases {
        let raw = with_attribute(kind, value);
        assert_eq!(
            Message::parse(&raw).err(),
            Some(StunError::Attribute),
            "{:#06x} {:?}",
            kind,
            value
        );
    }
}

#[test]
fn what_is_not_one_whole_binding_message_is_refused() {
    let raw = rfc5769("request");
    for len in 0..raw.len() {
        assert!(Message::parse(&raw[..len]).is_err(), "{} bytes", len);
    }
    assert_eq!(
        Message::parse(&[&raw[..], &[0; 4]].concat()).err(),
        Some(StunError::NotStun)
    );
    let mut allocate = raw.clone();
    allocate[1] = 3;
    assert_eq!(Message::parse(&allocate).err(), Some(StunError::Method));
    let mut over = with_attribute(0x8022, b"text");
    over[HEADER + 3] = 200;
    assert_eq!(Message::parse(&over).err(), Some(StunError::Attribute));
    let mut not_last = with_fingerprint(raw[..HEADER].to_vec());
    not_last[3] += 4;
    let crc = crc32(&not_last[..HEADER]) ^ FINGERPRINT_XOR;
    not_last[HEADER + 4..].copy_from_slice(&crc.to_be_bytes());
    not_last.extend([0x80, 0x22, 0, 0]);
    assert_eq!(Message::parse(&not_last).err(), Some(StunError::Fingerprint));
}

#[test]
fn random_and_mutated_bytes_never_panic() {
    let originals: Vec<_> = ["request", "response_ipv4", "response_ipv6"]
        .iter()
        .map(|name| rfc5769(name))
        .collect();
    for_each_seed(300, |random| {
        for _ in 0..50 {
            let mut noise = random.bytes(120);
            let len = noise.len();
            if len >= HEADER && random.below(4) > 0 {
                noise[..2].copy_from_slice(&[0, 1]);
                noise[2..4].copy_from_slice(&((len - HEADER) as u16).to_be_bytes());
                noise[4..8].copy_from_slice(&COOKIE);
            }
            let original = &originals[random.below(3)];
            let mut mutated = random.mutated(original);
            if mutated.len() >= HEADER && random.below(2) == 0 {
                mutated = with_fingerprint(mutated);
            }
            for raw in [noise, mutated] {
                if let Ok(message) = Message::parse(&raw) {
                    let _ = message.verify_integrity(&HmacSha1::new(PASSWORD));
                    assert!(message.unknown_required().count() <= raw.len() / 4);
                    let _ = (message.ufrag(), message.xor_mapped_address(), message.error_code());
                }
            }
        }
    });
}
