//! Fuzzes datagrams and packet headers; what is checked stands in `rp_protocol::fuzz::packet`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rp_protocol::fuzz::packet(data));
