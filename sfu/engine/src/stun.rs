//! STUN binding messages as ICE uses them (RFC 8489, RFC 8445): reading with every bound checked, writing, integrity.

use std::net::{IpAddr, SocketAddr};

use crate::crypto::{equal, HmacSha1, SHA1};

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const FINGERPRINT_XOR: u32 = 0x5354_554e;
// A message is one datagram; what a browser sends has about 120 bytes.
const MAX_MESSAGE: usize = 1500;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;

// What must be understood and is, in order; besides those above MAPPED-ADDRESS, REALM, NONCE and
// MESSAGE-INTEGRITY-SHA256, which say nothing to an ICE agent.
const UNDERSTOOD: [u16; 11] = [
    0x0001,
    USERNAME,
    MESSAGE_INTEGRITY,
    ERROR_CODE,
    UNKNOWN_ATTRIBUTES,
    0x0014,
    0x0015,
    0x001c,
    XOR_MAPPED_ADDRESS,
    PRIORITY,
    USE_CANDIDATE,
];

/// Bytes of a transaction id.
pub type Transaction = [u8; 12];

/// What a binding message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// Why bytes are not a binding message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StunError {
    /// Not STUN: no room for a header, no cookie, a length that doesn't fit.
    NotStun,
    /// STUN, but not the binding method.
    Method,
    /// An attribute that goes over the end, has the wrong length or a value that can't be.
    Attribute,
    /// FINGERPRINT is wrong or not last.
    Fingerprint,
}

/// A binding message in the datagram that it came in; reading it again costs nothing.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    raw: &'a [u8],
    class: Class,
    integrity: Option<usize>, // where MESSAGE-INTEGRITY begins
    fingerprint: bool,
    username: Option<&'a str>,
    priority: Option<u32>,
    use_candidate: bool,
    controlling: Option<u64>,
    controlled: Option<u64>,
    mapped: Option<SocketAddr>,
    error: Option<u16>,
}

impl<'a> Message<'a> {
    /// Reads a whole datagram. FINGERPRINT is checked when there; MESSAGE-INTEGRITY only by [`verify_integrity`]
    /// (which see before believing anything). Attributes behind MESSAGE-INTEGRITY are ignored, as the RFC demands; of
    /// an attribute that comes twice the first counts.
    ///
    /// [`verify_integrity`]: Message::verify_integrity
    pub fn parse(raw: &'a [u8]) -> Result<Message<'a>, StunError> {
        if raw.len() < HEADER || raw.len() > MAX_MESSAGE || raw[0] & 0xc0 != 0 || raw[4..8] != COOKIE {
            return Err(StunError::NotStun);
        }
        if usize::from(u16_at(raw, 2)) != raw.len() - HEADER || raw.len() % 4 != 0 {
            return Err(StunError::NotStun);
        }
        let class = match u16_at(raw, 0) {
            0x0001 => Class::Request,
            0x0011 => Class::Indication,
            0x0101 => Class::Success,
            0x0111 => Class::Error,
            _ => return Err(StunError::Method),
        };
        let mut message = Message {
            raw,
            class,
            integrity: None,
            fingerprint: false,
            username: None,
            priority: None,
            use_candidate: false,
            controlling: None,
            controlled: None,
            mapped: None,
            error: None,
        };
        let mut at = HEADER;
        while at < raw.len() {
            let (kind, value, next) = attribute(raw, at).ok_or(StunError::Attribute)?;
            message.take(kind, value, at, next)?;
            at = next;
        }
        Ok(message)
    }

    fn take(&mut self, kind: u16, value: &'a [u8], at: usize, next: usize) -> Result<(), StunError> {
        if kind == FINGERPRINT {
            let expected = (crc32(&self.raw[..at]) ^ FINGERPRINT_XOR).to_be_bytes();
            if value != expected || next != self.raw.len() {
                return Err(StunError::Fingerprint);
            }
            self.fingerprint = true;
            return Ok(());
        }
        if self.integrity.is_some() {
            return Ok(());
        }
        let transaction = self.transaction();
        match kind {
            MESSAGE_INTEGRITY if value.len() == SHA1 => self.integrity = Some(at),
            USERNAME => {
                let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= 513);
                first(&mut self.username, text)?;
            }
            PRIORITY => first(&mut self.priority, array(value).map(u32::from_be_bytes))?,
            USE_CANDIDATE if value.is_empty() => self.use_candidate = true,
            ICE_CONTROLLING => first(&mut self.controlling, array(value).map(u64::from_be_bytes))?,
            ICE_CONTROLLED => first(&mut self.controlled, array(value).map(u64::from_be_bytes))?,
            XOR_MAPPED_ADDRESS => first(&mut self.mapped, read_address(value, &transaction))?,
            ERROR_CODE => first(&mut self.error, read_error(value))?,
            MESSAGE_INTEGRITY | USE_CANDIDATE => return Err(StunError::Attribute),
            _ => (),
        }
        Ok(())
    }

