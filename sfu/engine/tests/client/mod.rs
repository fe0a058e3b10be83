//! A browser-like client without a network: what it sends and understands, in virtual time.
#![allow(dead_code)]

use vardrum_engine::address::Address;
use vardrum_engine::command::{AddPeer, Command, Keys, Kind, Payload, SlotOffer, TrackOffer};
use vardrum_engine::crypto::HmacSha1;
use vardrum_engine::ice::Credentials;
use vardrum_engine::packet::Codec;
use vardrum_engine::rtp::{self, Header};
use vardrum_engine::shard::Shard;
use vardrum_engine::srtp::{Profile, Receiver, Sender};
use vardrum_engine::{rtcp, stun, Micros};

pub const OPUS: u8 = 111;
pub const RED: u8 = 63;
pub const VP8: u8 = 96;
pub const RTX: u8 = 97;
pub const VP9: u8 = 98;
pub const AV1: u8 = 45;
pub const AV1_RTX: u8 = 46;
pub const H264: u8 = 127;
pub const MID: u8 = 4;
pub const RID: u8 = 10;
pub const REPAIRED_RID: u8 = 11;
pub const TRANSPORT_CC: u8 = 3;
pub const DEPENDENCY: u8 = 12;
pub const MICROPHONE: u8 = 0;
pub const CAMERA: u8 = 1;
/// Audio slots come first: slot 0 and 1 are sound, 2 and 3 pictures.
pub const SOUND_SLOT: u8 = 0;
pub const PICTURE_SLOT: u8 = 2;

/// What a client got, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub payload_type: u8,
    pub marker: bool,
    pub payload: Vec<u8>,
    /// It says to which m-line it belongs.
    pub named: bool,
    /// Its dependency descriptor, empty without one.
    pub descriptor: Vec<u8>,
    pub sealed: Vec<u8>,
}

impl Got {
    /// VP8 picture id, as `Client::picture` writes descriptors.
    pub fn picture_id(&self) -> u16 {
        u16::from_be_bytes([self.payload[2] & 0x7f, self.payload[3]])
    }
}

pub struct Client {
    pub id: u32,
    pub address: Address,
    srtp_out: Sender,
    srtp_in: Receiver,
    server_key: HmacSha1,
    client_key: HmacSha1,
    username: String,
    checks: u8,
    sequences: std::collections::HashMap<u32, u16>,
    transport: u16,
    /// A dependency descriptor for the packets that follow; none if empty.
    pub descriptor: Vec<u8>,
    pub media: Vec<Got>,
    /// Opened RTCP compounds.
    pub control: Vec<Vec<u8>>,
    /// STUN requests of the server that came: transaction ids, and where they were sent to.
    pub asked: Vec<([u8; 12], Address)>,
}

/// Ufrag and password of the server's (`srv`) or the client's (`cli`) side.
pub fn credentials(tag: &str, id: u32) -> (String, String) {
    (
        format!("{tag}{id:04}"),
        format!("{tag}password-of-22-or-more{id:04}").replace('-', "x"),
    )
}

/// What Python makes of the offer of peer `id`: sound, and a camera and a screen of two layers; two pairs of slots.
pub fn offer(id: u32) -> AddPeer {
    let (server_ufrag, server_pwd) = credentials("srv", id);
    let (client_ufrag, client_pwd) = credentials("cli", id);
    let rids = || vec![b"l".to_vec(), b"h".to_vec()];
    let track = |mid: &str, rids| TrackOffer {
        mid: mid.into(),
        rids,
        ssrcs: vec![],
    };
    let slot = |kind, mid: &str, ssrc, rtx_ssrc| SlotOffer {
        kind,
        mid: mid.into(),
        ssrc,
        rtx_ssrc,
    };
    let base = id * 100;
    AddPeer {
        peer: id,
        local: Credentials::new(&server_ufrag, &server_pwd).unwrap(),
        remote: Credentials::new(&client_ufrag, &client_pwd).unwrap(),
        payloads: vec![
            Payload {
                payload_type: OPUS,
                codec: Codec::OPUS.0,
                apt: None,
            },
            Payload {
                payload_type: RED,
                codec: Codec::RED.0,
                apt: None,
            },
            Payload {
                payload_type: VP8,
                codec: Codec::VP8.0,
                apt: None,
            },
            Payload {
                payload_type: VP9,
                codec: Codec::VP9.0,
                apt: None,
            },
            Payload {
                payload_type: AV1,
                codec: Codec::AV1.0,
                apt: None,
            },
            Payload {
                payload_type: H264,
                codec: Codec::H264_PM1.0,
                apt: None,
            },
            Payload {
                payload_type: RTX,
                codec: 0,
                apt: Some(VP8),
            },
            Payload {
                payload_type: AV1_RTX,
                codec: 0,
                apt: Some(AV1),
            },
        ],
        extensions: [MID, RID, REPAIRED_RID, TRANSPORT_CC, 2, 1, DEPENDENCY, 0],
        tracks: [track("0", vec![]), track("1", rids()), track("2", rids())],
        slots: vec![
            slot(Kind::Audio, "3", base + 1, 0),
            slot(Kind::Audio, "4", base + 2, 0),
            slot(Kind::Video, "5", base + 3, base + 13),
            slot(Kind::Video, "6", base + 4, base + 14),
        ],
    }
}

