//! SRTP and SRTCP: sealing and opening packets in place (RFC 3711; AES-GCM: RFC 7714; keys by DTLS: RFC 5764).
//!
//! Key derivation rate 0, no MKI. What may be sent under which index is the caller's to keep (a slot's 48-bit index);
//! here a [`Receiver`] follows its peer's roll-over counters and refuses replays, for a bounded number of SSRCs, and
//! learns an SSRC only from a packet that was authentic.

use crate::crypto::{equal, wipe, AesCtr, AesGcm, CryptoError, HmacSha1, TAG};
use crate::replay::Window;

/// The most bytes that sealing adds to an RTP packet.
pub const RTP_OVERHEAD: usize = TAG;
/// The most bytes that sealing adds to a compound RTCP packet: tag and index.
pub const RTCP_OVERHEAD: usize = TAG + INDEX;

const SHORT_TAG: usize = 10; // HMAC_SHA1_80
const INDEX: usize = 4; // E flag and SRTCP index
const RTCP_HEADER: usize = 8; // stays readable: first header and sender SSRC
const ENCRYPTED: u32 = 1 << 31;
// A peer sends some ten streams; more than this is abuse of our memory.
const MAX_STREAMS: usize = 64;

/// A DTLS-SRTP protection profile, by its IANA number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Profile {
    Aes128CmSha1_80 = 1,
    AeadAes128Gcm = 7,
    AeadAes256Gcm = 8,
}

impl Profile {
    /// The profile with that IANA number, if it is one of ours.
    pub fn from_u16(number: u16) -> Option<Profile> {
        [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm]
            .into_iter()
            .find(|&profile| profile as u16 == number)
    }

    /// Bytes of a master (and session) key.
    pub fn key_len(self) -> usize {
        match self {
            Profile::Aes128CmSha1_80 | Profile::AeadAes128Gcm => 16,
            Profile::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master (and session) salt.
    pub fn salt_len(self) -> usize {
        match self {
            Profile::Aes128CmSha1_80 => 14,
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => 12,
        }
    }

    /// Bytes that sealing adds to an RTP packet.
    pub fn tag_len(self) -> usize {
        match self {
            Profile::Aes128CmSha1_80 => SHORT_TAG,
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => TAG,
        }
    }
}

/// Why keys were refused or a packet could not be sealed; the packet is then as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrtpError {
    /// The master key has not the profile's length.
    KeyLength,
    /// The master salt has not the profile's length.
    SaltLength,
    /// libcrypto can't do this profile.
    Library,
    /// The lengths don't describe a packet: a header shorter than the fixed one or longer than the packet.
    Malformed,
    /// No room behind the packet for what sealing adds.
    NoRoom,
    /// 2³¹ RTCP packets were sealed with this key; more must not be.
    Exhausted,
}

impl From<CryptoError> for SrtpError {
    fn from(error: CryptoError) -> SrtpError {
        match error {
            CryptoError::KeyLength => SrtpError::KeyLength,
            CryptoError::Library => SrtpError::Library,
        }
    }
}

/// Why a packet was not opened. What its buffer holds must then not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// Too short for its header and what sealing adds.
    Short,
    /// Not sealed by the peer with its key, or changed on the way.
    Authentication,
    /// Came before, or is older than the window remembers.
    Replay,
    /// Authentic, but of one SSRC more than a peer may send.
    TooManyStreams,
}

/// What a session key is for; the numbers are the labels of RFC 3711, section 4.3.2.
#[derive(Clone, Copy)]
struct Labels {
    key: u8,
    auth: u8,
    salt: u8,
}

const RTP: Labels = Labels {
    key: 0,
    auth: 1,
    salt: 2,
};
const RTCP: Labels = Labels {
    key: 3,
    auth: 4,
    salt: 5,
};

/// One direction's session keys for either RTP or RTCP.
enum Keys {
    Gcm { gcm: AesGcm, salt: [u8; 12] },
    Cm { ctr: AesCtr, mac: HmacSha1, salt: [u8; 14] },
}

