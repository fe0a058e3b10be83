//! A source: one encoding of a microphone, camera or screen, as it arrives.

use crate::ahead::Ahead;
use crate::clock::{Micros, SourceClock};
use crate::nack::Gaps;
use crate::packet::{Codec, Packet};
use crate::picture::{Picture, Reading};
use crate::reception::Reception;
use crate::replay::Window;
use crate::rtp::Unwrapper;
use crate::store::Store;
use crate::templates::Templates;

/// A layer that has sent nothing for so long does not exist (CONTRACT, "Sending"), if it need not make up for a key
/// frame.
pub const SILENCE: Micros = 1_000_000;
/// Browsers send picture packets in order but for the odd one; a gap this old is a loss.
const PICTURE_WAIT: Micros = 5_000;
/// Sound comes each 20 ms, and whatever is missing when the next packet comes is late as it is.
const SOUND_WAIT: Micros = 0;
/// Later than this a repair is of no use: the viewer has asked for a key frame, or the sound has been concealed.
const PICTURE_AGE: Micros = 1_000_000;
/// With a round trip of 250 ms what was NACKed came too late (DESIGN, "Sound is repaired at each hop").
const SOUND_AGE: Micros = 260_000;

/// Templates that have not come two round trips and this after they were missed are asked for as a key frame.
const TEMPLATES_WAIT: Micros = 50_000;

/// Python hears of a layer no more often.
const BETWEEN_NEWS: Micros = 100_000;

/// What a packet told that was taken.
pub struct Taken {
    /// From a request for it to its repair.
    pub round_trip: Option<Micros>,
}

pub struct Layer {
    pub ssrc: Option<u32>,
    pub rtx_ssrc: Option<u32>,
    /// Counts the SSRCs this layer has had: numbers of different lives can't be compared.
    pub life: u32,
    pub codec: Codec,
    pub unwrapper: Unwrapper,
    /// The newest number that came while the track was muted: nothing up to it goes out, however late it comes.
    pub hidden: u64,
    pub gaps: Gaps,
    pub reception: Reception,
    pub clock: SourceClock,
    pub store: Store,
    /// Sound that has come, first-hand, repeated or out of RED.
    heard: Window,
    /// Packets that came by RTX, by RED, or late because they were asked for.
    pub repaired: u64,
    pub alive: bool,
    pub last_packet: Micros,
    /// The same of what was no repair: what its encoder still makes.
    pub last_sent: Micros,
    pub ahead: Ahead,
    /// Somebody is to see this layer, or one above it; while nobody is, nothing of it is asked for again.
    pub wanted: bool,
    /// Width and height in pixels as the newest key frame says; 0 while unknown.
    pub size: (u16, u16),
    templates: Templates,
    /// What brought templates can't be read, so that there is nothing to wait for.
    unreadable: bool,
    /// Since when packets come whose templates have not.
    awaiting: Option<Micros>,
    /// The newest picture's id, for pictures that say only its last 7 bits.
    picture_id: Option<u16>,
    pub bytes: u64,
    /// Pictures begun, each counted once; of sound: packets that were newer than all before.
    pub frames: u64,
    pub key_frames: u64,
    newest_timestamp: Option<u32>,
    /// Packets received and lost in former lives.
    former: (u64, i64),
    /// What Python knows: alive and size, and since when.
    told: (bool, (u16, u16)),
    told_at: Option<Micros>,
}

impl Layer {
    pub fn new(codec: Codec) -> Self {
        let (wait, age) = if codec.is_audio() {
            (SOUND_WAIT, SOUND_AGE)
        } else {
            (PICTURE_WAIT, PICTURE_AGE)
        };
        Self {
            ssrc: None,
            rtx_ssrc: None,
            life: 0,
            codec,
            unwrapper: Unwrapper::default(),
            hidden: 0,
            gaps: Gaps::new(wait, age),
            reception: Reception::new(codec.clock_rate()),
            clock: SourceClock::new(codec.clock_rate()),
            store: Store::default(),
            heard: Window::default(),
            repaired: 0,
            alive: false,
            last_packet: 0,
            last_sent: 0,
            ahead: Ahead::default(),
            wanted: true,
            size: (0, 0),
            templates: Templates::default(),
            unreadable: false,
            awaiting: None,
            picture_id: None,
            bytes: 0,
            frames: 0,
            key_frames: 0,
            newest_timestamp: None,
            former: (0, 0),
            told: (false, (0, 0)),
            told_at: None,
        }
    }

    /// Begins a new life under another SSRC.
    pub fn adopt(&mut self, ssrc: u32, codec: Codec) {
        let life = self.life + 1;
        // What is counted goes on: Python sees one layer.
        *self = Layer {
            life,
            ssrc: Some(ssrc),
            rtx_ssrc: self.rtx_ssrc,
            told: self.told,
            told_at: self.told_at,
            bytes: self.bytes,
            frames: self.frames,
            key_frames: self.key_frames,
            repaired: self.repaired,
            former: (self.received(), self.lost()),
            ..Layer::new(codec)
        };
    }

    /// Packets that came first-hand, in all lives.
    pub fn received(&self) -> u64 {
        self.former.0 + self.reception.received()
    }

    /// Packets that never came first-hand, in all lives; what was repaired is among them.
    pub fn lost(&self) -> i64 {
        self.former.1 + self.reception.lost()
    }

    /// Interarrival jitter (RFC 3550, section 6.4.1) in microseconds.
    pub fn jitter_us(&self) -> f64 {
        f64::from(self.reception.jitter()) * 1e6 / f64::from(self.codec.clock_rate())
    }

