//! The C ABI that `sfu/engine.py` loads. Every function catches panics: none crosses into Python.
#![allow(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::os::raw::{c_char, c_int};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::slice;
use std::sync::Arc;

use vardrum_codecs::opus;
use vardrum_codecs::repacketizer::Repacketizer;

use crate::command::Command;
use crate::counters::NAMES;
use crate::runner::{Options, Runner};
use crate::srtp::{Profile, Receiver, Sender};
use crate::tables::{Tables, DOWNLINK, UPLINK};

fn guarded<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// # Safety
/// `bytes` is null or points to `len` bytes that live while the result is used.
unsafe fn read<'a>(bytes: *const u8, len: usize) -> &'a [u8] {
    if bytes.is_null() {
        return &[];
    }
    // SAFETY: the caller's word.
    unsafe { slice::from_raw_parts(bytes, len) }
}

/// # Safety
/// `out` is null or points to `len` elements that live, and are used by nobody else, while the result is used.
unsafe fn write<'a, T>(out: *mut T, len: usize) -> &'a mut [T] {
    if out.is_null() {
        return &mut [];
    }
    // SAFETY: the caller's word.
    unsafe { slice::from_raw_parts_mut(out, len) }
}

/// Starts a shard on `ip` (text, `ip_len` bytes) and `port` (0: any); null, and a reason in `error`, where it can't.
/// `gso`: whether it may join datagrams (UDP GSO). `tcp`: whether it takes connections on the same port too.
///
/// # Safety
/// The pointers are valid for the given lengths.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_start(
    ip: *const u8,
    ip_len: usize,
    port: u16,
    gso: bool,
    tcp: bool,
    error: *mut u8,
    error_len: usize,
) -> *mut Runner {
    // SAFETY: the caller's word.
    let (ip, error) = unsafe { (read(ip, ip_len), write(error, error_len)) };
    guarded(ptr::null_mut(), || {
        let address = std::str::from_utf8(ip)
            .ok()
            .and_then(|text| text.parse::<IpAddr>().ok());
        let started = match address {
            Some(ip) => Runner::start(SocketAddr::new(ip, port), Options { gso, tcp }).map_err(|e| e.to_string()),
            None => Err("not an IP address".to_string()),
        };
        match started {
            Ok(runner) => Box::into_raw(Box::new(runner)),
            Err(reason) => {
                let n = reason.len().min(error.len().saturating_sub(1));
                error[..n].copy_from_slice(&reason.as_bytes()[..n]);
                if let Some(end) = error.get_mut(n) {
                    *end = 0;
                }
                ptr::null_mut()
            }
        }
    })
}

/// Stops the thread, waits for its end and frees the shard.
///
/// # Safety
/// `shard` came from `vardrum_shard_start` and is not used again.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_stop(shard: *mut Runner) {
    // SAFETY: the caller's word.
    guarded((), || unsafe { drop(Box::from_raw(shard)) });
}

/// # Safety
/// `shard` is a running one.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_port(shard: *const Runner) -> u16 {
    // SAFETY: the caller's word.
    unsafe { &*shard }.port
}

/// The descriptor that is readable while there are events.
///
/// # Safety
/// `shard` is a running one.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_event_fd(shard: *const Runner) -> c_int {
    // SAFETY: the caller's word.
    unsafe { &*shard }.shared.told.fd()
}

/// Takes one command; 0, or -1 where the bytes are not one.
///
/// # Safety
/// `shard` is a running one; `bytes` points to `len` bytes.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_command(shard: *const Runner, bytes: *const u8, len: usize) -> c_int {
    // SAFETY: the caller's word.
    let (shard, bytes) = unsafe { (&*shard, read(bytes, len)) };
    guarded(-1, || match Command::parse(bytes) {
        Some(command) => {
            shard.shared.command(command);
            0
        }
        None => -1,
    })
}

/// Copies whole events, each behind its length (u16); returns the bytes written.
///
/// # Safety
/// `shard` is a running one; `out` points to `len` bytes.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_events(shard: *const Runner, out: *mut u8, len: usize) -> usize {
    // SAFETY: the caller's word.
    let (shard, out) = unsafe { (&*shard, write(out, len)) };
    guarded(0, || shard.shared.events(out))
}