/// The keys that a handshake of peer `id` would have given: `rx` is what the peer seals with.
pub fn keys(id: u32, profile: Profile) -> Keys {
    let key = |tag: u8| vec![tag ^ id as u8; profile.key_len()];
    Keys {
        profile,
        rx_key: key(1),
        rx_salt: vec![1; profile.salt_len()],
        tx_key: key(2),
        tx_salt: vec![2; profile.salt_len()],
    }
}

impl Client {
    /// Adds the peer; ICE and keys follow by `check` and `set_keys`.
    pub fn join(shard: &mut Shard, id: u32, now: Micros) -> Client {
        let (server_ufrag, server_pwd) = credentials("srv", id);
        let (client_ufrag, client_pwd) = credentials("cli", id);
        shard.command(now, Command::AddPeer(Box::new(offer(id))));
        let keys = keys(id, Profile::AeadAes128Gcm);
        Client {
            id,
            address: format!("192.0.2.{}:{}", id % 250 + 1, 5000).parse().unwrap(),
            srtp_out: Sender::new(keys.profile, &keys.rx_key, &keys.rx_salt).unwrap(),
            srtp_in: Receiver::new(keys.profile, &keys.tx_key, &keys.tx_salt).unwrap(),
            server_key: HmacSha1::new(server_pwd.as_bytes()),
            client_key: HmacSha1::new(client_pwd.as_bytes()),
            username: format!("{server_ufrag}:{client_ufrag}"),
            checks: 0,
            sequences: std::collections::HashMap::new(),
            transport: 0,
            descriptor: vec![],
            media: vec![],
            control: vec![],
            asked: vec![],
        }
    }

    /// Adds the peer and brings it to where media flows.
    pub fn connect(shard: &mut Shard, id: u32, now: Micros) -> Client {
        let mut client = Client::join(shard, id, now);
        client.check(shard, now, true);
        client.set_keys(shard, now);
        client
    }

    pub fn set_keys(&self, shard: &mut Shard, now: Micros) {
        let keys = keys(self.id, Profile::AeadAes128Gcm);
        shard.command(now, Command::SetKeys { peer: self.id, keys });
    }

    /// A connectivity check from the present address.
    pub fn check(&mut self, shard: &mut Shard, now: Micros, nominate: bool) {
        let mut request = self.request(nominate);
        shard.datagram(now, self.address, &mut request);
    }

    /// A connectivity check, not sent yet.
    pub fn request(&mut self, nominate: bool) -> Vec<u8> {
        self.checks += 1;
        let mut request = Vec::new();
        let check = [self.checks; 12];
        write_check(&mut request, &check, &self.username, nominate, &self.server_key);
        request
    }

    /// Answers the server's checks that came to the present address.
    pub fn answer_checks(&mut self, shard: &mut Shard, now: Micros) {
        for (transaction, to) in std::mem::take(&mut self.asked) {
            if to == self.address {
                let mut response = Vec::new();
                stun::write_binding_success(&mut response, &transaction, self.address.socket, &self.client_key);
                shard.datagram(now, self.address, &mut response);
            }
        }
    }

    /// The SSRC of a layer (or its RTX) that this client sends.
    pub fn ssrc(&self, track: u8, layer: u8, rtx: bool) -> u32 {
        self.id * 1000 + u32::from(track) * 10 + u32::from(layer) + if rtx { 500 } else { 0 }
    }

    /// Starts a stream at this sequence number.
    pub fn start_at(&mut self, ssrc: u32, sequence: u16) {
        self.sequences.insert(ssrc, sequence);
    }

    /// A sealed picture packet, not sent yet: one frame of one packet.
    pub fn picture(&mut self, layer: u8, timestamp: u32, picture_id: u16, key: bool) -> Vec<u8> {
        let id = picture_id.to_be_bytes();
        let mut payload = vec![0x90, 0xc0, 0x80 | id[0], id[1], picture_id as u8, u8::from(!key)];
        if key {
            payload.extend_from_slice(&[0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00]);
        }
        payload.extend_from_slice(&[layer; 40]);
        self.packet_of(CAMERA, layer, VP8, timestamp, true, &payload)
    }

