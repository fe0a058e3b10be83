//! The edge: one thread, one UDP socket, many datagrams a system call, and connections for whom UDP doesn't reach. Only here are syscalls and a clock.
#![allow(unsafe_code)]

mod abi;
mod clock;
mod inbox;
mod outlet;
mod poller;
mod signal;
mod socket;
mod tcp;

pub use clock::{thread_cpu, Clock};
pub use inbox::Inbox;
pub use outlet::{Outlet, Sent};
pub use poller::{Poller, Ready};
pub use signal::Signal;
pub use socket::Socket;
pub use tcp::Tcp;

/// Messages per system call, in and out.
pub const BATCH: usize = 64;
