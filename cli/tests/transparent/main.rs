//! Connections that the kernel diverts to the real `rpclient`, between network namespaces.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers outside of test functions fail the test that calls them, or say that it was skipped"
)]

mod ftp;
mod lab;
mod redirect;
mod setup;
mod udp;
#[path = "../world/mod.rs"]
mod world;
