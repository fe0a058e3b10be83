//! Commands, read: one JSON object a line, with `do` and mostly `bot`.
//!
//! `add` a bot (see [`read`]) · `stop` it · `send {sound?, rids?}` what it sends from now on · `restart {local, remote}`
//! ICE · `rebind {quiet?}` to another port, with checks at once unless `quiet` · `deaf {on}` in a dead zone, or out of it ·
//! `ask {bot?}` what each bot, or one, has sent and heard.

use std::net::IpAddr;

use vardrum_engine::Micros;

use crate::bot::Plan;
use crate::ear::Ear;
use crate::ice::Credentials;
use crate::json::Value;
use crate::stream::{Extensions, Kind, Stream};
use crate::tls::FINGERPRINT;

/// Bytes of an Opus packet at 24 kbit/s.
const SOUND: f64 = 60.0;
/// Bytes of a picture's packet before SRTP, as browsers have them with all extensions.
const PACKET: f64 = 1050.0;

/// A field that is a number.
pub fn number(value: &Value, name: &str) -> Result<f64, String> {
    value.get(name).number().ok_or(format!("{name} is no number"))
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    value.get(name).text().ok_or(format!("{name} is no text"))
}

/// `local` and `remote`, each `{ufrag, pwd}`.
pub fn credentials(command: &Value) -> Result<(Credentials, Credentials), String> {
    let one = |name: &str| -> Result<Credentials, String> {
        Ok(Credentials {
            ufrag: text(command.get(name), "ufrag")?.into(),
            pwd: text(command.get(name), "pwd")?.into(),
        })
    };
    Ok((one("local")?, one("remote")?))
}

/// A bot: `{bot, from?, server, local, remote, fingerprint, extensions: {mid, rid, …: id}, sound?: {ssrc, pt, mid, size?},
/// video: [{ssrc, pt, mid, rid?, rtx_ssrc?, rtx_pt?, bitrate, width, height, rate, packet?}], hears: [{ssrc, rtx_ssrc?,
/// sound?}]}`.
///
/// Errors: which field is missing or wrong.
pub fn read(command: &Value, now: Micros) -> Result<Plan, String> {
    let (local, remote) = credentials(command)?;
    let server = text(command, "server")?.parse().map_err(|_| "server is no address")?;
    let from = command.get("from").text().unwrap_or("127.0.0.1");
    let mut streams = Vec::new();
    let sound = command.get("sound");
    if *sound != Value::Null {
        let size = sound.get("size").number().unwrap_or(SOUND) as usize;
        streams.push(stream(sound, Kind::Sound { size: size.max(32) }, now)?);
    }
    for video in command.get("video").list() {
        let kind = Kind::Picture {
            bitrate: number(video, "bitrate")?.max(1000.0),
            width: number(video, "width")? as u16,
            height: number(video, "height")? as u16,
            rate: number(video, "rate")?.max(1.0),
            packet: (video.get("packet").number().unwrap_or(PACKET) as usize).clamp(100, 1300),
        };
        streams.push(stream(video, kind, now)?);
    }
    let ears = command.get("hears").list().iter().map(|heard| {
        let rtx = heard.get("rtx_ssrc").number().map(|ssrc| ssrc as u32);
        Ok(Ear::new(
            number(heard, "ssrc")? as u32,
            rtx,
            heard.get("sound").is_true(),
        ))
    });
    let id = |name: &str| command.get("extensions").get(name).number().unwrap_or(0.0) as u8;
    Ok(Plan {
        id: number(command, "bot")? as u32,
        from: from.parse::<IpAddr>().map_err(|_| "from is no address")?,
        server,
        local,
        remote,
        fingerprint: fingerprint(text(command, "fingerprint")?)?,
        extensions: Extensions {
            mid: id("mid"),
            rid: id("rid"),
            repaired_rid: id("repaired_rid"),
            transport: id("transport"),
            send_time: id("send_time"),
            level: id("level"),
        },
        ears: ears.collect::<Result<Vec<Ear>, String>>()?,
        streams,
    })
}

