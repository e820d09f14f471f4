//! The program `rpclient`; everything it does lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    rp_cli::exit_code::report("rpclient", rp_cli::client::main())
}