    /// Request, indication, success or error response.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The id that a response repeats.
    pub fn transaction(&self) -> Transaction {
        let mut id = [0; 12];
        id.copy_from_slice(&self.raw[8..HEADER]);
        id
    }

    /// Whether there was a (correct) FINGERPRINT.
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint
    }

    /// Whether there is a MESSAGE-INTEGRITY, right or wrong.
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// USERNAME: in a check `receiver's ufrag:sender's ufrag`.
    pub fn username(&self) -> Option<&'a str> {
        self.username
    }

    /// The receiver's half of USERNAME: by it a check from an unknown address finds its peer.
    pub fn ufrag(&self) -> Option<&'a str> {
        self.username
            .and_then(|name| name.split_once(':'))
            .map(|(receiver, _)| receiver)
    }

    pub fn priority(&self) -> Option<u32> {
        self.priority
    }

    pub fn use_candidate(&self) -> bool {
        self.use_candidate
    }

    /// The tie-breaker of a sender that thinks itself controlling.
    pub fn ice_controlling(&self) -> Option<u64> {
        self.controlling
    }

    /// The tie-breaker of a sender that thinks itself controlled.
    pub fn ice_controlled(&self) -> Option<u64> {
        self.controlled
    }

    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.mapped
    }

    /// 300 to 699.
    pub fn error_code(&self) -> Option<u16> {
        self.error
    }

    /// The attributes that must be understood and aren't, in their order, before MESSAGE-INTEGRITY.
    pub fn unknown_required(&self) -> impl Iterator<Item = u16> + 'a {
        let raw = &self.raw[..self.integrity.unwrap_or(self.raw.len())];
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let (kind, _, next) = attribute(raw, at)?;
            at = next;
            Some(kind)
        })
        .filter(|kind| *kind < 0x8000 && !UNDERSTOOD.contains(kind))
    }

    /// Whether MESSAGE-INTEGRITY is there and made with `key` (of short-term credentials: the password).
    #[must_use]
    pub fn verify_integrity(&self, key: &HmacSha1) -> bool {
        match self.integrity {
            // It is made before what follows it was there, so over a length that ends with itself.
            Some(at) => {
                let len = ((at + 4 + SHA1 - HEADER) as u16).to_be_bytes();
                let expected = key.sign(&[&self.raw[..2], &len, &self.raw[4..at]]);
                equal(&expected, &self.raw[at + 4..at + 4 + SHA1])
            }
            None => false,
        }
    }
}

/// The attribute at `at`: its type, its value, and where the next one begins.
fn attribute(raw: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let value = at.checked_add(4).filter(|&value| value <= raw.len())?;
    let len = usize::from(u16_at(raw, at + 2));
    let next = value + (len + 3) / 4 * 4;
    (next <= raw.len()).then(|| (u16_at(raw, at), &raw[value..value + len], next))
}

/// Keeps the first of several; `None` is a value that can't be.
fn first<T>(slot: &mut Option<T>, value: Option<T>) -> Result<(), StunError> {
    let value = value.ok_or(StunError::Attribute)?;
    slot.get_or_insert(value);
    Ok(())
}

fn u16_at(raw: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([raw[at], raw[at + 1]])
}

fn array<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    <[u8; N]>::try_from(value).ok()
}

fn read_error(value: &[u8]) -> Option<u16> {
    let (class, number) = (u16::from(value.get(2)? & 7), u16::from(*value.get(3)?));
    ((3..=6).contains(&class) && number < 100).then(|| class * 100 + number)
}

