//! `lab peer`: the lab's own ends of kernel TCP and HTTP, started inside a namespace by other
//! subcommands. What they do is in the library's `peer`.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Subcommand;
use rp_netem_tests::{
    first_byte,
    latency::{self, ends},
    peer,
};

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
    /// Take bytes over RPP and tell how many have arrived when
    RppRecv {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        bytes: u64,
    },
    /// Send bytes over RPP
    RppSend { to: SocketAddr, bytes: u64 },
    /// Serve one file over HTTP
    Web {
        #[arg(long)]
        port: u16,
        file: PathBuf,
    },
    /// Answer each request with as many bytes as it asks for
    Respond {
        #[arg(long)]
        port: u16,
        /// The kernel's name of a congestion control
        #[arg(long)]
        congestion: Option<String>,
    },
    /// Send back whatever comes, on any number of connections
    Echo {
        #[arg(long)]
        port: u16,
    },
    /// Ask for a small page through every front end, and write how long the first bytes took
    FirstByte {
        #[arg(long)]
        direct: SocketAddr,
        #[arg(long)]
        target: SocketAddr,
        #[arg(long)]
        honest: SocketAddr,
        #[arg(long)]
        optimistic: SocketAddr,
        #[arg(long)]
        rpclient: PathBuf,
        #[arg(long)]
        control: PathBuf,
        #[arg(long)]
        requests: usize,
        #[arg(long)]
        out: PathBuf,
    },
    /// Ask at fixed times, and write how long the answers took
    Ask {
        to: SocketAddr,
        /// An HTTP proxy to CONNECT through
        #[arg(long)]
        proxy: Option<SocketAddr>,
        /// Bytes of an answer, and answers a second
        #[arg(long = "object", value_name = "BYTES@RATE", value_parser = parse_object)]
        objects: Vec<(u64, f64)>,
        /// Take as much as comes on one more connection
        #[arg(long)]
        bulk: bool,
        #[arg(long, value_name = "S")]
        head_start: f64,
        #[arg(long, value_name = "S")]
        seconds: f64,
        #[arg(long)]
        seed: u64,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

fn parse_object(text: &str) -> Result<(u64, f64), String> {
    let parsed = text
        .split_once('@')
        .and_then(|(bytes, rate)| Some((bytes.parse().ok()?, rate.parse().ok()?)));
    parsed.ok_or_else(|| format!("{text} is not BYTES@RATE"))
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
            Role::RppRecv { port, bytes } => peer::rpp::receive(port, bytes)?,
            Role::RppSend { to, bytes } => peer::rpp::send(to, bytes)?,
            Role::Web { port, file } => peer::serve_file(port, &file)?,
            Role::Respond { port, congestion } => ends::respond(port, congestion.as_deref())?,
            Role::Echo { port } => peer::echo::serve(port)?,
            Role::FirstByte {
                direct,
                target,
                honest,
                optimistic,
                rpclient,
                control,
                requests,
                out,
            } => {
                let answers = first_byte::ask::ask(&first_byte::ask::Asking {
                    direct,
                    target,
                    honest,
                    optimistic,
                    rpclient,
                    control,
                    requests,
                })?;
                fs::write(out, serde_json::to_vec(&answers)?)?;
            }
            Role::Ask {
                to,
                proxy,
                objects,
                bulk,
                head_start,
                seconds,
                seed,
                out,
            } => {
                let answers = ends::ask(&ends::Asking {
                    to,
                    proxy,
                    objects,
                    has_bulk: bulk,
                    head_start: Duration::from_secs_f64(head_start),
                    span: Duration::from_secs_f64(seconds),
                    after: latency::AFTER,
                    seed,
                })?;
                fs::write(out, serde_json::to_vec(&answers)?)?;
            }
        }
        Ok(End::Good)
    }
}