fn stream(value: &Value, kind: Kind, now: Micros) -> Result<Stream, String> {
    let mut stream = Stream::new(number(value, "ssrc")? as u32, number(value, "pt")? as u8, kind, now);
    stream.mid = value.get("mid").text().unwrap_or_default().into();
    stream.rid = value.get("rid").text().unwrap_or_default().into();
    if let (Some(ssrc), Some(pt)) = (value.get("rtx_ssrc").number(), value.get("rtx_pt").number()) {
        stream.rtx = Some((ssrc as u32, pt as u8));
    }
    Ok(stream)
}

/// `sound: bool`, `rids: [rid, …]` of the layers that are sent, `[""]` a lone encoding, and `bitrates: {rid: bits a
/// second}`; what isn't said stays.
pub fn send(command: &Value, streams: &mut [Stream], now: Micros) -> Result<(), String> {
    for stream in streams {
        let wanted = command.get("bitrates").get(&stream.rid).number();
        if let (Some(wanted), Kind::Picture { bitrate, .. }) = (wanted, &mut stream.kind) {
            *bitrate = wanted.max(1000.0);
        }
        let active = match (stream.is_sound(), command.get("sound"), command.get("rids")) {
            (true, Value::Bool(on), _) => *on,
            (false, _, Value::List(rids)) => rids.iter().any(|rid| rid.text() == Some(&stream.rid)),
            _ => continue,
        };
        stream.set_active(active, now);
    }
    Ok(())
}

/// As in `a=fingerprint:sha-256`: 32 bytes in hexadecimal with colons between.
fn fingerprint(text: &str) -> Result<[u8; FINGERPRINT], String> {
    let bytes: Result<Vec<u8>, _> = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    let bytes = bytes.map_err(|_| "fingerprint is not hexadecimal")?;
    <[u8; FINGERPRINT]>::try_from(bytes).map_err(|_| "fingerprint is no SHA-256".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: &str = r#"{"do": "add", "bot": 3, "server": "127.0.0.1:4000", "local": {"ufrag": "a", "pwd": "b"},
        "remote": {"ufrag": "c", "pwd": "d"}, "extensions": {"mid": 4}, "fingerprint": "FINGERPRINT",
        "sound": {"ssrc": 1, "pt": 111, "mid": "0"},
        "video": [{"ssrc": 2, "pt": 96, "mid": "1", "rid": "h", "rtx_ssrc": 3, "rtx_pt": 97, "bitrate": 500000,
                   "width": 640, "height": 360, "rate": 20}],
        "hears": [{"ssrc": 9, "sound": true}, {"ssrc": 10, "rtx_ssrc": 11}]}"#;

    #[test]
    fn a_bot_is_made_as_it_is_described() {
        let text = ADD.replace("FINGERPRINT", &vec!["0A"; 32].join(":"));
        let mut plan = read(&Value::parse(&text).unwrap(), 0).unwrap();
        assert_eq!((plan.id, plan.extensions.mid, plan.fingerprint), (3, 4, [10; 32]));
        assert_eq!((plan.streams.len(), plan.ears.len()), (2, 2));
        assert_eq!(plan.streams[1].rtx, Some((3, 97)));
        let hush = Value::parse(r#"{"do": "send", "sound": false, "rids": ["h"]}"#).unwrap();
        send(&hush, &mut plan.streams, 0).unwrap();
        assert!(!plan.streams[0].active && plan.streams[1].active);
        let less = Value::parse(r#"{"do": "send", "bitrates": {"h": 200000}}"#).unwrap();
        send(&less, &mut plan.streams, 0).unwrap();
        assert!(plan.streams[1].active);
        assert!(matches!(plan.streams[1].kind, Kind::Picture { bitrate, .. } if bitrate == 200_000.0));
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = ADD.replace("FINGERPRINT", "00:11");
        assert!(read(&Value::parse(&text).unwrap(), 0)
            .err()
            .unwrap()
            .contains("SHA-256"));
        assert!(read(&Value::parse("{}").unwrap(), 0).err().unwrap().contains("ufrag"));
    }
}
