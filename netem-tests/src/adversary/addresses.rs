//! Spoofed sources: what a victim gets that never asked, for each byte sent in its name.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use rp_protocol::{
    config::TransportConfig, engine::ConnectionHandle, units::Dir, wire::id::StreamId,
};
use rp_proxy::{SERVICE, open::Request, target::Target};

use super::{
    Row,
    client::{Client, is_empty, now},
    stage::{Stage, origin},
};
use crate::programs::Programs;

/// Where the adversary is, truly.
const OWN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// A victim in the adversary's network, and one elsewhere.
const NEAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);
const FAR: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 77);

/// How long victims are watched.
const WATCH: Duration = Duration::from_secs(3);

/// RFC 9000 section 8: three times what was received.
const LIMIT: f64 = 3.0;

/// Whom a packet of a connection in the middle of a download claims to be from, one after the other.
const VARIANTS: &[(&str, &[Ipv4Addr])] = &[
    ("one packet from a neighbour", &[NEAR]),
    ("one packet from another network", &[FAR]),
    ("two packets from two addresses", &[NEAR, FAR]),
    ("two packets from one address", &[FAR, FAR]),
    ("there, elsewhere and there again", &[FAR, NEAR, FAR]),
    ("there, home and there again", &[FAR, OWN, FAR]),
    ("near, home and near again", &[NEAR, OWN, NEAR]),
];

pub(super) fn run(programs: &Programs) -> anyhow::Result<Vec<Row>> {
    let stage = Stage::new(programs, 0)?;
    let mut rows = vec![hello(&stage)?];
    for (name, sources) in VARIANTS {
        rows.push(moves(&stage, name, sources)?);
    }
    Ok(rows)
}

/// Sockets at the victims' addresses, which know what they sent and got.
struct Victim {
    socket: UdpSocket,
    address: Ipv4Addr,
    sent: u64,
    got: u64,
}

impl Victim {
    fn new(address: Ipv4Addr) -> io::Result<Self> {
        let socket = UdpSocket::bind((address, 0))?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            address,
            sent: 0,
            got: 0,
        })
    }

    fn count(&mut self) -> io::Result<()> {
        let mut buffer = [0; 65536];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(len) => self.got += len as u64,
                Err(error) if is_empty(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Watches the victims; the worst ratio of what one got and what was sent in its name.
fn watch(victims: &mut [Victim]) -> anyhow::Result<f64> {
    let began = now();
    while began.elapsed() < WATCH {
        for victim in &mut *victims {
            victim.count()?;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let ratio = |victim: &Victim| victim.got as f64 / victim.sent.max(1) as f64;
    Ok(victims.iter().map(ratio).fold(0.0, f64::max))
}

/// A first packet in the victim's name.
fn hello(stage: &Stage) -> anyhow::Result<Row> {
    let mut client = Client::new(stage, OWN, stage.address)?;
    let mut victim = Victim::new(FAR)?;
    client.begin(SERVICE, TransportConfig::default())?;
    victim.sent += client.flush(Some(&victim.socket))?;
    let ratio = watch(&mut [victim])?;
    let name = "bytes a victim gets per byte sent: a client's first packet";
    Ok(Row::at_most(name, ratio, LIMIT, "x"))
}

/// Packets of a connection in the middle of a download, from `sources`.
fn moves(stage: &Stage, name: &str, sources: &[Ipv4Addr]) -> anyhow::Result<Row> {
    let mut client = Client::new(stage, OWN, stage.address)?;
    let (handle, id) = download(&mut client)?;
    client.run(Duration::from_secs(1), |client| read(client, handle, id))?;
    let mut victims = vec![Victim::new(NEAR)?, Victim::new(FAR)?];
    client.flush(None)?;
    for source in sources {
        // A byte for the origin makes a packet, the smallest that moves a connection.
        client.connection(handle)?.write(id, b"x")?;
        match victims.iter_mut().find(|victim| victim.address == *source) {
            Some(victim) => victim.sent += client.flush(Some(&victim.socket))?,
            None => drop(client.flush(None)?),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let ratio = watch(&mut victims)?;
    let name = format!("bytes a victim gets per byte sent: {name}");
    Ok(Row::at_most(&name, ratio, LIMIT, "x"))
}

/// Connects and asks for a download without end.
pub(super) fn download(client: &mut Client) -> anyhow::Result<(ConnectionHandle, StreamId)> {
    let handle = client.connect(SERVICE, TransportConfig::default())?;
    let target = Target::parse(&origin(false)?.to_string(), None)?;
    let mut request = Vec::new();
    Request::Connect(target.into()).encode(&mut request);
    request.extend_from_slice(b"GET /endless HTTP/1.1\r\n\r\n");
    let connection = client.connection(handle)?;
    let id = anyhow::Context::context(connection.open(Dir::Bi), "no stream is allowed")?;
    connection.write(id, &request)?;
    Ok((handle, id))
}

/// Drops what has come on the stream.
pub(super) fn read(
    client: &mut Client,
    handle: ConnectionHandle,
    id: StreamId,
) -> anyhow::Result<()> {
    let connection = client.connection(handle)?;
    while let Ok(Some(_)) = connection.read(id, 65536) {}
    Ok(())
}
