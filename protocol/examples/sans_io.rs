//! The protocol without sockets, tasks or clock: two engines joined by two queues, on a time that this program makes.
//!
//! `cargo run --example sans_io`. Everything the tokio driver does for you stands here: who is asked what, and when.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for people, whose virtual time has to begin somewhere"
)]

use std::{
    collections::VecDeque,
    error::Error,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use rp_protocol::{
    config::{ClientConfig, EndpointConfig, ServerConfig},
    crypto::{
        identity::Identity,
        trust::{AcceptAnyKey, PinnedKeys},
    },
    engine::{
        Connection, ConnectionHandle, Datagram, Endpoint, Event, Output, Routed, StreamEvent,
    },
    error::ReadError,
    units::Dir,
    wire::id::StreamId,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SERVICE: &str = "example/1";
/// Time a datagram takes from one end to the other.
const ONE_WAY: Duration = Duration::from_millis(50);

/// A datagram on its way: when it arrives, and what it is.
type InFlight = (Instant, Vec<u8>);

/// An endpoint with its one connection, where it has one.
struct Host {
    address: SocketAddr,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
}

impl Host {
    /// Takes a datagram in: the endpoint says whose it is.
    fn receive(&mut self, now: Instant, remote: SocketAddr, bytes: &[u8]) -> Result<()> {
        let datagram = Datagram {
            remote,
            local_ip: None,
            ecn: None,
            received_at: now,
            payload: BytesMut::from(bytes),
        };
        let mut answer = Vec::new();
        match self.endpoint.handle_datagram(now, datagram, &mut answer) {
            Routed::Connection(_, datagram) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_datagram(now, datagram);
                }
            }
            Routed::Incoming(incoming) => {
                self.connection = Some(self.endpoint.accept(now, incoming)?);
            }
            // Retry, version negotiation, resets: a real host would send `answer`.
            Routed::Response(_) | Routed::Dropped => {}
        }
        Ok(())
    }

    /// Asks the connection what it wants until it wants to wait. Returns until when, and what happened.
    fn drain(
        &mut self,
        now: Instant,
        wire: &mut VecDeque<InFlight>,
    ) -> (Option<Instant>, Vec<Event>) {
        let mut events = Vec::new();
        let Some((handle, connection)) = &mut self.connection else {
            return (None, events);
        };
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            match connection.poll(now, &mut buffer) {
                Output::Transmit(transmit) => {
                    let bytes = &buffer[..transmit.len];
                    // A batch is one system call with segmentation offload; here it is taken apart.
                    for datagram in bytes.chunks(transmit.segment_size.unwrap_or(transmit.len)) {
                        wire.push_back((now + ONE_WAY, datagram.to_vec()));
                    }
                }
                Output::Endpoint(event) => self.endpoint.handle_event(*handle, event),
                Output::Event(event) => events.push(event),
                Output::Wait(until) => return (until, events),
            }
        }
    }

    fn connection(&mut self) -> Result<&mut Connection> {
        let (_, connection) = self.connection.as_mut().ok_or("there is no connection")?;
        Ok(connection)
    }
}

fn main() -> Result<()> {
    let start = Instant::now();
    let (mut client, mut server) = hosts(start)?;
    let mut to_server: VecDeque<InFlight> = VecDeque::new();
    let mut to_client: VecDeque<InFlight> = VecDeque::new();
    let mut now = start;
    loop {
        while let Some((_, bytes)) = to_server.pop_front_if(|(at, _)| *at <= now) {
            server.receive(now, client.address, &bytes)?;
        }
        while let Some((_, bytes)) = to_client.pop_front_if(|(at, _)| *at <= now) {
            client.receive(now, server.address, &bytes)?;
        }
        for host in [&mut client, &mut server] {
            if let Some((_, connection)) = &mut host.connection {
                connection.handle_timeout(now);
            }
        }
        let (client_due, events) = client.drain(now, &mut to_server);
        if events.iter().any(|event| matches!(event, Event::Connected)) {
            println!("{:?}: the client is connected", now - start);
            let connection = client.connection()?;
            let stream = connection.open(Dir::Uni).ok_or("no stream is granted")?;
            connection.write(stream, b"hello")?;
            connection.finish(stream)?;
            continue;
        }
        let (server_due, events) = server.drain(now, &mut to_client);
        if events
            .iter()
            .any(|event| matches!(event, Event::Stream(StreamEvent::Opened(_))))
        {
            let text = read(server.connection()?)?;
            println!("{:?}: the server reads {text:?}", now - start);
            return Ok(());
        }
        let arrival = |wire: &VecDeque<InFlight>| wire.front().map(|&(at, _)| at);
        now = [
            client_due,
            server_due,
            arrival(&to_server),
            arrival(&to_client),
        ]
        .into_iter()
        .flatten()
        .min()
        .ok_or("nobody waits for anything")?;
    }
}

/// A client whose first packets wait to be sent, and a server that knows nothing of it.
fn hosts(now: Instant) -> Result<(Host, Host)> {
    let identity = Arc::new(Identity::generate()?);
    let trusted = Arc::new(PinnedKeys::one(identity.public_key()));
    let server = ServerConfig::new(identity, Arc::new(AcceptAnyKey), &[SERVICE]);
    let server = Host {
        address: "192.0.2.1:7400".parse()?,
        // The seed of all that is random here: fixed, so that each run is the same but for the keys.
        endpoint: Endpoint::new(EndpointConfig::default(), Some(server), [1; 32]),
        connection: None,
    };
    let config = ClientConfig::new(Arc::new(Identity::generate()?), trusted, SERVICE);
    let mut endpoint = Endpoint::new(EndpointConfig::default(), None, [2; 32]);
    let connection = endpoint.connect(now, server.address, config)?;
    let client = Host {
        address: "192.0.2.2:7401".parse()?,
        endpoint,
        connection: Some(connection),
    };
    Ok((client, server))
}

/// What has arrived on the stream that the peer opened.
fn read(connection: &mut Connection) -> Result<Bytes> {
    let stream: StreamId = connection.accept(Dir::Uni).ok_or("no stream was opened")?;
    match connection.read(stream, usize::MAX) {
        Ok(bytes) => Ok(bytes.unwrap_or_default()),
        Err(ReadError::Blocked) => Ok(Bytes::new()),
        Err(error) => Err(error.into()),
    }
}
