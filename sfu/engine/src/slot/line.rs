//! Sound and pictures of one person have one time: each slot's clock runs with the server's, and sources with that.

use super::segment::Segment;
use super::Slot;
use crate::command::Kind;
use crate::packet::Packet;

/// Where a source's clock has moved from the slot's line by more, both are brought together again.
const OFF_LINE_VIDEO: u32 = 90 * 20;
const OFF_LINE_AUDIO: u32 = 48 * 40;

impl Slot {
    /// Brings the present source and the slot's line together at a new frame, where the source's clock has left it.
    ///
    /// Pictures go back onto the line. Sound can't: a step forward is a gap in the middle of a word, which the receiver
    /// fills with what it makes up, and nothing can be squeezed. The line goes with it, and the slot's next sender
    /// report says so (RFC 3550, section 6.4.1): lips and voice agree by that.
    pub(super) fn keep_on_line(&mut self, packet: &Packet<'_>, segment: Segment) {
        let out = segment.timestamp_shift.wrapping_add(packet.timestamp);
        // No packet before this one had, or will have when it comes late, a later time; unless it is missing here.
        let last = segment.timestamp_shift.wrapping_add(self.newest.timestamp);
        if out == last || packet.sequence != self.newest.sequence + 1 {
            return;
        }
        let on_line = self.line.at(packet.capture);
        let off = on_line.wrapping_sub(out);
        let far = |limit| (off as i32).unsigned_abs() > limit;
        let timestamp = match self.kind {
            Kind::Audio => {
                if far(OFF_LINE_AUDIO) {
                    self.line.base = self.line.base.wrapping_sub(off);
                }
                return;
            }
            Kind::Video if !far(OFF_LINE_VIDEO) => return,
            Kind::Video if on_line.wrapping_sub(last) as i32 > 0 => on_line,
            Kind::Video => last.wrapping_add(self.line.rate / 1000),
        };
        self.close(packet.sequence);
        self.push(Segment {
            out_first: segment.out(packet.sequence),
            source_first: packet.sequence,
            timestamp_shift: timestamp.wrapping_sub(packet.timestamp),
            ..segment
        });
    }
}
