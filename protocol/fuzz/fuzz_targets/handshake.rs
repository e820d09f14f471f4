//! Fuzzes TLS handshakes with an on-path attacker in the middle; what is checked stands in `rp_protocol::fuzz::handshake`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rp_protocol::fuzz::handshake(data));
