//! The templates that a source's dependency descriptors point at, also where what brought them is late.
//!
//! They come with a key frame's first packet and hold from there on. What is on its way when they change still points at
//! those before; where they are late themselves, what follows them can't be read before they come.

use vardrum_codecs::dependency::{Frame, Structure};
use vardrum_codecs::Malformed;

/// Templates, and the sequence number of the packet that brought them.
type Since = (u64, Structure);

#[derive(Default)]
pub struct Templates {
    newest: Since,
    former: Since,
}

impl Templates {
    /// Reads the descriptor of the packet `sequence`; also whether it brought templates.
    ///
    /// Errors: it is malformed, or points at a template that has not come.
    pub fn read(&mut self, sequence: u64, descriptor: &[u8]) -> Result<(Frame, bool), Malformed> {
        let (frame, brought) = self.at(sequence).read(descriptor)?;
        let news = brought.is_some();
        if let Some(structure) = brought {
            self.keep(sequence, structure);
        }
        Ok((frame, news))
    }

    /// The same for a packet that came before, and brought none.
    pub fn read_again(&self, sequence: u64, descriptor: &[u8]) -> Option<Frame> {
        self.at(sequence).read(descriptor).ok().map(|(frame, _)| frame)
    }

    fn at(&self, sequence: u64) -> &Structure {
        if sequence >= self.newest.0 {
            &self.newest.1
        } else {
            &self.former.1
        }
    }

    fn keep(&mut self, sequence: u64, structure: Structure) {
        if sequence > self.newest.0 {
            self.former = std::mem::replace(&mut self.newest, (sequence, structure));
        } else if sequence > self.former.0 && sequence != self.newest.0 {
            self.former = (sequence, structure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a key frame's first packet in L1T2: templates `offset` for itself, then for layers 0 and 1.
    fn key_descriptor(offset: u8, number: u8) -> Vec<u8> {
        let places = [0x80 | offset >> 3, (offset & 7) << 5 | 1];
        [&[0x80 | offset, 0, number][..], &places, &[0x1e, 0xa8, 0x51, 0x40, 0]].concat()
    }

    fn temporal(templates: &mut Templates, sequence: u64, template: u8) -> Option<u8> {
        let frame = templates.read(sequence, &[template, 0, 0]).ok();
        assert_eq!(
            templates.read_again(sequence, &[template, 0, 0]),
            frame.map(|(frame, _)| frame)
        );
        frame.map(|(frame, _)| frame.temporal)
    }

    #[test]
    fn what_is_late_is_read_as_it_was_meant() {
        let mut templates = Templates::default();
        assert_eq!(temporal(&mut templates, 65_535, 1), None);
        assert!(templates.read(65_534, &key_descriptor(0, 7)).unwrap().1);
        assert_eq!(temporal(&mut templates, 65_535, 2), Some(1));
        assert_eq!(
            temporal(&mut templates, 65_540, 12),
            None,
            "of templates that have not come"
        );
        templates.read(65_539, &key_descriptor(10, 9)).unwrap();
        assert_eq!(temporal(&mut templates, 65_540, 12), Some(1));
        assert_eq!(
            temporal(&mut templates, 65_538, 2),
            Some(1),
            "on its way when they changed"
        );
        assert_eq!(temporal(&mut templates, 65_541, 2), None);
        // Of a key frame between the two: it changes nothing for what follows the later one.
        templates.read(65_537, &key_descriptor(20, 8)).unwrap();
        assert_eq!(temporal(&mut templates, 65_540, 12), Some(1));
        assert_eq!(temporal(&mut templates, 65_538, 22), Some(1));
        // Long after: older than all.
        templates.read(65_500, &key_descriptor(30, 8)).unwrap();
        assert_eq!(temporal(&mut templates, 65_538, 22), Some(1));
    }
}
