//! Vardrum's packet path: a sans-IO shard core, a thin I/O edge and a C ABI.
#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]

pub mod address;
mod ahead;
mod bucket;
pub mod clock;
pub mod command;
mod connectivity;
pub mod counters;
pub mod crypto;
pub mod demux;
mod due;
mod egress;
pub mod event;
mod fanout;
mod feedback;
pub mod ffi;
mod forward;
pub mod framing;
pub mod gather;
mod hash;
mod history;
pub mod ice;
mod ingress;
pub mod io;
mod layer;
mod memory;
mod meter;
pub mod nack;
pub mod outbox;
mod pacer;
pub mod packet;
mod patch;
mod patience;
mod peer;
pub mod picture;
mod probe;
pub mod reception;
mod redundancy;
mod release;
pub mod replay;
mod reports;
mod resend;
mod rng;
mod round_trip;
pub mod rtcp;
pub mod rtp;
pub mod runner;
mod runs;
pub mod shard;
pub mod slot;
mod sound;
mod spent;
pub mod srtp;
mod stopped;
mod store;
mod strangers;
pub mod stun;
pub mod tables;
mod templates;
#[cfg(test)]
mod testing;
mod track;
pub mod twcc;
mod viewing;

pub use clock::Micros;
