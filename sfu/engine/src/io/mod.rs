//! The edge: one thread, one UDP socket, many datagrams a system call. Only here are syscalls and a clock.
#![allow(unsafe_code)]

mod abi;
mod clock;
mod poller;
mod signal;
mod socket;

pub use clock::{thread_cpu, Clock};
pub use poller::{Poller, Ready};
pub use signal::Signal;
pub use socket::{Socket, BATCH};
