//! Logs on standard error. What is logged, and how loud, is decided where it happens.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// Our own crates, whose words are meant for users; others speak only when it is serious.
const CRATES: [&str; 4] = ["rp_cli", "rp_proxy", "rp_protocol", "rp_transfer"];

/// Starts logging from `level` on; `verbose` lowers it by so many steps, and `RUST_LOG` overrides
/// both.
pub fn start(level: &str, verbose: u8) {
    let level = match (level, verbose) {
        (level, 0) => level,
        ("warn", 1) => "info",
        ("warn", 2) | (_, 1) => "debug",
        _ => "trace",
    };
    let ours = CRATES.map(|name| format!("{name}={level}")).join(",");
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,{ours}")));
    // Started twice only by tests that run programs in-process.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}
