//! The streams of a connection: table, buffers, credit, order. Packet numbers and paths live elsewhere.

pub mod id;
