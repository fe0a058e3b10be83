//! What is measured: how many see each person, with which packets, under which load.

use vardrum_engine::srtp::Profile;

/// Bytes of the header that everybody sends: the fixed one and one word of extensions behind its preamble.
pub const HEADER: usize = 24;

/// Packets of one picture: of 640x360 at 900 kbit/s and 25 a second.
const PICTURE: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Forwarded packets a second, evenly spread over everybody who sends.
    Rate(u64),
    /// As much as the server takes without losing any.
    Full,
}

#[derive(Clone, Copy)]
pub struct Case {
    /// How many others each person is seen by: visits have one person more.
    pub fan_out: usize,
    /// Bytes of a sealed packet: what is in the UDP datagram.
    pub size: usize,
    pub profile: Profile,
    pub load: Load,
    /// People at least, over all visits.
    pub people: usize,
    /// Times that each server is measured.
    pub slices: usize,
    /// Length of one measurement.
    pub seconds: f64,
}

impl Case {
    /// Reads `--fanout 2 --size 1100 --srtp gcm --load 25000 --people 99 --slices 3 --seconds 0.3`, where `--srtp` may
    /// be `sha1` too, and `--load` may be `full`. What isn't said is as in the example.
    ///
    /// Errors: which argument is wrong, and what was expected.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Case, String> {
        let mut case = Case {
            fan_out: 2,
            size: 1100,
            profile: Profile::AeadAes128Gcm,
            load: Load::Rate(25_000),
            people: 99,
            slices: 3,
            seconds: 0.3,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            match name.as_str() {
                "--fanout" => case.fan_out = number(&name, &value, 1.0, 15.0)? as usize,
                // Less has no room for a picture's header, and an outbox takes no more.
                "--size" => case.size = number(&name, &value, 60.0, 1400.0)? as usize,
                "--srtp" if value == "gcm" => case.profile = Profile::AeadAes128Gcm,
                "--srtp" if value == "sha1" => case.profile = Profile::Aes128CmSha1_80,
                "--srtp" => return Err(format!("{name} {value}: expected gcm or sha1")),
                "--load" if value == "full" => case.load = Load::Full,
                "--load" => case.load = Load::Rate(number(&name, &value, 1.0, 1e6)? as u64),
                "--people" => case.people = number(&name, &value, 1.0, 1000.0)? as usize,
                "--slices" => case.slices = number(&name, &value, 1.0, 1000.0)? as usize,
                "--seconds" => case.seconds = number(&name, &value, 0.0, 60.0)?,
                _ => return Err(format!("{name}: no such argument")),
            }
        }
        Ok(case)
    }

    /// People in one visit: each sends, and sees all the others.
    pub fn visit(&self) -> usize {
        self.fan_out + 1
    }

    pub fn visits(&self) -> usize {
        (self.people + self.fan_out) / self.visit()
    }

    /// Everybody.
    pub fn crowd(&self) -> usize {
        self.visits() * self.visit()
    }

    /// The others of a person's visit, by their places.
    pub fn others(&self, place: usize) -> impl Iterator<Item = usize> {
        let first = place - place % self.visit();
        (first..first + self.visit()).filter(move |&other| other != place)
    }

    /// What is smaller than pictures' packets ever are is sound.
    pub fn is_sound(&self) -> bool {
        self.size < 300
    }

    /// Packets that a person sends in one go: a picture, or one packet of sound.
    pub fn run(&self) -> usize {
        if self.is_sound() {
            1
        } else {
            PICTURE
        }
    }

    /// Bytes of an RTP packet's payload, at most.
    pub fn payload(&self) -> usize {
        self.size - HEADER - self.profile.tag_len()
    }

    /// So many bytes shorter is packet `number` of picture `picture`: senders split a picture evenly, and what remains
    /// makes its last packets a byte longer than its first.
    pub fn shorter(&self, picture: u64, number: usize) -> usize {
        let longer = picture as usize % PICTURE;
        usize::from(!self.is_sound() && longer > 0 && number + longer < PICTURE)
    }
}

fn number(name: &str, value: &str, least: f64, most: f64) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("{name} {value}: expected a number from {least} to {most}")),
    }
}