    /// A sealed packet, not sent yet, that goes on with a key frame that `picture` has begun.
    pub fn part(&mut self, layer: u8, timestamp: u32, picture_id: u16) -> Vec<u8> {
        let id = picture_id.to_be_bytes();
        let mut payload = vec![0x80, 0xc0, 0x80 | id[0], id[1], picture_id as u8, 0];
        payload.extend_from_slice(&[layer; 40]);
        self.packet_of(CAMERA, layer, VP8, timestamp, true, &payload)
    }

    /// Sealed packets, not sent yet, of one frame of a stream with temporal layers: `key` sets off, `sync` is Y.
    #[allow(clippy::too_many_arguments)]
    pub fn layered(
        &mut self,
        layer: u8,
        number: u16,
        temporal: u8,
        tl0: u8,
        sync: bool,
        key: bool,
        packets: usize,
    ) -> Vec<Vec<u8>> {
        let id = number.to_be_bytes();
        (0..packets)
            .map(|part| {
                let start = if part == 0 { 0x90 } else { 0x80 };
                let tid = temporal << 6 | u8::from(sync) << 5;
                let mut payload = vec![start, 0xe0, 0x80 | id[0], id[1], tl0, tid, u8::from(!key)];
                if key && part == 0 {
                    payload.extend_from_slice(&[0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00]);
                }
                payload.extend_from_slice(&[id[0], id[1], part as u8]);
                let timestamp = u32::from(number) * 4_500;
                self.packet_of(CAMERA, layer, VP8, timestamp, part + 1 == packets, &payload)
            })
            .collect()
    }

    pub fn sound(&mut self, timestamp: u32) -> Vec<u8> {
        let payload = [timestamp.to_be_bytes(), [7; 4]].concat();
        self.packet_of(MICROPHONE, 0, OPUS, timestamp, false, &payload)
    }

    /// A sealed RTX packet for `sequence` of a layer.
    pub fn rtx(&mut self, layer: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let payload = [&sequence.to_be_bytes(), payload].concat();
        self.packet_of(CAMERA, layer, RTX, timestamp, true, &payload)
    }

