//! The program `rpserver`; everything it does lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    rp_cli::exit_code::report("rpserver", rp_cli::serve::main())
}
