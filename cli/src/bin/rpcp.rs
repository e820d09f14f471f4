//! The program `rpcp`; everything it does lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    rp_cli::exit_code::report("rpcp", rp_cli::copy::main())
}
