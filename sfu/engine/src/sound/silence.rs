//! Which packets of sound are silence that need not be sent.

use vardrum_codecs::opus;

use crate::clock::Micros;

/// Silence goes out for so long, so that no word loses its end, and the receiver learns what the silence sounds like.
const HANGOVER: Micros = 200_000;
/// Then one empty frame so often, as in Opus' own discontinuous transmission (RFC 6716, section 2.1.9).
const REFRESH: Micros = 400_000;
/// Without the voice flag, what is quieter than -50 dBov is a room, and not a person.
const QUIET: u8 = 50;
/// RFC 6464: digital silence.
const NOTHING: u8 = 127;
const VOICE: u8 = 0x80;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Send,
    /// The first after a pause.
    Begin,
    /// An empty frame in its place: the receiver makes comfort noise, and conceals nothing.
    Empty,
    Drop,
}

#[derive(Default)]
pub struct Silence {
    since: Option<Micros>,
    /// When the last empty frame went out in this pause.
    emptied: Option<Micros>,
}

impl Silence {
    /// Judges one packet. `level` is its byte of RFC 6464, where it had one.
    pub fn judge(&mut self, payload: &[u8], level: Option<u8>, now: Micros) -> Verdict {
        let quiet = |level: u8| level & 0x7f == NOTHING || level & VOICE == 0 && level & 0x7f >= QUIET;
        if !opus::is_silence(payload) && !level.map_or(false, quiet) {
            self.since = None;
            return match self.emptied.take() {
                Some(_) => Verdict::Begin,
                None => Verdict::Send,
            };
        }
        if now < *self.since.get_or_insert(now) + HANGOVER {
            return Verdict::Send;
        }
        match self.emptied {
            Some(at) if now < at + REFRESH => Verdict::Drop,
            _ => {
                self.emptied = Some(now);
                Verdict::Empty
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEECH: [u8; 40] = [0xf8; 40];
    const DTX: [u8; 1] = [0xf8];
    const MS: Micros = 1_000;

    #[test]
    fn a_pause_is_an_empty_frame_each_400_ms_and_what_follows_begins() {
        for (silent, level) in [(&DTX[..], None), (&SPEECH[..], Some(60)), (&SPEECH[..], Some(0xff))] {
            let mut silence = Silence::default();
            assert_eq!(silence.judge(&SPEECH, Some(0x80 | 20), 0), Verdict::Send);
            let verdicts: Vec<Verdict> = (1..=50).map(|n| silence.judge(silent, level, n * 20 * MS)).collect();
            assert_eq!(verdicts[..10], [Verdict::Send; 10], "the end of the word");
            assert_eq!(verdicts[10], Verdict::Empty);
            assert_eq!(verdicts[11..30], [Verdict::Drop; 19]);
            assert_eq!(verdicts[30], Verdict::Empty);
            assert_eq!(silence.judge(&SPEECH, Some(0x80 | 20), 1_020 * MS), Verdict::Begin);
            assert_eq!(silence.judge(&SPEECH, Some(0x80 | 20), 1_040 * MS), Verdict::Send);
        }
    }

    #[test]
    fn voices_and_sound_of_unknown_loudness_go_out_however_long() {
        for level in [None, Some(0x80 | 70), Some(0x80 | 10), Some(49)] {
            let mut silence = Silence::default();
            for n in 0..100 {
                assert_eq!(silence.judge(&SPEECH, level, n * 20 * MS), Verdict::Send, "{level:?}");
            }
        }
    }
}
