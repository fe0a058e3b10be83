//! The dependency descriptor, a header extension (AV1 RTP payload specification, appendix A): of whatever codec, which
//! layer a frame is of, and from which frames on a receiver may get more layers.
//!
//! What differs from frame to frame is three bytes; they point at *templates*, which come with a key frame.

use crate::bits::Bits;
use crate::Malformed;

const MOST_TEMPLATES: usize = 64;
/// Four at most can be told apart by a template's own fields; more fdiffs are no error.
const MOST_LAYERS: u8 = 8;

/// How a frame counts for a decode target, two bits: 0 not in it, 1 discardable, 2 switch, 3 required.
const NOT_PRESENT: u64 = 0;
const SWITCH: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Template {
    temporal: u8,
    spatial: u8,
    /// Two bits for each decode target, the first in the lowest.
    indications: u64,
}

/// The templates that a stream's latest key frame brought.
#[derive(Clone, Debug, Default)]
pub struct Structure {
    offset: u8,
    templates: Vec<Template>,
    /// The highest temporal layer of each decode target.
    targets: Vec<u8>,
}

/// What one packet's descriptor says of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub start: bool,
    pub end: bool,
    pub number: u16,
    pub temporal: u8,
    pub spatial: u8,
    /// A receiver that has all that this frame needs may get all temporal layers up to this one from here on.
    pub switch_to: Option<u8>,
}

