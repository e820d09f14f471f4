//! `lab peer`: the lab's own ends of kernel TCP and HTTP, started inside a namespace by other
//! subcommands. What they do is in the library's `peer`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Subcommand;
use rp_netem_tests::peer;

use crate::End;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Take bytes over TCP and tell how many have arrived when
    Recv {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        bytes: u64,
        /// Connections that will come
        #[arg(long, default_value_t = 1)]
        flows: usize,
    },
    /// Send bytes over TCP
    Send {
        to: SocketAddr,
        bytes: u64,
        #[arg(long, default_value_t = 1)]
        flows: usize,
        /// The kernel's name of a congestion control
        #[arg(long)]
        congestion: Option<String>,
    },
    /// Serve one file over HTTP
    Web {
        #[arg(long)]
        port: u16,
        file: PathBuf,
    },
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        match self.role {
            Role::Recv { port, bytes, flows } => peer::receive(port, bytes, flows)?,
            Role::Send {
                to,
                bytes,
                flows,
                congestion,
            } => peer::send(&peer::Sending {
                to,
                bytes,
                flows,
                congestion,
            })?,
            Role::Web { port, file } => peer::serve_file(port, &file)?,
        }
        Ok(End::Good)
    }
}
