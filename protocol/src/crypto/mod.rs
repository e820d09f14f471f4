//! Keys and trust: the TLS 1.3 handshake, sealing and opening, tokens, replay windows.
//! Packet layout and retransmission live elsewhere.

pub mod identity;
