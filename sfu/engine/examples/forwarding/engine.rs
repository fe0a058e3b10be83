//! The engine as `vardrum serve` runs it: a shard in its own thread, with peers that have addresses, keys and slots.

use std::net::SocketAddr;

use vardrum_engine::command::{
    AddPeer, Command, Keys, Kind, Payload, SlotOffer, TrackOffer, EXTENSIONS, EXT_ABS_SEND_TIME, EXT_AUDIO_LEVEL,
    EXT_MID, EXT_TRANSPORT_CC,
};
use vardrum_engine::counters::{Count, NAMES};
use vardrum_engine::ice::Credentials;
use vardrum_engine::packet::Codec;
use vardrum_engine::runner::{Options, Runner};

use crate::case::Case;
use crate::person::{fragments, ssrc, Person, ABS_SEND_TIME, AUDIO_LEVEL, MID, OPUS, TRANSPORT_CC, VP8};
use crate::{Figures, Server};

const MICROPHONE: u8 = 0;
const CAMERA: u8 = 1;

pub struct Engine {
    runner: Runner,
}

impl Engine {
    /// Starts a shard that has been told of these people, their visits and who is shown where; returns its address too.
    /// `gso`: whether it may join datagrams.
    pub fn start(case: &Case, gso: bool, people: &[Person]) -> Result<(Engine, SocketAddr), String> {
        let ip = [127, 0, 0, 1];
        let options = Options {
            gso,
            ..Options::default()
        };
        let runner = Runner::start(SocketAddr::from((ip, 0)), options).map_err(|e| e.to_string())?;
        let address = SocketAddr::from((ip, runner.port));
        for (place, person) in people.iter().enumerate() {
            runner
                .shared
                .command(Command::AddPeer(Box::new(offer(case, place, person)?)));
            let (up, down) = (&person.keys.up, &person.keys.down);
            runner.shared.command(Command::SetKeys {
                peer: place as u32,
                keys: Keys {
                    profile: case.profile,
                    rx_key: up.0.clone(),
                    rx_salt: up.1.clone(),
                    tx_key: down.0.clone(),
                    tx_salt: down.1.clone(),
                },
            });
        }
        for viewer in 0..people.len() {
            for (slot, publisher) in case.others(viewer).enumerate() {
                runner.shared.command(Command::Show {
                    viewer: viewer as u32,
                    slot: slot as u8,
                    publisher: publisher as u32,
                    track: if case.is_sound() { MICROPHONE } else { CAMERA },
                    layer: 0,
                    temporal: 255,
                    asks: true,
                });
            }
        }
        Ok((Engine { runner }, address))
    }
}

impl Server for Engine {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let mut counters = [0; NAMES.len()];
        self.runner.shared.counters(&mut counters);
        let all = NAMES.iter().copied().zip(counters);
        all.filter(|(name, n)| name.starts_with("drop_") && *n > 0).collect()
    }

    fn thread(&self) -> String {
        format!("shard-{}", self.runner.port)
    }

    fn figures(&self) -> Figures {
        let shared = &self.runner.shared;
        let mut counters = [0; NAMES.len()];
        loop {
            // Both are written together: where the time has not changed around them, the counters are of that moment.
            let cpu = shared.cpu();
            shared.counters(&mut counters);
            if cpu == shared.cpu() {
                return Figures {
                    cpu,
                    forwarded: counters[Count::RtpOut as usize] - counters[Count::DropSocketSend as usize],
                };
            }
        }
    }
}

/// What Python would say of a browser that sends one track and has a slot for each of the others.
fn offer(case: &Case, place: usize, person: &Person) -> Result<AddPeer, String> {
    let (client, server) = fragments(place);
    let credentials =
        |fragment: &str| Credentials::new(fragment, person.password.as_str()).map_err(|e| format!("{e:?}"));
    let payload = |payload_type, codec: Codec, apt| Payload {
        payload_type,
        codec: codec.0,
        apt,
    };
    let mut extensions = [0; EXTENSIONS];
    extensions[EXT_MID] = MID;
    extensions[EXT_TRANSPORT_CC] = TRANSPORT_CC;
    extensions[EXT_ABS_SEND_TIME] = ABS_SEND_TIME;
    extensions[EXT_AUDIO_LEVEL] = AUDIO_LEVEL;
    let mut tracks = [TrackOffer::default(), TrackOffer::default(), TrackOffer::default()];
    tracks[usize::from(if case.is_sound() { MICROPHONE } else { CAMERA })] = TrackOffer {
        mid: b"0".to_vec(),
        rids: Vec::new(),
        ssrcs: vec![(ssrc(place), 0)],
    };
    let slot = |number: usize| {
        let ssrc = 0x2000_0000 + (place * 32 + number * 2) as u32;
        SlotOffer {
            kind: if case.is_sound() { Kind::Audio } else { Kind::Video },
            mid: (number + 1).to_string().into_bytes(),
            ssrc,
            rtx_ssrc: if case.is_sound() { 0 } else { ssrc + 1 },
        }
    };
    Ok(AddPeer {
        peer: place as u32,
        local: credentials(&server)?,
        remote: credentials(&client)?,
        payloads: vec![
            payload(OPUS, Codec::OPUS, None),
            payload(VP8, Codec::VP8, None),
            payload(VP8 + 1, Codec::OPUS, Some(VP8)),
        ],
        extensions,
        tracks,
        slots: (0..case.fan_out).map(slot).collect(),
    })
}