impl Keys {
    fn derive(profile: Profile, key: &[u8], salt: &[u8], labels: Labels) -> Result<Keys, SrtpError> {
        if key.len() != profile.key_len() {
            return Err(SrtpError::KeyLength);
        }
        if salt.len() != profile.salt_len() {
            return Err(SrtpError::SaltLength);
        }
        let mut session = [0; 32];
        let session = &mut session[..profile.key_len()];
        derive(key, salt, labels.key, session)?;
        let keys = match profile {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => {
                let mut session_salt = [0; 12];
                derive(key, salt, labels.salt, &mut session_salt)?;
                Keys::Gcm {
                    gcm: AesGcm::new(session)?,
                    salt: session_salt,
                }
            }
            Profile::Aes128CmSha1_80 => {
                let (mut session_salt, mut auth) = ([0; 14], [0; 20]);
                derive(key, salt, labels.salt, &mut session_salt)?;
                derive(key, salt, labels.auth, &mut auth)?;
                let mac = HmacSha1::new(&auth);
                wipe(&mut auth);
                Keys::Cm {
                    ctr: AesCtr::new(session)?,
                    mac,
                    salt: session_salt,
                }
            }
        };
        wipe(session);
        Ok(keys)
    }
}

/// RFC 3711, section 4.3.3: the first bytes of a key stream. GCM's shorter master salt is padded (RFC 7714, section 11).
fn derive(key: &[u8], salt: &[u8], label: u8, out: &mut [u8]) -> Result<(), SrtpError> {
    let mut iv = [0; 16];
    iv[..salt.len()].copy_from_slice(salt);
    iv[7] ^= label;
    out.fill(0);
    AesCtr::new(key)?.apply(&iv, out);
    Ok(())
}

