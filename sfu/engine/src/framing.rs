//! Packets on a connection, each behind its length in two bytes, most significant first (RFC 4571, section 2).

/// Bytes of the length.
pub const HEADER: usize = 2;
/// The longest packet that is taken: what a datagram may have here too. Browsers send about 1200 bytes.
pub const MAX_PACKET: usize = 2048;

/// A packet longer than any that belongs to us: whoever sent it speaks something else, and what follows can't be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Hands each whole packet of `bytes` to `take`, and tells how many bytes they had with their lengths; what remains is
/// the beginning of a packet and belongs before the bytes that come next (less than `HEADER + MAX_PACKET`). An empty
/// packet is passed over, as the RFC says.
pub fn split(bytes: &mut [u8], mut take: impl FnMut(&mut [u8])) -> Result<usize, TooLong> {
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + HEADER) {
        let len = usize::from(u16::from_be_bytes([header[0], header[1]]));
        if len > MAX_PACKET {
            return Err(TooLong);
        }
        match bytes.get_mut(at + HEADER..at + HEADER + len) {
            Some(packet) if len > 0 => take(packet),
            Some(_) => (),
            None => break,
        }
        at += HEADER + len;
    }
    Ok(at)
}

/// What has been written to a connection and not been taken by it yet: whole packets, at most `limit` bytes of them.
pub struct Backlog {
    bytes: Vec<u8>,
    sent: usize,
    limit: usize,
}

impl Backlog {
    /// An empty one, without memory yet.
    pub fn new(limit: usize) -> Backlog {
        Backlog {
            bytes: Vec::new(),
            sent: 0,
            limit,
        }
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Puts `packet` behind its length; `false`, and nothing is put there, where there is no room.
    pub fn push(&mut self, packet: &[u8]) -> bool {
        let len = match u16::try_from(packet.len()) {
            Ok(len) if self.len() + HEADER + packet.len() <= self.limit => len,
            _ => return false,
        };
        if self.bytes.len() + HEADER + packet.len() > self.limit {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(packet);
        true
    }

    /// What is to be sent next.
    pub fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The connection has taken the first `n` bytes of it.
    pub fn took(&mut self, n: usize) {
        self.sent = (self.sent + n).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{for_each_seed, Random};

    fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for packet in packets {
            bytes.extend_from_slice(&(packet.len() as u16).to_be_bytes());
            bytes.extend_from_slice(packet);
        }
        bytes
    }

    /// What a reader makes of a stream that arrives in pieces of `size` bytes.
    fn read(stream: &[u8], mut size: impl FnMut() -> usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let (mut got, mut held) = (Vec::new(), Vec::new());
        let mut rest = stream;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(size().clamp(1, rest.len()));
            rest = after;
            held.extend_from_slice(piece);
            let used = split(&mut held, |packet| got.push(packet.to_vec()))?;
            held.drain(..used);
            assert!(held.len() < HEADER + MAX_PACKET, "what is held is less than one packet");
        }
        Ok(got)
    }

    #[test]
    fn packets_come_out_as_they_went_in_however_the_stream_was_cut() {
        for_each_seed(200, |random: &mut Random| {
            let packets: Vec<Vec<u8>> = (0..10).map(|_| random.bytes(MAX_PACKET)).collect();
            let whole: Vec<Vec<u8>> = packets.iter().filter(|packet| !packet.is_empty()).cloned().collect();
            assert_eq!(read(&framed(&packets), || random.below(3000)), Ok(whole));
        });
    }

    #[test]
    fn one_byte_at_a_time_is_enough_and_an_empty_packet_is_none() {
        let packets = [vec![7], vec![], vec![1; MAX_PACKET], vec![9, 9]];
        let got = read(&framed(&packets), || 1).unwrap();
        assert_eq!(got, [vec![7], vec![1; MAX_PACKET], vec![9, 9]]);
    }

    #[test]
    fn a_length_beyond_the_longest_packet_ends_the_connection_before_its_bytes_come() {
        let mut bytes = framed(&[vec![5; 3]]);
        bytes.extend_from_slice(&[0x08, 0x01]); // 2049
        let mut got = 0;
        assert_eq!(split(&mut bytes, |_| got += 1), Err(TooLong));
        assert_eq!(got, 1);
        assert_eq!(split(&mut b"GET / HTTP/1.1\r\n".to_vec(), |_| ()), Err(TooLong));
        assert_eq!(split(&mut [0x16, 3, 1, 2], |_| ()), Err(TooLong), "TLS");
    }

    #[test]
    fn no_bytes_whatever_make_it_hold_more_than_a_packet() {
        for_each_seed(500, |random: &mut Random| {
            let bytes = random.bytes(20_000);
            let _ = read(&bytes, || random.below(4000));
        });
    }

    #[test]
    fn a_backlog_keeps_whole_packets_in_order_and_refuses_what_is_too_much() {
        for_each_seed(200, |random: &mut Random| {
            let limit = 5000;
            let mut backlog = Backlog::new(limit);
            let (mut kept, mut stream) = (Vec::new(), Vec::new());
            for _ in 0..300 {
                let packet = random.bytes(1200);
                let fits = backlog.len() + HEADER + packet.len() <= limit;
                assert_eq!(backlog.push(&packet), fits);
                if fits && !packet.is_empty() {
                    kept.push(packet);
                }
                assert!(
                    backlog.len() <= limit && backlog.bytes.len() <= limit && backlog.bytes.capacity() <= 2 * limit
                );
                let n = random.below(1000).min(backlog.len());
                stream.extend_from_slice(&backlog.waiting()[..n]);
                backlog.took(n);
            }
            stream.extend_from_slice(backlog.waiting());
            assert_eq!(read(&stream, || 4096), Ok(kept));
        });
    }
}