    pub fn packet_of(
        &mut self,
        track: u8,
        layer: u8,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> Vec<u8> {
        let rtx = payload_type == RTX || payload_type == AV1_RTX;
        let ssrc = self.ssrc(track, layer, rtx);
        let next = self.sequences.entry(ssrc).or_insert(1);
        let sequence = *next;
        *next = next.wrapping_add(1);
        self.transport = self.transport.wrapping_add(1);
        let header = Header {
            marker,
            padding: false,
            payload_type,
            sequence,
            timestamp,
            ssrc,
            header_len: 0,
            extension_start: 0,
        };
        let (mid, rid) = ([b'0' + track], [if layer == 0 { b'l' } else { b'h' }]);
        let transport = self.transport.to_be_bytes();
        let mut extensions: Vec<(u8, &[u8])> = vec![(MID, &mid), (TRANSPORT_CC, &transport)];
        if track != MICROPHONE {
            extensions.push((if rtx { REPAIRED_RID } else { RID }, &rid));
        }
        if !self.descriptor.is_empty() {
            extensions.push((DEPENDENCY, &self.descriptor));
        }
        let mut packet = vec![0; 1700];
        let header_len = rtp::write_header(&mut packet, &header, &extensions);
        let len = header_len + payload.len();
        packet[header_len..len].copy_from_slice(payload);
        // The roll-over counter: these tests wrap at most once.
        let roll_over = u32::from(self.transport > 0 && sequence < 0x4000 && self.wrapped(ssrc));
        let sealed = self.srtp_out.seal_rtp(&mut packet, len, header_len, roll_over).unwrap();
        packet.truncate(sealed);
        packet
    }

    fn wrapped(&self, ssrc: u32) -> bool {
        self.sequences.contains_key(&(ssrc ^ 0x8000_0000))
    }

    /// Tells the client that the stream has wrapped.
    pub fn wrap(&mut self, ssrc: u32) {
        self.sequences.insert(ssrc ^ 0x8000_0000, 0);
    }

    /// Sends an RTCP compound.
    pub fn send_control(&mut self, shard: &mut Shard, now: Micros, compound: &[u8]) {
        let mut packet = compound.to_vec();
        packet.resize(compound.len() + 64, 0);
        let sealed = self.srtp_out.seal_rtcp(&mut packet, compound.len()).unwrap();
        packet.truncate(sealed);
        shard.datagram(now, self.address, &mut packet);
    }

    /// Says that packets of a slot have come.
    pub fn report(&mut self, shard: &mut Shard, now: Micros, ssrc: u32) {
        let mut compound = Vec::new();
        let block = rtcp::ReportBlock {
            ssrc,
            ..rtcp::ReportBlock::default()
        };
        rtcp::receiver_report(&mut compound, 1, &[block]);
        self.send_control(shard, now, &compound);
    }

    /// Asks for packets of a slot again.
    pub fn nack(&mut self, shard: &mut Shard, now: Micros, ssrc: u32, lost: &[u16]) {
        let mut compound = Vec::new();
        rtcp::receiver_report(&mut compound, 1, &[]);
        rtcp::nack(&mut compound, 1, ssrc, lost);
        self.send_control(shard, now, &compound);
    }

    /// Takes one datagram that the server sent to this client.
    pub fn take(&mut self, to: Address, datagram: &[u8]) {
        let mut bytes = datagram.to_vec();
        if bytes[0] < 4 {
            let message = stun::Message::parse(&bytes).expect("the server's STUN is well formed");
            if message.class() == stun::Class::Request {
                self.asked.push((message.transaction(), to));
            }
        } else if rtp::is_rtcp(&bytes) {
            let len = self.srtp_in.open_rtcp(&mut bytes).expect("the server's SRTCP opens");
            bytes.truncate(len);
            self.control.push(bytes);
        } else {
            let header = rtp::parse(&bytes).expect("the server's RTP is well formed");
            let opened = self.srtp_in.open_rtp(&mut bytes, header.header_len);
            // A repair of sound that came twice is a replay, and no fault.
            if let Ok((len, _)) = opened {
                self.media.push(Got {
                    ssrc: header.ssrc,
                    sequence: header.sequence,
                    timestamp: header.timestamp,
                    payload_type: header.payload_type,
                    marker: header.marker,
                    payload: bytes[rtp::payload(&bytes[..len], &header).unwrap()].to_vec(),
                    named: rtp::extension(&bytes[..len], &header, MID).is_some(),
                    descriptor: rtp::extension(&bytes[..len], &header, DEPENDENCY).map_or(vec![], <[u8]>::to_vec),
                    sealed: datagram.to_vec(),
                });
            }
        }
    }

    /// What came in a slot since the last call.
    pub fn got(&mut self, slot: u8) -> Vec<Got> {
        let ssrc = self.slot_ssrc(slot);
        let (taken, rest) = std::mem::take(&mut self.media)
            .into_iter()
            .partition(|got| got.ssrc == ssrc);
        self.media = rest;
        taken
    }

    pub fn slot_ssrc(&self, slot: u8) -> u32 {
        self.id * 100 + u32::from(slot) + 1
    }

    /// How many of the control packets so far are of this kind.
    pub fn count(&self, is: impl Fn(&rtcp::Packet<'_>) -> bool) -> usize {
        let packets = self.control.iter().flat_map(|compound| rtcp::packets(compound));
        packets
            .filter(|packet| is(packet.as_ref().expect("the server's RTCP is well formed")))
            .count()
    }
}

/// A binding request as a browser writes it.
pub fn write_check(out: &mut Vec<u8>, transaction: &[u8; 12], username: &str, nominate: bool, key: &HmacSha1) {
    // By hand: the engine never nominates, so its writer can't.
    let mut attributes = Vec::new();
    let mut add = |kind: u16, value: &[u8]| {
        attributes.extend_from_slice(&kind.to_be_bytes());
        attributes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        attributes.extend_from_slice(value);
        attributes.resize((attributes.len() + 3) / 4 * 4, 0);
    };
    add(0x0006, username.as_bytes());
    add(0x0024, &[0x6e, 0, 0, 0xff]);
    add(0x802a, &[0; 8]);
    if nominate {
        add(0x0025, &[]);
    }
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&((attributes.len() + 24) as u16).to_be_bytes());
    out.extend_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    out.extend_from_slice(transaction);
    out.extend_from_slice(&attributes);
    let integrity = key.sign(&[&out[..]]);
    out.extend_from_slice(&[0, 8, 0, 20]);
    out.extend_from_slice(&integrity);
}

/// Shows all of a publisher's layer in a viewer's slot.
pub fn show(shard: &mut Shard, now: Micros, viewer: u32, slot: u8, publisher: u32, track: u8, layer: u8) {
    shard.command(
        now,
        Command::Show {
            viewer,
            slot,
            publisher,
            track,
            layer,
            temporal: 255,
            asks: true,
        },
    );
}

/// Hands what the shard wants to send to whom it is for, and empties the outbox.
pub fn deliver(shard: &mut Shard, clients: &mut [&mut Client]) {
    let datagrams = (0..shard.outbox.len()).map(|i| shard.outbox.get(i));
    let streams = shard.outbox.streams().map(|(to, packet)| (Address::tcp(to), packet));
    for (to, packet) in datagrams.chain(streams) {
        if let Some(client) = clients.iter_mut().find(|client| client.address.ip() == to.ip()) {
            client.take(to, packet);
        }
    }
    shard.outbox.clear();
    shard.outbox.clear_streams();
}
