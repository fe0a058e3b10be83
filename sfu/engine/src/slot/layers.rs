//! Which pictures of what is shown go out, and how their segments join.

use super::segment::{id_mask, numbering, Segment, OPEN};
use super::Slot;
use crate::packet::{Codec, Packet};

impl Slot {
    /// Takes the newest packet of what is shown; `false` where its picture's temporal layer is dropped.
    pub(super) fn advance(&mut self, packet: &Packet<'_>) -> bool {
        let last = match self.segments.back() {
            Some(segment) => *segment,
            None => return true,
        };
        let former_limit = self.limit;
        let wanted = if self.late { 0 } else { self.wanted_layer };
        self.limit = packet.picture.limit(self.limit, wanted);
        let goes_out = packet.picture.temporal <= self.limit;
        let open = last.end == OPEN;
        if open && goes_out && self.limit == last.limit {
            self.keep_on_line(packet, last);
            return true;
        }
        // Where what is missing in front of it begins, if it may have been wanted; else where it begins itself.
        let missing = self.newest.sequence + 1;
        let from = if self.missing_was_dropped(packet, !open, !goes_out) {
            packet.sequence
        } else {
            missing
        };
        if !goes_out {
            if open {
                let end = if from == missing { packet.sequence } else { missing };
                self.close(end);
                self.next = self.next.max(last.out(end));
            } else if from < packet.sequence {
                self.push(Segment {
                    out_first: self.next,
                    source_first: from,
                    end: packet.sequence,
                    picture_shift: self.picture_shift,
                    limit: former_limit,
                    ..last
                });
                self.next += packet.sequence - from;
            }
            self.drop_picture(packet, last.tl0_shift);
            return false;
        }
        if open {
            self.close(packet.sequence);
        } else if from < packet.sequence {
            // Under the limit that was: of a picture whose first packets were dropped the last must not go out.
            self.push(Segment {
                out_first: self.next,
                source_first: from,
                end: packet.sequence,
                picture_shift: self.picture_shift,
                limit: former_limit,
                ..last
            });
            self.next += packet.sequence - from;
        }
        let next = Segment {
            out_first: if open { last.out(packet.sequence) } else { self.next },
            source_first: packet.sequence,
            end: OPEN,
            picture_shift: self.picture_shift,
            limit: self.limit,
            ..last
        };
        self.push(next);
        self.keep_on_line(packet, next);
        true
    }

    /// Counts a dropped packet's picture out of the ids that follow.
    fn drop_picture(&mut self, packet: &Packet<'_>, tl0_shift: u8) {
        // Only VP8's ids may move: the others' pictures name their references by how much lower their ids are (RFC
        // 9628, section 4.2, P_DIFF; dependency descriptor, fdiff), and receivers expect ids to be missing.
        if packet.codec == Codec::VP8 && packet.timestamp != self.newest.timestamp {
            self.picture_shift = self.picture_shift.wrapping_sub(1);
        }
        if let Some(id) = packet.picture.id {
            let id = id.wrapping_add(self.picture_shift) & id_mask(packet.codec);
            self.last_picture[numbering(packet.codec)] = Some((id, packet.picture.tl0.wrapping_add(tl0_shift)));
        }
    }

    /// Was all that is missing between the newest packet and this one of pictures that are dropped? `former` and
    /// `present`: whether the pictures on either side are.
    fn missing_was_dropped(&self, packet: &Packet<'_>, former: bool, present: bool) -> bool {
        if packet.timestamp == self.newest.timestamp {
            return former && present;
        }
        let next_to_it = match (self.newest.id, packet.picture.id) {
            (Some(former), Some(present)) => former.wrapping_add(1).wrapping_sub(present) & id_mask(packet.codec) == 0,
            _ => false,
        };
        let (tail, head) = (!self.newest.marker, !packet.picture.starts);
        next_to_it && (tail || head) && (former || !tail) && (present || !head)
    }
}
