//! Fuzzes payloads of opened packets and transport parameters; what is checked stands in `rp_protocol::fuzz::frame`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rp_protocol::fuzz::frame(data));
