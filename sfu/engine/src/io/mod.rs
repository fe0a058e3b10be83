//! The edge: one thread, one UDP socket, many datagrams a system call. Only here are syscalls and a clock.
#![allow(unsafe_code)]

mod abi;
mod clock;
mod inbox;
mod outlet;
mod poller;
mod signal;
mod socket;

pub use clock::{thread_cpu, Clock};
pub use inbox::Inbox;
pub use outlet::{Outlet, Sent};
pub use poller::{Poller, Ready};
pub use signal::Signal;
pub use socket::Socket;

/// Messages per system call, in and out.
pub const BATCH: usize = 64;