/// The frame's number, which every descriptor has at the same place.
pub fn number(descriptor: &[u8]) -> Option<u16> {
    descriptor.get(1..3).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

/// Writes another number over a descriptor's own. Frames are told from each other by differences of these numbers, so
/// all of a stream have to be moved by as much, and those of dropped frames are left out.
pub fn renumber(descriptor: &mut [u8], number: u16) {
    if let Some(place) = descriptor.get_mut(1..3) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

impl Structure {
    /// Reads a packet's descriptor, and the templates that come with it.
    ///
    /// Errors: it ends early, or points at a template that is not here.
    pub fn read(&self, descriptor: &[u8]) -> Result<(Frame, Option<Structure>), Malformed> {
        let mut bits = Bits::new(descriptor);
        self.read_bits(&mut bits, descriptor.len() > 3).ok_or(Malformed::Short)
    }

    fn read_bits(&self, bits: &mut Bits<'_>, extended: bool) -> Option<(Frame, Option<Structure>)> {
        let (start, end) = (bits.flag()?, bits.flag()?);
        let (template, number) = (bits.take(6)? as u8, bits.take(16)? as u16);
        let mut custom = false;
        let mut brought = None;
        if extended {
            let (structure, active) = (bits.flag()?, bits.flag()?);
            custom = bits.flag()?;
            bits.take(2)?; // own differences, own chains
            if structure {
                brought = Some(read_structure(bits)?);
            }
            if active {
                let targets = brought.as_ref().unwrap_or(self).targets.len();
                bits.take(targets)?;
            }
        }
        let structure = brought.as_ref().unwrap_or(self);
        let place = usize::from(template.wrapping_sub(structure.offset) & 0x3f);
        let mut found = *structure.templates.get(place)?;
        if custom {
            found.indications = read_indications(bits, structure.targets.len())?;
        }
        let switches = |target: &usize| found.indications >> (2 * *target) & 3 == SWITCH;
        let switch_to = (0..structure.targets.len())
            .filter(switches)
            .map(|target| structure.targets[target])
            .max();
        let frame = Frame {
            start,
            end,
            number,
            temporal: found.temporal,
            spatial: found.spatial,
            switch_to,
        };
        Some((frame, brought))
    }
}

fn read_structure(bits: &mut Bits<'_>) -> Option<Structure> {
    let offset = bits.take(6)? as u8;
    let targets = bits.take(5)? as usize + 1;
    let mut templates = Vec::new();
    let (mut temporal, mut spatial) = (0, 0);
    loop {
        templates.push(Template {
            temporal,
            spatial,
            indications: 0,
        });
        match bits.take(2)? {
            0 => {}
            1 => temporal += 1,
            2 => (temporal, spatial) = (0, spatial + 1),
            _ => break,
        }
        if templates.len() == MOST_TEMPLATES || temporal >= MOST_LAYERS || spatial >= MOST_LAYERS {
            return None;
        }
    }
    for template in &mut templates {
        template.indications = read_indications(bits, targets)?;
    }
    for _ in &templates {
        while bits.flag()? {
            bits.take(4)?; // how far back a reference is
        }
    }
    let chains = bits.below(targets as u32 + 1)?;
    if chains > 0 {
        for _ in 0..targets {
            bits.below(chains)?;
        }
        for _ in 0..templates.len() * chains as usize {
            bits.take(4)?;
        }
    }
    if bits.flag()? {
        for _ in 0..=spatial {
            bits.take(32)?; // width and height
        }
    }
    let highest = |target: usize| {
        let present = |t: &&Template| t.indications >> (2 * target) & 3 != NOT_PRESENT;
        templates.iter().filter(present).map(|t| t.temporal).max().unwrap_or(0)
    };
    Some(Structure {
        offset,
        targets: (0..targets).map(highest).collect(),
        templates,
    })
}

fn read_indications(bits: &mut Bits<'_>, targets: usize) -> Option<u64> {
    (0..targets).try_fold(0, |all, target| Some(all | u64::from(bits.take(2)?) << (2 * target)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;

    /// Writes bits from a text of 0 and 1; blanks don't count.
    fn written(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        bits.chunks(8)
            .map(|byte| byte.iter().enumerate().fold(0, |all, (i, bit)| all | bit << (7 - i)))
            .collect()
    }

    /// The first packet of a key frame of L1T2: three templates, two decode targets, one chain, 640x360.
    fn key(offset: u8) -> Vec<u8> {
        let fields = [
            "1 0",                                 // starts, doesn't end
            &format!("{:06b}", offset),            // template
            "0000000100000010",                    // number 258
            "1 0 0 0 0",                           // a structure
            &format!("{:06b} 00001", offset),      // two targets
            "00 01 11",                            // layers 0, 0, 1
            "1010 1010 0001",                      // SS SS -D
            "0 1 0001 0 1 0000 0",                 // references none, 2, 1
            "10",                                  // one chain (of 0 to 2), which protects both
            "0000 0010 0001",                      // its differences
            "1 0000001001111111 0000000101100111", // 640x360
        ];
        written(&fields.concat())
    }

    /// The templates that a descriptor brought.
    fn after(descriptor: &[u8]) -> Structure {
        let (_, brought) = Structure::default().read(descriptor).unwrap();
        brought.unwrap()
    }

    #[test]
    fn templates_come_with_a_key_frame_and_frames_point_at_them() {
        let none = Structure::default();
        assert!(none.read(&[0x80, 1, 3]).is_err(), "no template yet");
        let expected = Frame {
            start: true,
            end: false,
            number: 258,
            temporal: 0,
            spatial: 0,
            switch_to: Some(1),
        };
        for offset in [0, 5, 62] {
            let (frame, structure) = none.read(&key(offset)).unwrap();
            assert_eq!(frame, expected);
            let structure = structure.unwrap();
            let of = |place: u8| structure.read(&[0x40 | (offset + place) & 0x3f, 1, 3]);
            let (next, brought) = of(2).unwrap();
            assert_eq!((next.start, next.end, next.number), (false, true, 259));
            assert_eq!((next.temporal, next.switch_to), (1, None));
            assert!(brought.is_none());
            assert_eq!(of(1).unwrap().0.switch_to, Some(1));
            assert!(of(3).is_err());
        }
    }

    #[test]
    fn a_frame_may_have_indications_of_its_own() {
        let structure = after(&key(0));
        // Targets active, then: not in the first, a switch for the second.
        let own = written("1 1 000010 0000000100000011 0 1 1 0 0 11 00 10");
        let (frame, _) = structure.read(&own).unwrap();
        assert_eq!((frame.temporal, frame.switch_to), (1, Some(1)));
    }

    #[test]
    fn a_descriptor_that_is_cut_off_is_refused() {
        let (structure, other) = (after(&key(7)), key(20));
        for len in 0..other.len() {
            assert!(structure.read(&other[..len]).is_err(), "{} bytes", len);
        }
    }

    #[test]
    fn the_number_is_written_over() {
        let mut descriptor = key(0);
        renumber(&mut descriptor, 0xfffe);
        assert_eq!(number(&descriptor), Some(0xfffe));
        assert_eq!(descriptor[3..], key(0)[3..]);
        renumber(&mut descriptor[..2], 1);
        assert_eq!(number(&descriptor[..2]), None);
    }

    #[test]
    fn no_bytes_make_it_panic_or_keep_more_than_a_descriptor_can_say() {
        for_each_seed(20_000, |random| {
            let mut structure = after(&key(3));
            for _ in 0..3 {
                let bytes = match random.below(3) {
                    0 => random.bytes(255),
                    1 => random.mutated(&key(3)),
                    // A structure of chance behind a header that announces one.
                    _ => [&[0x80, 0, 0, 0x80 | random.next() as u8][..], &random.bytes(250)].concat(),
                };
                if let Ok((frame, brought)) = structure.read(&bytes) {
                    assert!(frame.temporal < MOST_LAYERS && frame.spatial < MOST_LAYERS);
                    assert_eq!(number(&bytes), Some(frame.number));
                    structure = brought.unwrap_or(structure);
                }
                assert!(structure.templates.len() <= MOST_TEMPLATES && structure.targets.len() <= 32);
            }
        });
    }
}
