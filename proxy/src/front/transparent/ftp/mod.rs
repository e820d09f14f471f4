//! FTP through a transparent front end: control connections are followed, so that their data
//! connections find their way.
//!
//! 1. Passive: a server behind a NAT may name an address of its own network, which the client could
//!    not reach. The client is told the control connection's host instead, and when it comes there, the
//!    exit tries the named address and then that host.
//! 2. Active: the exit waits for the server in the client's place.
//! 3. Everything else passes, and a connection that is sealed or no FTP is left alone (`follower`).

mod active;
mod address;
mod expected;
mod follower;
pub(crate) mod fuzz;

use std::{io, net::SocketAddr, sync::atomic::Ordering};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tracing::debug;

pub(super) use self::expected::Expected;
use self::{
    active::Active,
    follower::{Follower, Naming, Step},
};
use super::{Diverted, FrontEndContext};
use crate::{client::TargetStream, exit::policy::is_public, relay::Near};

/// Bytes read of either side at once.
const READ_BYTES: usize = 4096;

/// The ends of a control connection.
struct Control {
    tcp: TcpStream,
    stream: TargetStream,
    client: SocketAddr,
    server: SocketAddr,
    active: Active,
}

/// Why a control connection is not followed any further.
enum Over {
    /// Both sides go on, unfollowed: it is sealed, no FTP, or one side has ended its direction.
    Unfollowed,
    /// One side was reset or fell silent.
    Failed,
}

/// Relays the control connection that `diverted` is; its server waits behind `stream`.
pub(super) async fn serve(
    diverted: Diverted,
    stream: TargetStream,
    context: &FrontEndContext,
    expected: &Expected,
) {
    let mut control = Control {
        tcp: diverted.tcp,
        stream,
        client: diverted.client,
        server: diverted.original,
        active: Active::default(),
    };
    match control.follow(context, expected).await {
        Over::Unfollowed => {
            let near = Near {
                socket: control.tcp.into(),
                early: Bytes::new(),
                lingers: true,
            };
            context.relay(near, control.stream, diverted.place);
        }
        // Dropped, both are reset.
        Over::Failed => {}
    }
}

impl Control {
    async fn follow(&mut self, context: &FrontEndContext, expected: &Expected) -> Over {
        let mut follower = Follower::default();
        let mut buffer = BytesMut::new();
        while !follower.is_opaque() {
            buffer.clear();
            buffer.reserve(READ_BYTES);
            let (_, mut reader) = self.stream.split();
            let from_server = tokio::select! {
                read = self.tcp.read_buf(&mut buffer) => match read {
                    Ok(1..) => None,
                    Ok(0) => break,
                    Err(_) => return Over::Failed,
                },
                read = reader.read() => match read {
                    Ok(Some(bytes)) => Some(bytes),
                    Ok(None) => break,
                    Err(_) => return Over::Failed,
                },
                () = tokio::time::sleep(context.config.idle) => return Over::Failed,
            };
            let passing = async {
                match &from_server {
                    None => {
                        let steps = follower.on_client(&buffer);
                        self.act(steps, context).await
                    }
                    Some(bytes) => {
                        let steps = follower.on_server(bytes);
                        self.act_on_server(steps, context, expected).await
                    }
                }
            };
            // A side that takes nothing is as idle as one that says nothing.
            let passed = timeout(context.config.idle, passing).await;
            if !matches!(passed, Ok(Ok(()))) {
                return Over::Failed;
            }
        }
        let [to_server, to_client] = follower.held();
        let passed = async {
            self.send_to_server(to_server, context).await?;
            self.send_to_client(&to_client, context).await
        };
        passed.await.map_or(Over::Failed, |()| Over::Unfollowed)
    }

    /// Passes on what came from the client.
    async fn act(&mut self, steps: Vec<Step>, context: &FrontEndContext) -> io::Result<()> {
        for step in steps {
            let bytes = match step {
                Step::Pass(bytes) => bytes,
                Step::Active(naming) => {
                    let (client, server) = (self.client, self.server);
                    let bound = self
                        .active
                        .wait(client, server, naming.address, context)
                        .await;
                    bound.map_or_else(|| naming.line.clone(), |bound| naming.renamed(bound))
                }
                Step::Passive(naming) => naming.line,
            };
            self.send_to_server(bytes, context).await?;
        }
        Ok(())
    }

    /// Passes on what came from the server.
    async fn act_on_server(
        &mut self,
        steps: Vec<Step>,
        context: &FrontEndContext,
        expected: &Expected,
    ) -> io::Result<()> {
        for step in steps {
            let bytes = match step {
                Step::Pass(bytes) => bytes,
                Step::Passive(naming) => self.passive(naming, expected),
                Step::Active(naming) => naming.line,
            };
            self.send_to_client(&bytes, context).await?;
        }
        Ok(())
    }

    /// The line to tell the client where the server waits: with the control connection's host in the
    /// place of an address that only the server's own network has.
    fn passive(&self, naming: Naming, expected: &Expected) -> Bytes {
        let named = naming.address;
        let is_elsewhere = self.server.is_ipv4() && named.ip() != self.server.ip();
        if !is_elsewhere || is_public(named.ip()) || named.port() == 0 {
            return naming.line;
        }
        let told = SocketAddr::new(self.server.ip(), named.port());
        debug!(%named, %told, "FTP: the server names an address of its network");
        expected.insert(self.client.ip(), told, named);
        naming.renamed(told)
    }

    async fn send_to_server(&mut self, bytes: Bytes, context: &FrontEndContext) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let len = bytes.len() as u64;
        let (send, _) = self.stream.split();
        send.write_bytes(bytes).await.map_err(io::Error::other)?;
        context.traffic.sent.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }

    async fn send_to_client(&mut self, bytes: &[u8], context: &FrontEndContext) -> io::Result<()> {
        let len = bytes.len() as u64;
        self.tcp.write_all(bytes).await?;
        context.traffic.received.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }
}