/// Copies the counters, in the order of `vardrum_names`; returns how many.
///
/// # Safety
/// `shard` is a running one; `out` points to `len` elements.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_counters(shard: *const Runner, out: *mut u64, len: usize) -> usize {
    // SAFETY: the caller's word.
    let (shard, out) = unsafe { (&*shard, write(out, len)) };
    guarded(0, || shard.shared.counters(out))
}

/// The shard's tables, which live until they are freed, also when the shard doesn't any more.
///
/// # Safety
/// `shard` is a running one.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_tables(shard: *const Runner) -> *const Tables {
    // SAFETY: the caller's word.
    Arc::into_raw(Arc::clone(&unsafe { &*shard }.shared.tables))
}

/// # Safety
/// `tables` came from `vardrum_shard_tables`; it and what it gave are not used again.
#[no_mangle]
pub unsafe extern "C" fn vardrum_tables_free(tables: *const Tables) {
    // SAFETY: the caller's word.
    guarded((), || unsafe { drop(Arc::from_raw(tables)) });
}

/// The newest table of layers (`which` 0) or of downlinks (1), row behind row; `count` is set to how many numbers.
/// They stay as they are until the next call for the same table, and where they are until the tables are freed.
///
/// # Safety
/// `tables` came from `vardrum_shard_tables`; `count` points to one element.
#[no_mangle]
pub unsafe extern "C" fn vardrum_tables_newest(tables: *const Tables, which: c_int, count: *mut usize) -> *const f64 {
    // SAFETY: the caller's word.
    let (tables, count) = unsafe { (&*tables, write(count, 1)) };
    guarded(ptr::null(), || {
        let table = if which == 0 { &tables.uplinks } else { &tables.downlinks };
        let (numbers, n) = table.newest();
        count[0] = n;
        numbers
    })
}

/// Whether the shard's thread goes on; `false` once it has panicked, and then for good.
///
/// # Safety
/// `shard` is a running one.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_alive(shard: *const Runner) -> bool {
    // SAFETY: the caller's word.
    unsafe { &*shard }.shared.alive()
}

/// CPU time of the shard's thread in nanoseconds.
///
/// # Safety
/// `shard` is a running one.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_cpu(shard: *const Runner) -> u64 {
    // SAFETY: the caller's word.
    unsafe { &*shard }.shared.cpu()
}

/// Bytes that the shard holds for its participants.
///
/// # Safety
/// `shard` is a running one.
#[no_mangle]
pub unsafe extern "C" fn vardrum_shard_memory(shard: *const Runner) -> u64 {
    // SAFETY: the caller's word.
    unsafe { &*shard }.shared.memory() as u64
}

/// Writes names, separated by spaces: of the counters (`which` 0), or of the columns of layers (1) or of downlinks
/// (2); returns the length.
///
/// # Safety
/// `out` points to `len` bytes.
#[no_mangle]
pub unsafe extern "C" fn vardrum_names(which: c_int, out: *mut c_char, len: usize) -> usize {
    // SAFETY: the caller's word.
    let out = unsafe { write(out.cast::<u8>(), len) };
    guarded(0, || {
        let names = match which {
            0 => NAMES,
            1 => UPLINK,
            _ => DOWNLINK,
        };
        let names = names.join(" ");
        let n = names.len().min(out.len());
        out[..n].copy_from_slice(&names.as_bytes()[..n]);
        n
    })
}

/// SRTP both ways under one key, for tests against independent implementations.
pub struct Srtp {
    sender: Sender,
    receiver: Receiver,
}