    /// Whether it is alive, and its size, where that has changed and was not told a moment ago.
    pub fn news(&mut self, now: Micros) -> Option<(bool, (u16, u16))> {
        self.news_at().filter(|&at| now >= at)?;
        let present = self.present();
        self.told = present;
        self.told_at = Some(now);
        Some(present)
    }

    /// From when on `news` has something to say, if it has.
    pub fn news_at(&self) -> Option<Micros> {
        if self.present() == self.told {
            return None;
        }
        Some(self.told_at.map_or(0, |at| at + BETWEEN_NEWS))
    }

    fn present(&self) -> (bool, (u16, u16)) {
        (self.alive, if self.alive { self.size } else { (0, 0) })
    }

    /// What a packet of this layer says of its picture; `descriptor`: its dependency descriptor, if it has one.
    pub fn picture(&mut self, codec: Codec, sequence: u64, payload: &[u8], descriptor: Option<&[u8]>) -> Picture {
        let read = descriptor.map(|descriptor| self.templates.read(sequence, descriptor));
        let frame = read.and_then(|read| read.ok());
        let mut picture = Picture::of(codec, payload, frame.as_ref().map(|(frame, _)| frame));
        match frame {
            Some((_, templates)) => {
                picture.templates = templates;
                self.unreadable &= !templates;
            }
            None if descriptor.is_some() && codec.needs_descriptor() => {
                self.unreadable |= picture.key;
                if !self.unreadable {
                    picture.reading = Reading::Awaited;
                }
            }
            None => {}
        }
        if let (Some(id), true) = (picture.id, picture.narrow_id) {
            // The nearest to the newest one that ends in these 7 bits.
            let newest = self.picture_id.unwrap_or(id);
            let ahead = id.wrapping_sub(newest).wrapping_add(64) & 0x7f;
            picture.id = Some(newest.wrapping_add(ahead).wrapping_sub(64) & 0x7fff);
            if ahead >= 64 || self.picture_id.is_none() {
                self.picture_id = picture.id;
            }
        }
        picture
    }

    /// Counts a packet in; `None` for one that came before (a repair and the original). `repaired`: it came by RTX.
    pub fn take(&mut self, packet: &Packet<'_>, repaired: bool, now: Micros) -> Option<Taken> {
        let fresh = if packet.codec.is_audio() {
            self.heard.take(packet.sequence)
        } else {
            self.store.put(packet, now)
        };
        let asked = if fresh {
            self.gaps.on_packet(packet.sequence, now)
        } else {
            None
        };
        // Sound is repaired on its own SSRC, and reports say what the network lost: a publisher adds FEC by that. What
        // comes by itself, if only after its repair, was not lost.
        if !(repaired || packet.codec.is_audio() && asked.is_some()) {
            self.reception.on_packet(packet.sequence, packet.timestamp, now);
        }
        if !fresh {
            return None;
        }
        self.repaired += u64::from(repaired || asked.is_some());
        if packet.picture.templates {
            self.awaiting = None;
            self.read_late(packet.sequence);
        }
        self.last_packet = now;
        if !repaired {
            self.last_sent = now;
            let (bytes, key) = (packet.payload.len(), packet.picture.key);
            self.ahead.on_packet(now, bytes, packet.timestamp, key);
        }
        self.bytes += packet.payload.len() as u64;
        if self
            .newest_timestamp
            .map_or(true, |newest| packet.timestamp.wrapping_sub(newest) as i32 > 0)
        {
            self.newest_timestamp = Some(packet.timestamp);
            self.frames += 1;
        }
        self.key_frames += u64::from(packet.picture.key && !packet.codec.is_audio());
        // A repair says how far away its sender is, if it is known which request it answers.
        let round_trip = asked
            .filter(|asked| repaired && asked.rounds == 1)
            .map(|asked| asked.after);
        Some(Taken { round_trip })
    }

    /// Reads what came before the templates that packet `sequence` brought.
    fn read_late(&mut self, sequence: u64) {
        let Self { store, templates, .. } = self;
        store.read_again(sequence, |packet| {
            if !packet.picture.is_awaited() {
                return None;
            }
            let frame = templates.read_again(packet.sequence, packet.dependency)?;
            Some(Picture {
                reading: Reading::Late,
                ..Picture::of(packet.codec, packet.payload, Some(&frame))
            })
        });
    }

    /// What was read late behind packet `sequence` has gone out.
    pub fn settle_late(&mut self, sequence: u64) {
        self.store.read_again(sequence, |packet| match packet.picture.reading {
            Reading::Late => Some(Picture {
                reading: Reading::Known,
                ..packet.picture
            }),
            _ => None,
        });
    }

    /// Takes note of a packet whose templates have not come; whether it is time to ask for a key frame, which has some.
    pub fn templates_are_due(&mut self, now: Micros, round_trip: Micros) -> bool {
        let since = *self.awaiting.get_or_insert(now);
        let due = now > since + 2 * round_trip + TEMPLATES_WAIT;
        if due {
            self.awaiting = Some(now);
        }
        due
    }

    /// Counts in sound that came out of RED; `false` if it has come before, or is older than all that has.
    pub fn recover(&mut self, sequence: u64, now: Micros) -> bool {
        if self.reception.first().map_or(true, |first| sequence < first) || !self.heard.take(sequence) {
            return false;
        }
        self.gaps.on_packet(sequence, now);
        self.repaired += 1;
        true
    }
}
