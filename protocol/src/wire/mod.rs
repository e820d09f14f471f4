//! Bytes to values and back, with no state (spec/01-packet.md).
