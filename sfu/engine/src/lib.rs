//! Vardrum's packet path: a sans-IO shard core, a thin I/O edge and a C ABI.
#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]
