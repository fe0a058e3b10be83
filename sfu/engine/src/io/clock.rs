//! The shard's axis of time, and its thread's.

use std::os::raw::c_int;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::clock::Micros;

/// Seconds from 1900 to 1970 (RFC 3550, section 4).
const NTP_TO_UNIX: u64 = 2_208_988_800;
const CLOCK_THREAD_CPUTIME_ID: c_int = 3;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int;
}

/// CPU time of the calling thread in nanoseconds.
pub fn thread_cpu() -> u64 {
    let mut time = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: the pointer is to a timespec that lives through the call.
    unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64
}

/// The shard's axis of time.
pub struct Clock {
    start: Instant,
    pub ntp_at_start: u64,
}

impl Clock {
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = wall.as_secs() + NTP_TO_UNIX;
        let fraction = (u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000;
        Clock {
            start: Instant::now(),
            ntp_at_start: seconds << 32 | fraction,
        }
    }

    pub fn now(&self) -> Micros {
        self.start.elapsed().as_micros() as Micros
    }
}
