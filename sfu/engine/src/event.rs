//! What the shard tells Python, as bytes like those of `command`.

use std::collections::VecDeque;

use crate::command::PeerId;

/// Datagrams of hostile handshakes may fill this far; what follows is dropped and counted.
const MAX_DATAGRAMS: usize = 1024;

/// Whether media may be sent (RFC 7675): only while something authentic comes from where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Nothing came for 30 s.
    Lost,
    Regained,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A DTLS datagram from an address that passed the integrity check.
    Dtls { peer: PeerId, datagram: Vec<u8> },
    /// Authenticated media or RTCP came within 5 s, or stopped doing so.
    Connection { peer: PeerId, connected: bool },
    /// A layer began or stopped to arrive, or a key frame showed its size (0 while unknown).
    Layer {
        peer: PeerId,
        track: u8,
        layer: u8,
        alive: bool,
        width: u16,
        height: u16,
    },
    /// ICE has chosen where to send to, for the first time or anew.
    Path { peer: PeerId },
    /// Media may not be sent any more, or may again.
    Transport { peer: PeerId, what: Consent },
    /// A whole picture of whom a slot shows has gone out, for the first time since it was told to show them.
    Picture { peer: PeerId, slot: u8 },
}

impl Event {
    /// Whether it is somebody's datagram, and not what became of one.
    pub fn is_datagram(&self) -> bool {
        matches!(self, Event::Dtls { .. })
    }

    /// Appends the event behind its length (u16).
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0, 0]);
        match self {
            Event::Dtls { peer, datagram } => {
                out.push(1);
                out.extend_from_slice(&peer.to_le_bytes());
                out.extend_from_slice(datagram);
            }
            Event::Connection { peer, connected } => {
                out.push(2);
                out.extend_from_slice(&peer.to_le_bytes());
                out.push(u8::from(*connected));
            }
            Event::Layer {
                peer,
                track,
                layer,
                alive,
                width,
                height,
            } => {
                out.push(3);
                out.extend_from_slice(&peer.to_le_bytes());
                out.extend_from_slice(&[*track, *layer, u8::from(*alive)]);
                out.extend_from_slice(&width.to_le_bytes());
                out.extend_from_slice(&height.to_le_bytes());
            }
            Event::Path { peer } => {
                out.push(4);
                out.extend_from_slice(&peer.to_le_bytes());
            }
            Event::Transport { peer, what } => {
                out.push(5);
                out.extend_from_slice(&peer.to_le_bytes());
                out.push(match what {
                    Consent::Lost => 0,
                    Consent::Regained => 1,
                });
            }
            Event::Picture { peer, slot } => {
                out.push(6);
                out.extend_from_slice(&peer.to_le_bytes());
                out.push(*slot);
            }
        }
        let length = (out.len() - start - 2) as u16;
        out[start..start + 2].copy_from_slice(&length.to_le_bytes());
    }
}

/// Events on their way; datagrams are bounded, the rest is rare by itself.
#[derive(Default)]
pub struct Events {
    queue: VecDeque<Event>,
    datagrams: usize,
}

impl Events {
    /// Returns `false` where the event was dropped because the queue is full.
    pub fn push(&mut self, event: Event) -> bool {
        if event.is_datagram() {
            if self.datagrams == MAX_DATAGRAMS {
                return false;
            }
            self.datagrams += 1;
        }
        self.queue.push_back(event);
        true
    }

    pub fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        if event.is_datagram() {
            self.datagrams -= 1;
        }
        Some(event)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