/// RFC 7714, sections 8.1 and 9.1: two zero bytes, SSRC, 48-bit index (for SRTCP the 31-bit one), under the salt.
fn gcm_iv(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let mut iv = [0; 12];
    iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
    iv[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in iv.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    iv
}

/// RFC 3711, section 4.1.1: SSRC and index under the salt, then the block counter.
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[4..8].copy_from_slice(&ssrc.to_be_bytes());
    iv[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in iv.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    iv
}

fn u32_at(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

/// Seals what goes to one peer.
pub struct Sender {
    rtp: Keys,
    rtcp: Keys,
    tag: usize,
    rtcp_index: u32,
}

impl Sender {
    /// `master_key` and `master_salt` as DTLS exported them for our direction, of the profile's lengths.
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Result<Sender, SrtpError> {
        Ok(Sender {
            rtp: Keys::derive(profile, master_key, master_salt, RTP)?,
            rtcp: Keys::derive(profile, master_key, master_salt, RTCP)?,
            tag: profile.tag_len(),
            rtcp_index: 0,
        })
    }

    /// Seals the RTP packet in `buf[..len]`, whose header with CSRCs and extension has `header_len` bytes, and
    /// returns its new length. `roc`: the packet's roll-over counter, which belongs with its SSRC to the caller.
    ///
    /// Never seal two different packets with one SSRC, `roc` and sequence number: under GCM that gives the
    /// authentication key away.
    pub fn seal_rtp(&mut self, buf: &mut [u8], len: usize, header_len: usize, roc: u32) -> Result<usize, SrtpError> {
        if header_len < 12 || header_len > len {
            return Err(SrtpError::Malformed);
        }
        let sealed = len
            .checked_add(self.tag)
            .filter(|&sealed| sealed <= buf.len())
            .ok_or(SrtpError::NoRoom)?;
        let (ssrc, index) = (u32_at(buf, 8), u64::from(roc) << 16 | u64::from(sequence(buf)));
        let (packet, tag) = buf[..sealed].split_at_mut(len);
        let (header, payload) = packet.split_at_mut(header_len);
        match &mut self.rtp {
            Keys::Gcm { gcm, salt } => {
                tag.copy_from_slice(&gcm.seal(&gcm_iv(salt, ssrc, index), header, payload));
            }
            Keys::Cm { ctr, mac, salt } => {
                ctr.apply(&cm_iv(salt, ssrc, index), payload);
                tag.copy_from_slice(&mac.sign(&[packet, &roc.to_be_bytes()])[..SHORT_TAG]);
            }
        }
        Ok(sealed)
    }

    /// Seals the compound RTCP packet in `buf[..len]` under the next SRTCP index and returns its new length.
    pub fn seal_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        if len < RTCP_HEADER {
            return Err(SrtpError::Malformed);
        }
        let sealed = len.checked_add(self.tag + INDEX).filter(|&sealed| sealed <= buf.len());
        let sealed = sealed.ok_or(SrtpError::NoRoom)?;
        let index = self.rtcp_index;
        if index >= ENCRYPTED {
            return Err(SrtpError::Exhausted);
        }
        self.rtcp_index += 1;
        let (ssrc, word) = (u32_at(buf, 4), (ENCRYPTED | index).to_be_bytes());
        let (header, rest) = buf[..sealed].split_at_mut(RTCP_HEADER);
        let (payload, trailer) = rest.split_at_mut(len - RTCP_HEADER);
        match &mut self.rtcp {
            Keys::Gcm { gcm, salt } => {
                let aad = rtcp_aad(header, word);
                trailer[..TAG].copy_from_slice(&gcm.seal(&gcm_iv(salt, ssrc, index.into()), &aad, payload));
                trailer[TAG..].copy_from_slice(&word);
            }
            Keys::Cm { ctr, mac, salt } => {
                ctr.apply(&cm_iv(salt, ssrc, index.into()), payload);
                trailer[..INDEX].copy_from_slice(&word);
                trailer[INDEX..].copy_from_slice(&mac.sign(&[header, payload, &word])[..SHORT_TAG]);
            }
        }
        Ok(sealed)
    }
}

fn rtcp_aad(header: &[u8], word: [u8; INDEX]) -> [u8; RTCP_HEADER + INDEX] {
    let mut aad = [0; RTCP_HEADER + INDEX];
    aad[..RTCP_HEADER].copy_from_slice(header);
    aad[RTCP_HEADER..].copy_from_slice(&word);
    aad
}

/// Opens what one peer sends.
pub struct Receiver {
    rtp: Keys,
    rtcp: Keys,
    tag: usize,
    rtp_streams: Streams,
    rtcp_streams: Streams,
}

impl Receiver {
    /// `master_key` and `master_salt` as DTLS exported them for the peer's direction, of the profile's lengths.
    pub fn new(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Result<Receiver, SrtpError> {
        Ok(Receiver {
            rtp: Keys::derive(profile, master_key, master_salt, RTP)?,
            rtcp: Keys::derive(profile, master_key, master_salt, RTCP)?,
            tag: profile.tag_len(),
            rtp_streams: Streams::default(),
            rtcp_streams: Streams::default(),
        })
    }

    /// Opens the SRTP packet that fills `buf`, whose header with CSRCs and extension has `header_len` bytes.
    ///
    /// Returns the RTP packet's length in `buf` and its 48-bit index (roll-over counter, then sequence number).
    pub fn open_rtp(&mut self, buf: &mut [u8], header_len: usize) -> Result<(usize, u64), OpenError> {
        let len = buf.len().checked_sub(self.tag).ok_or(OpenError::Short)?;
        if header_len < 12 || header_len > len {
            return Err(OpenError::Short);
        }
        let ssrc = u32_at(buf, 8);
        let stream = self.rtp_streams.find(ssrc);
        let index = match stream {
            Some(stream) => self.rtp_streams.windows[stream]
                .newest()
                .map_or(0, |newest| guess(newest, sequence(buf))),
            None => sequence(buf).into(),
        };
        self.rtp_streams.check(stream, index)?;
        let (packet, tag) = buf.split_at_mut(len);
        let (header, payload) = packet.split_at_mut(header_len);
        let authentic = match &mut self.rtp {
            Keys::Gcm { gcm, salt } => gcm.open(&gcm_iv(salt, ssrc, index), header, payload, &whole_tag(tag)),
            Keys::Cm { ctr, mac, salt } => {
                let roc = ((index >> 16) as u32).to_be_bytes();
                let authentic = equal(&mac.sign(&[header, payload, &roc])[..SHORT_TAG], tag);
                if authentic {
                    ctr.apply(&cm_iv(salt, ssrc, index), payload);
                }
                authentic
            }
        };
        if !authentic {
            return Err(OpenError::Authentication);
        }
        self.rtp_streams.take(stream, ssrc, index)?;
        Ok((len, index))
    }

    /// Opens the SRTCP packet that fills `buf` and returns the compound packet's length in it. Unencrypted packets
    /// (E flag 0) are opened as well when they are authentic.
    pub fn open_rtcp(&mut self, buf: &mut [u8]) -> Result<usize, OpenError> {
        let len = buf.len().checked_sub(self.tag + INDEX).ok_or(OpenError::Short)?;
        if len < RTCP_HEADER {
            return Err(OpenError::Short);
        }
        let at = match self.rtcp {
            Keys::Gcm { .. } => len + TAG,
            Keys::Cm { .. } => len,
        };
        let (ssrc, word) = (u32_at(buf, 4), u32_at(buf, at));
        let index = u64::from(word & !ENCRYPTED);
        let stream = self.rtcp_streams.find(ssrc);
        self.rtcp_streams.check(stream, index)?;
        let (encrypted, word) = (word & ENCRYPTED != 0, word.to_be_bytes());
        let authentic = match &mut self.rtcp {
            Keys::Gcm { gcm, salt } => {
                let (iv, tag) = (gcm_iv(salt, ssrc, index), whole_tag(&buf[len..at]));
                if encrypted {
                    let (header, payload) = buf[..len].split_at_mut(RTCP_HEADER);
                    gcm.open(&iv, &rtcp_aad(header, word), payload, &tag)
                } else {
                    // What is authenticated is the packet and then the index: put it over the tag, behind the packet.
                    buf[len..len + INDEX].copy_from_slice(&word);
                    gcm.open(&iv, &buf[..len + INDEX], &mut [], &tag)
                }
            }
            Keys::Cm { ctr, mac, salt } => {
                let (signed, tag) = buf.split_at(len + INDEX);
                let authentic = equal(&mac.sign(&[signed])[..SHORT_TAG], tag);
                if authentic && encrypted {
                    ctr.apply(&cm_iv(salt, ssrc, index), &mut buf[RTCP_HEADER..len]);
                }
                authentic
            }
        };
        if !authentic {
            return Err(OpenError::Authentication);
        }
        self.rtcp_streams.take(stream, ssrc, index)?;
        Ok(len)
    }
}

/// The callers have split off exactly the tag's bytes.
fn whole_tag(bytes: &[u8]) -> [u8; TAG] {
    let mut tag = [0; TAG];
    tag.copy_from_slice(bytes);
    tag
}

/// The index nearest to `newest` that ends in `sequence` (RFC 3711, section 3.3.1).
///
/// An index before 0 can't be; a sender that began shortly below 65536 and whose first packets came in another
/// order is then meant, so it is the one with roll-over counter 0.
fn guess(newest: u64, sequence: u16) -> u64 {
    let ahead = sequence.wrapping_sub(newest as u16) as i16;
    let index = newest as i64 + i64::from(ahead);
    if (0..1 << 48).contains(&index) {
        index as u64
    } else {
        sequence.into()
    }
}

/// What has been received of each SSRC. A scan of a few words finds one; the last one found is tried first.
#[derive(Default)]
struct Streams {
    ssrcs: Vec<u32>,
    windows: Vec<Window>,
    last: usize,
}

impl Streams {
    fn find(&mut self, ssrc: u32) -> Option<usize> {
        if self.ssrcs.get(self.last) != Some(&ssrc) {
            self.last = self.ssrcs.iter().position(|&known| known == ssrc)?;
        }
        Some(self.last)
    }

    fn check(&self, stream: Option<usize>, index: u64) -> Result<(), OpenError> {
        match stream {
            Some(stream) if !self.windows[stream].would_take(index) => Err(OpenError::Replay),
            _ => Ok(()),
        }
    }

    fn take(&mut self, stream: Option<usize>, ssrc: u32, index: u64) -> Result<(), OpenError> {
        let stream = match stream {
            Some(stream) => stream,
            None if self.ssrcs.len() >= MAX_STREAMS => return Err(OpenError::TooManyStreams),
            None => {
                self.ssrcs.push(ssrc);
                self.windows.push(Window::default());
                self.ssrcs.len() - 1
            }
        };
        if self.windows[stream].take(index) {
            Ok(())
        } else {
            Err(OpenError::Replay)
        }
    }
}

#[cfg(test)]
mod tests;
