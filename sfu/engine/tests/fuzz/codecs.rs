//! What publishers may put into payloads: every codec that we look into, RED, and the dependency descriptor.

use vardrum_codecs::dependency::{self, Structure};
use vardrum_codecs::opus::{self, Frames};
use vardrum_codecs::red::{self, Block};
use vardrum_codecs::repacketizer::Repacketizer;
use vardrum_codecs::{av1, h264, vp8, vp9};

use crate::corpus::unhex;
use crate::Target;

pub fn targets() -> Vec<Target> {
    let mut structure = Structure::default();
    vec![
        Target::new("opus", opuses(), check_opus),
        Target::new("red", reds(), check_red),
        Target::new("vp8", vp8s(), check_vp8),
        Target::new("vp9", vp9s(), check_vp9),
        Target::new("h264", h264s(), |bytes| {
            let units = h264::starting_units(bytes).count();
            assert!(units <= bytes.len() / 2 + 1);
            let _ = (
                h264::starts_key_frame(bytes),
                h264::has_parameter_sets(bytes),
                h264::key_frame_size(bytes),
            );
        }),
        Target::new("av1", av1s(), |bytes| {
            let _ = (av1::starts_key_frame(bytes), av1::key_frame_size(bytes));
        }),
        // One structure for all: what an earlier descriptor brought is what a later one points into.
        Target::new("dependency descriptor", descriptors(), move |bytes| {
            if let Ok((_, Some(brought))) = structure.read(bytes) {
                structure = brought;
            }
            let mut copy = bytes.to_vec();
            dependency::renumber(&mut copy, 0x1234);
            assert_eq!(dependency::number(&copy), dependency::number(bytes).map(|_| 0x1234));
        }),
    ]
}

fn opuses() -> Vec<Vec<u8>> {
    let frame = [7; 40];
    vec![
        [&[0xf8][..], &frame].concat(),
        [&[0xf9][..], &frame].concat(),
        [&[0xfa, 10][..], &frame].concat(),
        [&[0xfb, 0x83, 10, 12][..], &frame].concat(),
        [&[0xfb, 0x43, 4][..], &frame].concat(),
        [&[0xfb, 0xc3, 255, 1, 3, 4][..], &[7; 400]].concat(),
        vec![0x78],
    ]
}

fn check_opus(bytes: &[u8]) {
    let _ = opus::is_silence(bytes);
    let duration = opus::duration(bytes);
    assert!(duration.map_or(true, |samples| (120..=5760).contains(&samples)));
    if let Ok(frames) = Frames::parse(bytes) {
        assert!(frames.iter().map(<[u8]>::len).sum::<usize>() <= bytes.len());
    }
    // Joined with itself it lasts twice as long.
    let mut joined = Repacketizer::default();
    if joined.push(bytes, 5760) {
        let once = joined.duration();
        let twice = joined.push(bytes, 5760);
        let mut out = Vec::new();
        joined.write(&mut out);
        assert_eq!(joined.duration(), if twice { 2 * once } else { once });
        assert_eq!(opus::duration(&out), Some(joined.duration()));
    }
}

fn reds() -> Vec<Vec<u8>> {
    let block = |offset, data| Block {
        payload_type: 111,
        offset,
        data,
    };
    let mut all = Vec::new();
    for redundant in [
        &[][..],
        &[block(960, &[1; 30])],
        &[block(1920, &[2; 10]), block(960, &[])],
    ] {
        let mut out = Vec::new();
        red::write(&mut out, redundant, block(0, &[3; 50]));
        all.push(out);
    }
    all
}

fn check_red(bytes: &[u8]) {
    if let Ok(blocks) = red::parse(bytes) {
        let redundant: Vec<Block> = blocks.redundant().collect();
        let all: usize = redundant.iter().map(|block| block.data.len()).sum();
        assert!(all + blocks.primary().data.len() < bytes.len());
        assert!(redundant.len() <= red::MOST_REDUNDANT);
        assert_eq!(red::primary(bytes), Ok(blocks.primary().data));
        let mut out = Vec::new();
        red::write(&mut out, &redundant, blocks.primary());
        assert_eq!(out, bytes, "written as it was read");
    }
}

fn vp8s() -> Vec<Vec<u8>> {
    [
        "90e092345620 1002009d012a80026841ff",
        "b7f07f0195",
        "90c00506 10",
        "9080051020",
        "10 31",
    ]
    .map(unhex)
    .to_vec()
}

fn check_vp8(bytes: &[u8]) {
    let _ = (vp8::starts_key_frame(bytes), vp8::key_frame_size(bytes));
    vp8::rewrite(&mut bytes.to_vec(), 0x1234, 7);
    let mut out = vec![0; bytes.len() + 8];
    let len = vp8::rewrite_into(&mut out, bytes, 0x1234, 7);
    if let (Ok(before), true) = (vp8::Descriptor::parse(bytes), len > 0) {
        let after = vp8::Descriptor::parse(&out[..len]).expect("just written");
        assert_eq!(after.picture_id(), before.picture_id().map(|_| 0x1234));
        assert_eq!(out[after.len..len], bytes[before.len..]);
    }
}

fn vp9s() -> Vec<Vec<u8>> {
    // Key frame with a scalability structure; flexible mode with references; a later packet of a frame.
    [
        "8a 9234 18 0140 00b4 8201a0 8349834200 1",
        "ba92340021 18 00ff",
        "fc9234 23 07 03 05 02 ff",
        "a09234 00 11",
        "08 82498342",
    ]
    .map(unhex)
    .to_vec()
}

fn check_vp9(bytes: &[u8]) {
    let _ = (vp9::starts_key_frame(bytes), vp9::key_frame_size(bytes));
    let mut out = vec![0; bytes.len() + 8];
    let len = vp9::rewrite_into(&mut out, bytes, 0x1234, 7);
    assert!(len <= out.len());
    if let (Ok(before), true) = (vp9::Descriptor::parse(bytes), len > 0) {
        let after = vp9::Descriptor::parse(&out[..len]).expect("just written");
        assert_eq!(after.picture_id(), before.picture_id().map(|_| 0x1234));
    }
}

fn h264s() -> Vec<Vec<u8>> {
    // An SPS, a STAP-A of SPS, PPS and IDR, FU-A beginnings and ends, a slice.
    [
        "6742c01fda014016ec0440000003004000000f03c60ca8",
        "78 0017 6742c01fda014016ec0440000003004000000f03c60ca8 0004 68ce3c80 0003 658880",
        "7c85888040",
        "7c45888040",
        "7c05ffff",
        "41e20202",
    ]
    .map(unhex)
    .to_vec()
}

fn av1s() -> Vec<Vec<u8>> {
    // A new sequence: one element with a sequence header, and with its length in front; a frame's later piece.
    [
        "18 0a0b00000024cf7f0d93f03008 3210",
        "28 0d 0a0b00000024cf7f0d93f030 32101122",
        "80 3210 1122",
        "08 0a01 00",
    ]
    .map(unhex)
    .to_vec()
}

fn descriptors() -> Vec<Vec<u8>> {
    // With the templates of L1T2 and L3T3 as Chromium writes them, and without any.
    [
        "800001800214eaa860414d141020842701df010d",
        "c00002 80 03 14 e1 08 40 41 00",
        "400003",
        "c10004",
        "810005 20 ff",
    ]
    .map(unhex)
    .to_vec()
}
