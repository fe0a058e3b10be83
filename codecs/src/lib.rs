//! What Vardrum knows about codecs' payloads: pure functions on bytes.
#![forbid(unsafe_code)]
