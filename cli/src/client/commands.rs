//! What a running `rpclient` does when it is told something over its control socket.

use std::{net::SocketAddr, sync::atomic::Ordering};

use rp_proxy::{Client, link::LinkStatus};

use crate::{
    control::{Answer, Command, Handler, Refusal},
    status::{Clock, ConnectionStatus, Status, Usage},
};

/// Does the commands of a running `rpclient`.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    client: Client,
    listen: SocketAddr,
    clock: Clock,
}

impl Commands {
    pub(super) fn new(client: Client, listen: SocketAddr) -> Self {
        Self {
            client,
            listen,
            clock: Clock::start("rpclient"),
        }
    }

    fn status(&self) -> Status {
        let link = self.client.link();
        let (state, reason, connections) = match link.status() {
            LinkStatus::Up(connection) => ("up", None, vec![ConnectionStatus::of(&connection)]),
            LinkStatus::Down(why) => ("connecting", Some(why), Vec::new()),
            LinkStatus::Asleep => ("asleep", None, Vec::new()),
        };
        let traffic = self.client.traffic();
        Status {
            process: self.clock.process(),
            state: state.to_owned(),
            reason,
            listen: vec![self.listen.to_string()],
            total: Usage {
                streams: link.users() as u64,
                down_bytes: traffic.received.load(Ordering::Relaxed),
                up_bytes: traffic.sent.load(Ordering::Relaxed),
                ..Usage::default()
            },
            connection_count: connections.len() as u64,
            connections,
            ..Status::default()
        }
    }
}

impl Handler for Commands {
    async fn handle(&self, command: Command) -> Result<Answer, Refusal> {
        match command {
            Command::Status {} => Answer::reply(&self.status()),
        }
    }
}
