//! What went out last in a slot, for the packets behind it to carry again (RFC 2198).

use vardrum_codecs::red::{self, Block};

/// As many as two blocks need, and a place for one that comes late.
const KEPT: usize = 4;

#[derive(Default)]
struct Kept {
    index: Option<u64>,
    timestamp: u32,
    payload: Vec<u8>,
}

#[derive(Default)]
pub struct Earlier {
    kept: [Kept; KEPT],
}

impl Earlier {
    pub fn keep(&mut self, index: u64, timestamp: u32, payload: &[u8]) {
        let place = &mut self.kept[index as usize % KEPT];
        place.index = Some(index);
        place.timestamp = timestamp;
        place.payload.clear();
        place.payload.extend_from_slice(payload);
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        self.kept.iter().map(|kept| kept.payload.capacity()).sum()
    }

    pub fn clear(&mut self) {
        for place in &mut self.kept {
            place.index = None;
        }
    }

    /// Writes packet `index` with up to `redundancy` of those directly before it, and tells whether there are any;
    /// writes nothing if not. `payload_type` is the viewer's for Opus.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        (index, timestamp): (u64, u32),
        payload: &[u8],
        redundancy: u8,
        payload_type: u8,
    ) -> bool {
        let mut blocks = [Block {
            payload_type,
            offset: 0,
            data: &[],
        }; KEPT];
        let most = usize::from(redundancy).min(KEPT - 1);
        let mut count = 0;
        for back in 1..=most {
            let wanted = index.checked_sub(back as u64);
            let kept = &self.kept[(index + (KEPT - back) as u64) as usize % KEPT];
            let offset = timestamp.wrapping_sub(kept.timestamp);
            if wanted.is_none() || kept.index != wanted || offset == 0 || !red::fits(offset, &kept.payload) {
                break;
            }
            count += 1;
            // The oldest stands first.
            blocks[most - back].offset = offset as u16;
            blocks[most - back].data = &kept.payload;
        }
        if count == 0 {
            return false;
        }
        let primary = Block {
            payload_type,
            offset: 0,
            data: payload,
        };
        red::write(out, &blocks[most - count..most], primary);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(earlier: &Earlier, index: u64, timestamp: u32, redundancy: u8) -> Option<Vec<(u16, Vec<u8>)>> {
        let mut out = Vec::new();
        let any = earlier.write(&mut out, (index, timestamp), b"now", redundancy, 111);
        assert_eq!(any, !out.is_empty());
        let blocks = red::parse(&out).ok()?;
        assert_eq!(
            (blocks.primary().payload_type, blocks.primary().data),
            (111, &b"now"[..])
        );
        Some(blocks.redundant().map(|b| (b.offset, b.data.to_vec())).collect())
    }

    #[test]
    fn as_many_as_wanted_of_those_directly_before_go_along() {
        for base in [0, 65_533, 1 << 32] {
            let mut earlier = Earlier::default();
            assert_eq!(written(&earlier, base, 0, 2), None);
            earlier.keep(base, u32::MAX - 959, b"first");
            assert_eq!(written(&earlier, base + 1, 0, 2), Some(vec![(960, b"first".to_vec())]));
            earlier.keep(base + 1, 0, b"second");
            let two = vec![(1920, b"first".to_vec()), (960, b"second".to_vec())];
            assert_eq!(written(&earlier, base + 2, 960, 2), Some(two.clone()));
            assert_eq!(written(&earlier, base + 2, 960, 1), Some(two[1..].to_vec()));
            assert_eq!(written(&earlier, base + 2, 960, 0), None);
            assert_eq!(written(&earlier, base + 3, 1920, 2), None, "the one before is missing");
            earlier.clear();
            assert_eq!(written(&earlier, base + 2, 960, 2), None);
        }
    }

    #[test]
    fn what_red_cannot_say_ends_the_row() {
        let mut earlier = Earlier::default();
        earlier.keep(1, 0, b"first");
        earlier.keep(2, 960, &[0; 1024]);
        assert_eq!(written(&earlier, 3, 1920, 2), None);
        earlier.keep(2, 960, b"second");
        assert_eq!(written(&earlier, 3, 960 + 16_384, 2), None, "too long ago");
        assert_eq!(written(&earlier, 3, 960, 2), None, "at the same time");
    }
}
