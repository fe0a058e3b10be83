//! What of a payload, or of the dependency descriptor beside it, is a slot's own.

use vardrum_codecs::{dependency, vp8, vp9};

use crate::rtp::{self, Header};

/// What is changed in a packet on its way; of a payload in pieces, in the last one.
#[derive(Clone, Copy, Debug)]
pub enum Patch<'a> {
    Vp8 {
        picture: u16,
        tl0: u8,
    },
    Vp9 {
        picture: u16,
        tl0: u8,
    },
    /// The dependency descriptor goes along, as that of frame `number`.
    Av1 {
        descriptor: &'a [u8],
        number: u16,
    },
}

impl<'a> Patch<'a> {
    /// The dependency descriptor that goes along; empty where there is none.
    pub fn descriptor(&self) -> &'a [u8] {
        match self {
            Patch::Av1 { descriptor, .. } => descriptor,
            _ => &[],
        }
    }

    /// Writes the frame's number over the one in a header that was just written; `id`: of the extension.
    pub fn renumber(&self, packet: &mut [u8], id: u8) {
        if let Patch::Av1 { number, .. } = self {
            let range = rtp::parse(packet)
                .ok()
                .and_then(|header: Header| rtp::extension_range(packet, &header, id));
            if let Some(range) = range {
                dependency::renumber(&mut packet[range], *number);
            }
        }
    }

    /// Copies a payload as the slot has it, a byte longer where its picture id was narrow; 0 where it is to be copied
    /// as it is.
    fn copy(&self, out: &mut [u8], payload: &[u8]) -> usize {
        match *self {
            Patch::Vp8 { picture, tl0 } => vp8::rewrite_into(out, payload, picture, tl0),
            Patch::Vp9 { picture, tl0 } => vp9::rewrite_into(out, payload, picture, tl0),
            Patch::Av1 { .. } => 0,
        }
    }
}

/// Writes pieces of payload one behind the other, the last as `patch` has it; their length, or nothing where they
/// don't fit.
pub fn write(out: &mut [u8], pieces: &[&[u8]], patch: Option<Patch<'_>>) -> Option<usize> {
    let mut end = 0;
    for (place, piece) in pieces.iter().enumerate() {
        let room = out.get_mut(end..)?;
        let written = match patch {
            Some(patch) if place + 1 == pieces.len() => patch.copy(room, piece),
            _ => 0,
        };
        if written == 0 {
            room.get_mut(..piece.len())?.copy_from_slice(piece);
            end += piece.len();
        }
        end += written;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_piece_is_patched_and_what_does_not_fit_is_not_written() {
        let patch = Some(Patch::Vp8 {
            picture: 0x1234,
            tl0: 9,
        });
        let mut out = [0; 9];
        let pieces: [&[u8]; 2] = [&[0x90, 0x80], &[0x90, 0xc0, 5, 6, 7]];
        assert_eq!(write(&mut out, &pieces, patch), Some(8));
        assert_eq!(out, [0x90, 0x80, 0x90, 0xc0, 0x92, 0x34, 9, 7, 0]);
        assert_eq!(write(&mut out, &pieces, None), Some(7));
        assert_eq!(out[..7], [0x90, 0x80, 0x90, 0xc0, 5, 6, 7]);
        assert_eq!(write(&mut out[..6], &pieces, None), None);
        assert_eq!(write(&mut out, &[], patch), Some(0));
    }

    #[test]
    fn a_frame_is_renumbered_where_its_descriptor_is() {
        let patch = Patch::Av1 {
            descriptor: &[0xc0, 0, 1],
            number: 0xfffe,
        };
        let mut packet = [0; 60];
        let extensions = [(3, &[7, 7][..]), (12, patch.descriptor())];
        let len = rtp::write_header(&mut packet, &Header::default(), &extensions);
        patch.renumber(&mut packet[..len], 12);
        let header = rtp::parse(&packet[..len]).unwrap();
        assert_eq!(rtp::extension(&packet, &header, 12), Some(&[0xc0, 0xff, 0xfe][..]));
        assert_eq!(rtp::extension(&packet, &header, 3), Some(&[7, 7][..]));
    }
}
