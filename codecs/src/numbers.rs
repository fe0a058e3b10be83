//! The numbers that VP8's and VP9's payload descriptors give pictures, and how they are written over.

/// A picture id, 7 or 15 bits wide, and the offset of its first byte in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureId {
    pub value: u16,
    /// 15 bits in two bytes, else 7 in one.
    pub wide: bool,
    pub at: usize,
}

/// TL0PICIDX, the number of the last frame of temporal layer 0, and its offset in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tl0PicIdx {
    pub value: u8,
    pub at: usize,
}

/// What of both a payload has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub picture: Option<PictureId>,
    pub tl0: Option<Tl0PicIdx>,
}

impl PictureId {
    /// Reads an id whose first byte is the next one.
    pub(crate) fn read<E>(mut byte: impl FnMut() -> Result<(usize, u8), E>) -> Result<Self, E> {
        let (at, high) = byte()?;
        let wide = high & 0x80 != 0;
        let low = if wide { byte()?.1 } else { 0 };
        let value = if wide {
            u16::from(high & 0x7f) << 8 | u16::from(low)
        } else {
            u16::from(high)
        };
        Ok(PictureId { value, wide, at })
    }
}

impl Numbers {
    /// Writes others over a payload's own, as wide as those are.
    pub fn overwrite(&self, payload: &mut [u8], picture_id: u16, tl0: u8) {
        match self.picture {
            Some(id) if id.wide => payload[id.at..id.at + 2].copy_from_slice(&(0x8000 | picture_id).to_be_bytes()),
            Some(id) => payload[id.at] = picture_id as u8 & 0x7f,
            None => {}
        }
        if let Some(old) = self.tl0 {
            payload[old.at] = tl0;
        }
    }

    /// Copies a payload with others, the picture id always 15 bits wide; its length, 0 if it doesn't fit.
    pub fn copy(&self, out: &mut [u8], payload: &[u8], picture_id: u16, tl0: u8) -> usize {
        let mut written = *self;
        let (mut split, mut widened) = (0, 0);
        if let Some(id) = written.picture.as_mut().filter(|id| !id.wide) {
            id.wide = true;
            (split, widened) = (id.at + 1, 1);
            if let Some(tl0) = written.tl0.as_mut() {
                tl0.at += 1;
            }
        }
        let len = payload.len() + widened;
        if len > out.len() {
            return 0;
        }
        // Between the halves is the id's second byte, to be written over.
        out[..split].copy_from_slice(&payload[..split]);
        out[split + widened..len].copy_from_slice(&payload[split..]);
        written.overwrite(out, picture_id, tl0);
        len
    }
}
