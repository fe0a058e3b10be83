//! Valid inputs: what our own writers write, and what the RFCs print.

use vardrum_engine::crypto::HmacSha1;
use vardrum_engine::rtcp::{self, ReportBlock, SenderInfo};
use vardrum_engine::rtp::{self, Header};
use vardrum_engine::stun;
use vardrum_engine::twcc::Arrivals;

use crate::client;

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| (digit as char).to_digit(16).unwrap_or(0) as u8;
    digits
        .chunks_exact(2)
        .map(|two| value(two[0]) << 4 | value(two[1]))
        .collect()
}

/// The values of a file of vectors whose names are given.
pub fn vectors(file: &str, names: &[&str]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut wanted = false;
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, rest)) = line.split_once('=') {
            wanted = names.contains(&name.trim());
            if wanted {
                found.push(unhex(rest));
            }
        } else if wanted {
            if let Some(last) = found.last_mut() {
                last.extend(unhex(line));
            }
        }
    }
    found
}

pub fn stun() -> Vec<Vec<u8>> {
    let file = include_str!("../../../../tests/vectors/rfc5769.txt");
    let mut all = vectors(file, &["request", "response4", "response6", "ipv4", "ipv6"]);
    let key = HmacSha1::new(b"a password of any length");
    let mut add = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        all.push(bytes);
    };
    add(&|out| client::write_check(out, &[7; 12], "srv0001:cli0001", true, &key));
    for address in ["192.0.2.1:5000", "[2001:db8::1]:5000"] {
        add(&|out| stun::write_binding_success(out, &[7; 12], address.parse().unwrap(), &key));
    }
    add(&|out| stun::write_binding_error(out, &[7; 12], 420, [1, 2, 3], Some(&key)));
    add(&|out| {
        let check = stun::Check {
            transaction: &[9; 12],
            username: "cli0001:srv0001",
            priority: 1,
            tie_breaker: 2,
        };
        stun::write_binding_request(out, &check, &key);
    });
    all
}

pub fn rtp() -> Vec<Vec<u8>> {
    let long = [9; 20];
    let forms: [&[(u8, &[u8])]; 4] = [
        &[],
        &[(3, &[0, 1]), (4, b"1"), (10, b"h")],
        &[(3, &[0, 1]), (20, &long)],
        &[(1, &[0x80 | 30]), (2, &[1, 2, 3]), (14, &[5; 16])],
    ];
    let mut all = Vec::new();
    for (number, extensions) in forms.into_iter().enumerate() {
        for padding in [false, true] {
            let header = Header {
                marker: number % 2 == 0,
                padding,
                payload_type: 96,
                sequence: 65_535,
                timestamp: 1,
                ssrc: 2,
                header_len: 0,
                extension_start: 0,
            };
            let mut packet = vec![0; 120];
            let len = rtp::write_header(&mut packet, &header, extensions);
            packet[len..len + 8].copy_from_slice(&[1, 2, 3, 4, 0, 0, 0, 4]);
            packet.truncate(len + 8);
            all.push(packet);
        }
    }
    all
}

pub fn rtcp() -> Vec<Vec<u8>> {
    let block = ReportBlock {
        ssrc: 1,
        fraction_lost: 10,
        lost: -3,
        highest: 70_000,
        ..ReportBlock::default()
    };
    let info = SenderInfo::default();
    let mut compound = Vec::new();
    rtcp::sender_report(&mut compound, 1, &info, &[block; 3]);
    rtcp::sdes_cname(&mut compound, 1, "somebody");
    let mut feedback = Vec::new();
    rtcp::receiver_report(&mut feedback, 1, &[block]);
    rtcp::nack(&mut feedback, 1, 2, &[1, 2, 17, 18, 65_535]);
    rtcp::pli(&mut feedback, 1, 2);
    let mut with_arrivals = feedback.clone();
    arrivals().build(&mut with_arrivals, 1, 2, 1_000_000);
    // FIR, REMB, BYE and something unknown, which we don't write.
    let fir = unhex("84ce0004 00000001 00000000 00000002 07000000");
    let remb = unhex("8fce0006 00000001 00000000 52454d42 020bd090 00000002 00000003");
    let bye = unhex("82cb0002 00000001 00000002");
    let unknown = unhex("80cf0001 00000001");
    vec![
        compound,
        feedback,
        with_arrivals,
        [fir, remb].concat(),
        [bye, unknown].concat(),
    ]
}

fn arrivals() -> Arrivals {
    let mut arrivals = Arrivals::new();
    for (number, at) in [
        (65_533, 0),
        (65_534, 300),
        (0, 90_000),
        (1, 90_100),
        (40, 500_000),
        (41, 499_000),
    ] {
        arrivals.record(number, at);
    }
    arrivals
}

/// The part of transport-cc feedback that `twcc::parse` reads.
pub fn feedback() -> Vec<Vec<u8>> {
    let mut packet = Vec::new();
    arrivals().build(&mut packet, 1, 2, 1_000_000);
    vec![
        packet[12..].to_vec(),
        unhex("00010002 00000a00 2002 0404"),
        unhex("00010010 fffff601 d555 aaaa 04040404 0404"),
    ]
}

/// Commands as `sfu/engine.py` writes them.
pub fn commands() -> Vec<Vec<u8>> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let credentials = |tag: &str| [text(tag), text(&format!("{tag}password1234567890"))].concat();
    let peer = 1u32.to_le_bytes();
    let track = [
        text("0"),
        vec![2],
        text("l"),
        text("h"),
        vec![1, 1, 0, 0, 0, 2, 0, 0, 0],
    ]
    .concat();
    let slot = |kind: u8| [vec![kind], text("3"), vec![1, 0, 0, 0, 2, 0, 0, 0]].concat();
    let add = [
        &[1][..],
        &peer,
        &credentials("srv0"),
        &credentials("cli0"),
        &[2, 111, 0, 255, 96, 2, 255],
        &[2, 0, 4, 3, 3],
        &track,
        &track,
        &track,
        &[2],
        &slot(0),
        &slot(1),
    ];
    let keys = [
        &[3][..],
        &peer,
        &[7, 0, 16],
        &[1; 16],
        &[12],
        &[1; 12],
        &[16],
        &[2; 16],
        &[12],
        &[2; 12],
    ];
    vec![
        add.concat(),
        [&[2][..], &peer, &credentials("srv1"), &credentials("cli1")].concat(),
        keys.concat(),
        [&[4][..], &peer, &[4, 0, 22, 254, 253, 0]].concat(),
        [&[5][..], &peer, &[2], &peer, &[1, 0, 255]].concat(),
        [&[6][..], &peer, &[1, 1]].concat(),
        [&[7][..], &peer].concat(),
        [&[8][..], &peer, &[2, 7]].concat(),
        [&[9][..], &peer, &[0, 0, 16, 0]].concat(),
        [&[10][..], &peer, &[1, 0, 0, 0, 16, 0, 100, 0]].concat(),
    ]
}
