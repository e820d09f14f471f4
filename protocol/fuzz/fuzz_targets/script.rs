//! Fuzzes a connection by a script of applications, wire and attackers; what is checked stands in
//! `rp_protocol::fuzz::script`.

#![no_main]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|data: &[u8]| rp_protocol::fuzz::script(Instant::now(), data));
