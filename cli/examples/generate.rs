//! Writes the man pages and shell completions of all programs, made from their arguments, into a folder:
//! `cargo run -p rp-cli --example generate -- target/shipped`

use std::{env, fs, io, path::Path};

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use rp_cli::args::{client::ClientArgs, copy::CopyArgs, server::ServerArgs};

fn main() -> io::Result<()> {
    let folder = env::args_os()
        .nth(1)
        .ok_or_else(|| io::Error::other("name a folder"))?;
    let folder = Path::new(&folder);
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    for command in [
        ServerArgs::command(),
        ClientArgs::command(),
        CopyArgs::command(),
    ] {
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut command.clone(), &name, &completions)?;
        }
        pages(command, &man)?;
    }
    Ok(())
}

/// A page for the program and one for each of its commands: `rpclient.1`, `rpclient-status.1`.
fn pages(command: Command, folder: &Path) -> io::Result<()> {
    // `help` and its own commands would be pages that say nothing.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    clap_mangen::generate_to(command, folder)
}
