//! One path: everything that depends on the way the packets go. Stream bytes live elsewhere.

pub mod id;
