//! What a running `rpserver` does when it is told something over its control socket.

use std::{net::SocketAddr, sync::Arc};

use super::Server;
use crate::{
    control::{Answer, Command, Handler, Refusal},
    status::{Clock, Numbers, Status, named},
};

/// Does the commands of a running `rpserver`.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    server: Arc<Server>,
    listen: SocketAddr,
    clock: Clock,
}

impl Commands {
    pub(super) fn new(server: Arc<Server>, listen: SocketAddr) -> Self {
        Self {
            server,
            listen,
            clock: Clock::start("rpserver"),
        }
    }
}

impl Numbers for Commands {
    fn status(&self) -> Status {
        let state = match self.server.draining.is_on() {
            true => "draining",
            false => "serving",
        };
        let accounts = self.server.exit.accounts();
        let (connection_count, connections) = self.server.present.list();
        Status {
            process: self.clock.process(),
            state: state.to_owned(),
            listen: vec![self.listen.to_string()],
            total: accounts.total().usage().into(),
            datagrams: self.server.exit.datagrams().into(),
            refusals: self.server.present.refusals(),
            connection_count,
            connections,
            keys: named(accounts.keys()),
            targets: named(accounts.targets()),
            ..Status::default()
        }
    }
}

impl Handler for Commands {
    async fn handle(&self, command: Command) -> Result<Answer, Refusal> {
        match command {
            Command::Status {} => Answer::reply(&self.status()),
            _ => Err(Refusal::unknown("rpserver")),
        }
    }
}
