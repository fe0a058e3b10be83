//! Commands from Python, as bytes: little-endian numbers, byte strings and lists behind their length.
//!
//! `sfu/engine.py` writes what `Command::parse` reads; the two are the only places that know the layout.

use crate::ice::Credentials;
use crate::srtp::Profile;

pub type PeerId = u32;

/// A microphone, a camera and a screen: the tracks a peer may send, in this order.
pub const TRACKS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Audio,
    Video,
}

/// What a payload type means to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    pub payload_type: u8,
    pub codec: u8,
    /// For RTX (RFC 4588): the payload type that it repairs.
    pub apt: Option<u8>,
}

/// Header extensions the engine reads or writes, as numbered on the border.
pub const EXT_MID: usize = 0;
pub const EXT_RID: usize = 1;
pub const EXT_REPAIRED_RID: usize = 2;
pub const EXT_TRANSPORT_CC: usize = 3;
pub const EXT_ABS_SEND_TIME: usize = 4;
pub const EXT_AUDIO_LEVEL: usize = 5;
/// Of AV1 frames, their layers and references (AV1 RTP payload specification, appendix A).
pub const EXT_DEPENDENCY: usize = 6;
pub const EXTENSIONS: usize = 8;

/// One sending m-line of a peer.
#[derive(Debug, Default)]
pub struct TrackOffer {
    pub mid: Vec<u8>,
    /// Lowest layer first is not assumed: a layer is known by its place here.
    pub rids: Vec<Vec<u8>>,
    /// Declared SSRCs: primary and, 0 where there is none, its RTX.
    pub ssrcs: Vec<(u32, u32)>,
}

#[derive(Debug)]
pub struct SlotOffer {
    pub kind: Kind,
    pub mid: Vec<u8>,
    pub ssrc: u32,
    /// 0 where the slot has none.
    pub rtx_ssrc: u32,
}

pub struct AddPeer {
    pub peer: PeerId,
    pub local: Credentials,
    pub remote: Credentials,
    pub payloads: Vec<Payload>,
    /// Header extension ids by the numbers above; 0 where not agreed.
    pub extensions: [u8; EXTENSIONS],
    pub tracks: [TrackOffer; TRACKS],
    pub slots: Vec<SlotOffer>,
}

pub struct Keys {
    pub profile: Profile,
    pub rx_key: Vec<u8>,
    pub rx_salt: Vec<u8>,
    pub tx_key: Vec<u8>,
    pub tx_salt: Vec<u8>,
}

/// How sound goes to one viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoundMode {
    /// Earlier packets that each carries again, where the viewer offered RED: 0 to 2.
    pub redundancy: u8,
    /// Times that each packet goes out again, 20 to 40 ms after the former: 0 to 2.
    pub copies: u8,
    /// Packets are joined to 60 ms.
    pub joined: bool,
    /// Pauses are not sent.
    pub pauses_dropped: bool,
}

impl SoundMode {
    /// Whether packets go out that are not those that came.
    pub fn renumbers(&self) -> bool {
        self.joined || self.pauses_dropped
    }
}