fn read_address(value: &[u8], transaction: &Transaction) -> Option<SocketAddr> {
    let port = u16_at(value.get(2..4)?, 0) ^ u16_at(&COOKIE, 0);
    let ip = match (value[1], value.len()) {
        (1, 8) => IpAddr::from(mask_v4(array(&value[4..])?)),
        (2, 20) => IpAddr::from(mask_v6(array(&value[4..])?, transaction)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn mask_v4(mut ip: [u8; 4]) -> [u8; 4] {
    ip.iter_mut().zip(COOKIE).for_each(|(byte, mask)| *byte ^= mask);
    ip
}

fn mask_v6(mut ip: [u8; 16], transaction: &Transaction) -> [u8; 16] {
    ip.iter_mut()
        .zip(COOKIE.iter().chain(transaction))
        .for_each(|(byte, mask)| *byte ^= mask);
    ip
}

/// What one of our own checks says (RFC 8445, section 7.1.1), always as the controlled side.
pub struct Check<'a> {
    pub transaction: &'a Transaction,
    /// `receiver's ufrag:our ufrag`.
    pub username: &'a str,
    pub priority: u32,
    pub tie_breaker: u64,
}

/// Appends a binding request with integrity by `key` (the receiver's password) and FINGERPRINT.
pub fn write_binding_request(out: &mut Vec<u8>, check: &Check, key: &HmacSha1) {
    let mut writer = Writer::new(out, 0x0001, check.transaction);
    writer.attribute(USERNAME, &[check.username.as_bytes()]);
    writer.attribute(PRIORITY, &[&check.priority.to_be_bytes()]);
    writer.attribute(ICE_CONTROLLED, &[&check.tie_breaker.to_be_bytes()]);
    writer.finish(Some(key));
}

/// Appends a success response that tells the requester its address, with integrity by `key` (our password).
pub fn write_binding_success(out: &mut Vec<u8>, transaction: &Transaction, mapped: SocketAddr, key: &HmacSha1) {
    let mut writer = Writer::new(out, 0x0101, transaction);
    let port = (mapped.port() ^ u16_at(&COOKIE, 0)).to_be_bytes();
    match plain_ip(mapped.ip()) {
        IpAddr::V4(ip) => writer.attribute(XOR_MAPPED_ADDRESS, &[&[0, 1], &port, &mask_v4(ip.octets())]),
        IpAddr::V6(ip) => writer.attribute(
            XOR_MAPPED_ADDRESS,
            &[&[0, 2], &port, &mask_v6(ip.octets(), transaction)],
        ),
    }
    writer.finish(Some(key));
}

/// Appends an error response: 400, 401, 420 (with what is unknown) or 487. `key` (our password): `None` when the
/// request had no valid integrity, since the requester then can't check one.
pub fn write_binding_error(
    out: &mut Vec<u8>,
    transaction: &Transaction,
    code: u16,
    unknown: impl IntoIterator<Item = u16>,
    key: Option<&HmacSha1>,
) {
    let reason: &[u8] = match code {
        400 => b"Bad Request",
        401 => b"Unauthenticated",
        420 => b"Unknown Attribute",
        487 => b"Role Conflict",
        _ => b"",
    };
    let mut writer = Writer::new(out, 0x0111, transaction);
    writer.attribute(ERROR_CODE, &[&[0, 0, (code / 100) as u8, (code % 100) as u8], reason]);
    if code == 420 {
        let mut kinds = [0; 32];
        let mut len = 0;
        for kind in unknown.into_iter().take(kinds.len() / 2) {
            kinds[len..len + 2].copy_from_slice(&kind.to_be_bytes());
            len += 2;
        }
        writer.attribute(UNKNOWN_ATTRIBUTES, &[&kinds[..len]]);
    }
    writer.finish(key);
}

/// A socket that takes both IPv4 and IPv6 shows IPv4 peers as `::ffff:a.b.c.d`; the peer knows itself as a.b.c.d.
fn plain_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// A message being appended to a buffer.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut Vec<u8>, kind: u16, transaction: &Transaction) -> Writer<'a> {
        let start = out.len();
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&COOKIE);
        out.extend_from_slice(transaction);
        Writer { out, start }
    }

    fn attribute(&mut self, kind: u16, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&(len as u16).to_be_bytes());
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.out.resize(self.out.len() + (4 - len % 4) % 4, 0);
    }

    /// Integrity and fingerprint are each made over a length that already counts themselves.
    fn finish(mut self, key: Option<&HmacSha1>) {
        if let Some(key) = key {
            self.set_len(4 + SHA1);
            let value = key.sign(&[&self.out[self.start..]]);
            self.attribute(MESSAGE_INTEGRITY, &[&value]);
        }
        self.set_len(8);
        let value = crc32(&self.out[self.start..]) ^ FINGERPRINT_XOR;
        self.attribute(FINGERPRINT, &[&value.to_be_bytes()]);
    }

    fn set_len(&mut self, more: usize) {
        let len = ((self.out.len() - self.start - HEADER + more) as u16).to_be_bytes();
        self.out[self.start + 2..self.start + 4].copy_from_slice(&len);
    }
}

const CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut value, mut bit) = (byte as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 {
                value >> 1 ^ 0xedb8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

/// The CRC-32 of ITU V.42 that FINGERPRINT uses.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        CRC_TABLE[((crc ^ u32::from(byte)) & 0xff) as usize] ^ crc >> 8
    })
}

#[cfg(test)]
mod tests;
