//! A receiver whose ACKs give other arrival times than the true ones: what the sender makes of the link.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use rp_protocol::units::Bandwidth;

use super::{
    Row,
    addresses::{download, read},
    client::Client,
    stage::Stage,
};
use crate::{
    link::LinkConfig,
    programs::Programs,
    udp_relay::{RelayConfig, UdpRelay},
};

const LINK_BITS: u64 = 20_000_000;
const DELAY: Duration = Duration::from_millis(20);
const DIVISOR: u32 = 4;
const SPAN: Duration = Duration::from_secs(10);

/// Most the server may send per byte that passes.
const LIMIT: f64 = 1.3;

pub(super) fn run(programs: &Programs) -> anyhow::Result<Vec<Row>> {
    let stage = Stage::new(programs, 0)?;
    let link = LinkConfig::new(Bandwidth::from_bits_per_second(LINK_BITS), DELAY);
    let relay = UdpRelay::start(RelayConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        server: stage.address,
        to_server: link.clone(),
        to_client: link,
        seed: 1,
    })?;
    let own = Ipv4Addr::new(127, 0, 0, 2);
    let mut client = Client::new(&stage, own, relay.local_addr())?.slow_clock(DIVISOR);
    let (handle, id) = download(&mut client)?;
    client.run(SPAN, |client| read(client, handle, id))?;
    let passed = relay.stop()?.to_client;
    let ratio = passed.offered_bytes as f64 / passed.delivered_bytes.max(1) as f64;
    let name = "bytes sent per byte passed, arrival times divided by four";
    Ok(vec![Row::below(name, ratio, LIMIT, "x")])
}
