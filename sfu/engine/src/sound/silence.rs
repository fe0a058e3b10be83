//! Which packets of sound are silence that need not be sent.

use vardrum_codecs::opus;

use crate::clock::Micros;

/// Silence goes out for so long, so that no word loses its end, and the receiver learns what the silence sounds like.
/// Opus' own discontinuous transmission (RFC 6716, section 2.1.9) waits as long before its first silent frame, so that
/// this one need not: joined to the end of a word it would be none to the receiver, who would make up sound behind it.
const HANGOVER: Micros = 200_000;
/// Then one empty frame so often: a little sooner than Opus sends its own, each 400 ms, for each may come early.
const REFRESH: Micros = 360_000;
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
        let own = opus::is_silence(payload);
        if !own && !level.map_or(false, quiet) {
            self.since = None;
            return match self.emptied.take() {
                Some(_) => Verdict::Begin,
                None => Verdict::Send,
            };
        }
        if now < *self.since.get_or_insert(now) + HANGOVER && !own {
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
    fn a_pause_is_an_empty_frame_each_360_ms_and_what_follows_begins() {
        for level in [60, 0xff] {
            let mut silence = Silence::default();
            assert_eq!(silence.judge(&SPEECH, Some(0x80 | 20), 0), Verdict::Send);
            let judge = |n: Micros| silence.judge(&SPEECH, Some(level), n * 20 * MS);
            let verdicts: Vec<Verdict> = (1..=50).map(judge).collect();
            assert_eq!(verdicts[..10], [Verdict::Send; 10], "the end of the word");
            assert_eq!(verdicts[10], Verdict::Empty);
            assert_eq!(verdicts[11..28], [Verdict::Drop; 17]);
            assert_eq!(verdicts[28], Verdict::Empty);
            assert_eq!(silence.judge(&SPEECH, Some(0x80 | 20), 1_020 * MS), Verdict::Begin);
            assert_eq!(silence.judge(&SPEECH, Some(0x80 | 20), 1_040 * MS), Verdict::Send);
        }
    }

    #[test]
    fn an_encoders_own_silent_frame_never_goes_with_the_end_of_a_word() {
        for quiet_before in [0, 1, 9] {
            let mut silence = Silence::default();
            for n in 0..quiet_before {
                assert_eq!(silence.judge(&SPEECH, Some(127), n * 20 * MS), Verdict::Send);
            }
            // One each 400 ms, some a little early.
            for n in 0..10 {
                let early = n % 2 * 15 * MS;
                let verdict = silence.judge(&DTX, Some(127), (200 + n * 400) * MS - early);
                assert_eq!(verdict, Verdict::Empty);
            }
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
