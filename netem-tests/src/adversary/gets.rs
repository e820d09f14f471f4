//! Requests for files whose bytes nobody takes: what each of them costs the server.

use std::{fs, net::Ipv4Addr, time::Duration};

use anyhow::Context;
use rp_cli::copy::service::SERVICE;
use rp_protocol::{config::TransportConfig, units::Dir};
use rp_transfer::message::{Get, Message};

use super::{Row, client::Client, stage::Stage};
use crate::programs::Programs;

const CONNECTIONS: usize = 100;
const GETS: usize = 16;
const CREDIT_BYTES: u64 = 1000;
const BIG_BYTES: u64 = 1 << 30;

const MOST_MB: f64 = 200.0;
const MOST_THREADS: f64 = 100.0;

pub(super) fn run(programs: &Programs) -> anyhow::Result<Vec<Row>> {
    let stage = Stage::new(programs, BIG_BYTES)?;
    let mut client = Client::new(&stage, Ipv4Addr::new(127, 0, 0, 2), stage.address)?;
    let mut request = Vec::new();
    let path = b"big".to_vec();
    let get = Get {
        path,
        ..Get::default()
    };
    Message::Get(get).encode(&mut request);
    let mut refused = 0;
    for _ in 0..CONNECTIONS {
        let transport = TransportConfig::default()
            .initial_stream_credit(CREDIT_BYTES)
            .max_stream_credit(CREDIT_BYTES);
        let handle = client.connect(SERVICE, transport)?;
        for _ in 0..GETS {
            // A server that allows fewer at once is right.
            let Ok(connection) = client.connection(handle) else {
                refused += 1;
                break;
            };
            let Some(id) = connection.open(Dir::Bi) else {
                refused += 1;
                break;
            };
            connection.write(id, &request)?;
        }
        client.step()?;
    }
    client.run(Duration::from_secs(5), |_| Ok(()))?;
    let status = fs::read_to_string(format!("/proc/{}/status", stage.server_process()))?;
    let kilobytes = number(&status, "VmRSS:")?;
    let threads = number(&status, "Threads:")?;
    let what = format!("{CONNECTIONS} connections x {GETS} Gets, {refused} refused");
    Ok(vec![
        Row::below(
            &format!("memory for {what}"),
            kilobytes / 1000.0,
            MOST_MB,
            "MB",
        ),
        Row::below(&format!("threads for {what}"), threads, MOST_THREADS, ""),
    ])
}

/// A number of /proc/PID/status.
fn number(status: &str, name: &str) -> anyhow::Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("the process has no {name}"))
}
