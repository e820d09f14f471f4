//! `rpcp` copies files over RPP; see `rpcp --help`.

use std::process::ExitCode;

use clap::Parser;
use rp_cli::{args::copy::CopyArgs, copy};

fn main() -> ExitCode {
    copy::main(&CopyArgs::parse()).into()
}
