//! A browser's connectivity check (RFC 8445, section 7.2.2): the engine itself only writes those of the other side.

use vardrum_engine::crypto::HmacSha1;
use vardrum_engine::stun::{Class, Message, Transaction};

const HEADER: usize = 20;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLING: u16 = 0x802a;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// A binding request that nominates (USE-CANDIDATE), from the controlling side, with integrity and fingerprint.
///
/// `username`: `server's ufrag:our ufrag`; `password`: the server's.
pub fn nominating(username: &str, password: &str, transaction: &Transaction) -> Vec<u8> {
    let mut out = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    out.extend_from_slice(transaction);
    attribute(&mut out, USERNAME, username.as_bytes());
    attribute(&mut out, PRIORITY, &0x6e_ff_ff_ffu32.to_be_bytes());
    attribute(&mut out, ICE_CONTROLLING, &1u64.to_be_bytes());
    attribute(&mut out, USE_CANDIDATE, &[]);
    // Both of the last are made over a length that already counts themselves.
    set_length(&mut out, 24);
    let integrity = HmacSha1::new(password.as_bytes()).sign(&[&out]);
    attribute(&mut out, MESSAGE_INTEGRITY, &integrity);
    set_length(&mut out, 8);
    let fingerprint = crc32(&out) ^ FINGERPRINT_XOR;
    attribute(&mut out, FINGERPRINT, &fingerprint.to_be_bytes());
    out
}

/// Whether `datagram` is the success response to our check, with the integrity of the server's `password`.
pub fn is_success(datagram: &[u8], password: &str, transaction: &Transaction) -> bool {
    Message::parse(datagram).map_or(false, |message| {
        message.class() == Class::Success
            && message.transaction() == *transaction
            && message.verify_integrity(&HmacSha1::new(password.as_bytes()))
    })
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize((out.len() + 3) / 4 * 4, 0);
    set_length(out, 0);
}

fn set_length(out: &mut [u8], more: usize) {
    let length = (out.len() - HEADER + more) as u16;
    out[2..4].copy_from_slice(&length.to_be_bytes());
}

/// The CRC-32 of ITU V.42, bit by bit: a check is sent once a visit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}
