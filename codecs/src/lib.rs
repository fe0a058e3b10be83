//! What Vardrum knows about codecs' payloads: pure functions on bytes.
#![forbid(unsafe_code)]

pub mod av1;
mod bits;
pub mod dependency;
pub mod h264;
mod numbers;
pub mod opus;
pub mod red;
pub mod repacketizer;
pub mod vp8;
pub mod vp9;

// One generator for all property tests; this crate has no dependencies, so it compiles the engine's file.
#[cfg(test)]
#[path = "../../sfu/engine/src/testing.rs"]
mod testing;

/// Why bytes are no payload of their codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Ends before what its own fields announce.
    Short,
    /// Holds more parts than anyone sends.
    TooMany,
}
