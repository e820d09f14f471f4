//! Handshakes that never end, from one socket that answers every Retry: whether an honest client gets in.

use std::net::Ipv4Addr;

use rp_cli::copy::service::SERVICE;
use rp_protocol::{
    config::TransportConfig,
    wire::{PartialHeader, header::PacketKind},
};

use super::{Row, client::Client, stage::Stage};
use crate::programs::Programs;

const HELLOS: usize = 4600;
/// Begun between two looks at what came, so that the socket's buffer holds the answers.
const BATCH: usize = 50;

/// What the copy may take, with attempts repeated.
const LIMIT_S: f64 = 20.0;

pub(super) fn run(programs: &Programs) -> anyhow::Result<Vec<Row>> {
    let stage = Stage::new(programs, 0)?;
    let mut client = Client::new(&stage, Ipv4Addr::new(127, 0, 0, 2), stage.address)?;
    for _ in 0..HELLOS / BATCH {
        for _ in 0..BATCH {
            client.begin(SERVICE, TransportConfig::default())?;
        }
        client.flush(None)?;
        // A Retry is answered, a ServerHello is not.
        client.receive(is_retry)?;
        client.flush(None)?;
    }
    let took = stage.get()?;
    let name = format!("rpcp beside {HELLOS} half-open connections from one socket");
    Ok(vec![Row::below(&name, took.as_secs_f64(), LIMIT_S, "s")])
}

fn is_retry(datagram: &[u8]) -> bool {
    PartialHeader::decode(datagram)
        .is_ok_and(|header| matches!(header.kind, PacketKind::Retry { .. }))
}