pub enum Command {
    AddPeer(Box<AddPeer>),
    RestartIce {
        peer: PeerId,
        local: Credentials,
        remote: Credentials,
    },
    SetKeys {
        peer: PeerId,
        keys: Keys,
    },
    SendDtls {
        peer: PeerId,
        datagram: Vec<u8>,
    },
    Show {
        viewer: PeerId,
        slot: u8,
        publisher: PeerId,
        track: u8,
        layer: u8,
        /// Highest temporal layer that is forwarded; 255: all.
        temporal: u8,
        /// The publisher is asked for a key frame at once; if not, one is expected to come by itself.
        asks: bool,
    },
    Mute {
        peer: PeerId,
        track: u8,
        muted: bool,
    },
    RemovePeer {
        peer: PeerId,
    },
    SetSound {
        peer: PeerId,
        mode: SoundMode,
    },
    /// Send no more than so much, sound aside; 0: as it comes.
    SetTarget {
        peer: PeerId,
        bits_per_second: u32,
    },
    /// Send so much for so long, and measure how fast it comes through; 0 as id or rate ends the former probe.
    Probe {
        peer: PeerId,
        id: u16,
        bits_per_second: u32,
        milliseconds: u16,
    },
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        if n > self.0.len() {
            return None;
        }
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_le_bytes([b[0], b[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let n = self.u8()?;
        self.take(usize::from(n)).map(<[u8]>::to_vec)
    }

    fn credentials(&mut self) -> Option<Credentials> {
        let ufrag = String::from_utf8(self.bytes()?).ok()?;
        let pwd = String::from_utf8(self.bytes()?).ok()?;
        Credentials::new(ufrag, pwd).ok()
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let n = self.u8()?;
        (0..n).map(|_| item(self)).collect()
    }

    fn track(&mut self) -> Option<TrackOffer> {
        Some(TrackOffer {
            mid: self.bytes()?,
            rids: self.list(Self::bytes)?,
            ssrcs: self.list(|r| Some((r.u32()?, r.u32()?)))?,
        })
    }

    fn payload(&mut self) -> Option<Payload> {
        let (payload_type, codec, apt) = (self.u8()?, self.u8()?, self.u8()?);
        Some(Payload {
            payload_type: payload_type & 0x7f,
            codec,
            apt: if apt < 128 { Some(apt) } else { None },
        })
    }

    fn slot(&mut self) -> Option<SlotOffer> {
        let kind = if self.u8()? == 0 { Kind::Audio } else { Kind::Video };
        Some(SlotOffer {
            kind,
            mid: self.bytes()?,
            ssrc: self.u32()?,
            rtx_ssrc: self.u32()?,
        })
    }

    fn add_peer(&mut self) -> Option<AddPeer> {
        let peer = self.u32()?;
        let (local, remote) = (self.credentials()?, self.credentials()?);
        let payloads = self.list(Self::payload)?;
        let mut extensions = [0; EXTENSIONS];
        for (number, id) in self.list(|r| Some((r.u8()?, r.u8()?)))? {
            *extensions.get_mut(usize::from(number))? = id;
        }
        let tracks = [self.track()?, self.track()?, self.track()?];
        let slots = self.list(Self::slot)?;
        Some(AddPeer {
            peer,
            local,
            remote,
            payloads,
            extensions,
            tracks,
            slots,
        })
    }

    fn keys(&mut self) -> Option<Keys> {
        Some(Keys {
            profile: Profile::from_u16(self.u16()?)?,
            rx_key: self.bytes()?,
            rx_salt: self.bytes()?,
            tx_key: self.bytes()?,
            tx_salt: self.bytes()?,
        })
    }
}

impl Command {
    /// Reads one command; `None` where the bytes are not exactly one.
    pub fn parse(bytes: &[u8]) -> Option<Command> {
        let mut r = Reader(bytes);
        let command = match r.u8()? {
            1 => Command::AddPeer(Box::new(r.add_peer()?)),
            2 => Command::RestartIce {
                peer: r.u32()?,
                local: r.credentials()?,
                remote: r.credentials()?,
            },
            3 => Command::SetKeys {
                peer: r.u32()?,
                keys: r.keys()?,
            },
            4 => {
                let peer = r.u32()?;
                let n = r.u16()?;
                Command::SendDtls {
                    peer,
                    datagram: r.take(usize::from(n))?.to_vec(),
                }
            }
            5 => Command::Show {
                viewer: r.u32()?,
                slot: r.u8()?,
                publisher: r.u32()?,
                track: r.u8()?,
                layer: r.u8()?,
                temporal: r.u8()?,
                asks: r.u8()? != 0,
            },
            6 => Command::Mute {
                peer: r.u32()?,
                track: r.u8()?,
                muted: r.u8()? != 0,
            },
            7 => Command::RemovePeer { peer: r.u32()? },
            8 => {
                let (peer, redundancy, copies, flags) = (r.u32()?, r.u8()?, r.u8()?, r.u8()?);
                Command::SetSound {
                    peer,
                    mode: SoundMode {
                        redundancy: redundancy.min(2),
                        copies: copies.min(2),
                        joined: flags & 1 != 0,
                        pauses_dropped: flags & 2 != 0,
                    },
                }
            }
            9 => Command::SetTarget {
                peer: r.u32()?,
                bits_per_second: r.u32()?,
            },
            10 => Command::Probe {
                peer: r.u32()?,
                id: r.u16()?,
                bits_per_second: r.u32()?,
                milliseconds: r.u16()?,
            },
            _ => return None,
        };
        if r.0.is_empty() {
            Some(command)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_or_overlong_command_is_none() {
        let show = [5, 1, 0, 0, 0, 2, 3, 0, 0, 0, 1, 0, 255, 1];
        assert!(Command::parse(&show).is_some());
        for n in 0..show.len() {
            assert!(Command::parse(&show[..n]).is_none(), "{n} bytes");
        }
        let mut longer = show.to_vec();
        longer.push(0);
        assert!(Command::parse(&longer).is_none());
    }
}
