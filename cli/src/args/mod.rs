//! What can be typed on the command lines of the programs. What it means is decided elsewhere.
//!
//! The options of `rpserver` and `rpclient` are also what their settings files hold, so a flag, its
//! environment variable and its line in the file cannot drift apart.

pub mod client;
pub mod copy;
mod one_or_more;
pub mod server;
pub mod tproxy;

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// How the numbers of a running program are shown.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct StatusArgs {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,

    /// Show them every second, until interrupted
    #[arg(long)]
    pub watch: bool,
}

/// Options about the run and not about the work.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Settings file (TOML); flags and environment win over it
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Check the settings, print those in effect as TOML, and exit
    #[arg(long, global = true)]
    pub check: bool,

    /// Log more; twice for everything
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
}