/// # Safety
/// `key` and `salt` point to as many bytes as said.
#[no_mangle]
pub unsafe extern "C" fn vardrum_srtp_new(
    profile: u16,
    key: *const u8,
    key_len: usize,
    salt: *const u8,
    salt_len: usize,
) -> *mut Srtp {
    // SAFETY: the caller's word.
    let (key, salt) = unsafe { (read(key, key_len), read(salt, salt_len)) };
    guarded(ptr::null_mut(), || {
        let made = Profile::from_u16(profile).and_then(|profile| {
            let sender = Sender::new(profile, key, salt).ok()?;
            let receiver = Receiver::new(profile, key, salt).ok()?;
            Some(Srtp { sender, receiver })
        });
        made.map_or(ptr::null_mut(), |srtp| Box::into_raw(Box::new(srtp)))
    })
}

/// # Safety
/// `srtp` came from `vardrum_srtp_new` and is not used again.
#[no_mangle]
pub unsafe extern "C" fn vardrum_srtp_free(srtp: *mut Srtp) {
    // SAFETY: the caller's word.
    guarded((), || unsafe { drop(Box::from_raw(srtp)) });
}

/// Seals `len` bytes in place in a buffer of `room` bytes; returns the new length, or -1.
///
/// # Safety
/// `srtp` is alive; `buffer` points to `room` bytes.
#[no_mangle]
pub unsafe extern "C" fn vardrum_srtp_seal(
    srtp: *mut Srtp,
    buffer: *mut u8,
    room: usize,
    len: usize,
    roll_over: u32,
) -> isize {
    // SAFETY: the caller's word.
    let (srtp, buffer) = unsafe { (&mut *srtp, write(buffer, room)) };
    guarded(-1, || {
        if len > buffer.len() {
            return -1;
        }
        let sealed = if crate::rtp::is_rtcp(&buffer[..len]) {
            srtp.sender.seal_rtcp(buffer, len)
        } else {
            match crate::rtp::parse(&buffer[..len]) {
                Ok(header) => srtp.sender.seal_rtp(buffer, len, header.header_len, roll_over),
                Err(_) => return -1,
            }
        };
        sealed.map_or(-1, |n| n as isize)
    })
}

/// Opens `len` bytes in place; returns the new length, or -1.
///
/// # Safety
/// `srtp` is alive; `buffer` points to `len` bytes.
#[no_mangle]
pub unsafe extern "C" fn vardrum_srtp_open(srtp: *mut Srtp, buffer: *mut u8, len: usize) -> isize {
    // SAFETY: the caller's word.
    let (srtp, buffer) = unsafe { (&mut *srtp, write(buffer, len)) };
    guarded(-1, || {
        let opened = if crate::rtp::is_rtcp(buffer) {
            srtp.receiver.open_rtcp(buffer)
        } else {
            match crate::rtp::parse(buffer) {
                Ok(header) => srtp.receiver.open_rtp(buffer, header.header_len).map(|(n, _)| n),
                Err(_) => return -1,
            }
        };
        opened.map_or(-1, |n| n as isize)
    })
}

/// Joins Opus packets, `count` of them behind each other in `packets` with their lengths in `lens`, into one, for tests
/// against another implementation. Returns the length written to `out`; -1 where they can't be joined, or don't fit.
///
/// # Safety
/// `lens` points to `count` lengths, `packets` to as many bytes as their sum, and `out` to `room` bytes.
#[no_mangle]
pub unsafe extern "C" fn vardrum_opus_join(
    packets: *const u8,
    lens: *const u16,
    count: usize,
    out: *mut u8,
    room: usize,
) -> isize {
    // SAFETY: the caller's word.
    let (lens, out) = unsafe { (slice::from_raw_parts(lens, count), write(out, room)) };
    let whole = lens.iter().map(|len| usize::from(*len)).sum();
    // SAFETY: the caller's word.
    let mut rest = unsafe { read(packets, whole) };
    guarded(-1, || {
        let mut joined = Repacketizer::default();
        for len in lens {
            let (packet, others) = rest.split_at(usize::from(*len));
            rest = others;
            if !joined.push(packet, opus::LONGEST) {
                return -1;
            }
        }
        let mut packet = Vec::new();
        joined.write(&mut packet);
        match out.get_mut(..packet.len()) {
            Some(place) => place.copy_from_slice(&packet),
            None => return -1,
        }
        packet.len() as isize
    })
}
