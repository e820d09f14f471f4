//! What a running `rpclient` does when it is told something over its control socket.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use rp_proxy::{Client, link::LinkStatus, target::Target};
use serde_json::Value;

use super::through::carry;
use crate::{
    control::{Answer, Command, Handler, Refusal, Route},
    forwards::Forwards,
    servers::Servers,
    signals::Draining,
    status::{Clock, ConnectionStatus, Numbers, Refusals, Status, Usage},
};

/// Does the commands of a running `rpclient`.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    client: Client,
    listen: SocketAddr,
    route: Route,
    servers: Servers,
    forwards: Arc<Forwards>,
    clock: Clock,
    draining: Draining,
}

impl Commands {
    pub(super) fn new(
        client: &Client,
        listen: SocketAddr,
        route: Route,
        servers: Servers,
        draining: Draining,
    ) -> Self {
        Self {
            client: client.clone(),
            listen,
            route,
            servers,
            forwards: Arc::new(Forwards::new(client.clone())),
            clock: Clock::start("rpclient"),
            draining,
        }
    }

    /// The same with the forwards that run.
    pub(super) fn forwards(mut self, forwards: Arc<Forwards>) -> Self {
        self.forwards = forwards;
        self
    }
}

impl Numbers for Commands {
    fn status(&self) -> Status {
        let link = self.client.link();
        let (state, reason, connections) = match link.status() {
            LinkStatus::Up(connection) => ("up", None, vec![ConnectionStatus::of(&connection)]),
            LinkStatus::Down(why) => ("connecting", Some(why), Vec::new()),
            LinkStatus::Asleep => ("asleep", None, Vec::new()),
        };
        let (traffic, counters) = (self.client.traffic(), self.client.counters());
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let state = match self.draining.is_on() {
            true => "draining",
            false => state,
        };
        Status {
            process: self.clock.process(),
            state: state.to_owned(),
            reason,
            listen: vec![self.listen.to_string()],
            total: Usage {
                streams: link.users() as u64,
                connected: get(&counters.connected),
                denied: get(&counters.denied),
                failed: get(&counters.failed),
                down_bytes: get(&traffic.received),
                up_bytes: get(&traffic.sent),
            },
            refusals: Refusals {
                front_end: get(&counters.refused),
                ..Refusals::default()
            },
            forwards: self.forwards.list(),
            servers: self.servers.health(),
            connection_count: connections.len() as u64,
            connections,
            ..Status::default()
        }
    }
}

impl Commands {
    async fn connect(&self, target: &str, route: Option<Route>) -> Result<Answer, Refusal> {
        if route.is_some_and(|route| route != self.route) {
            return Err(Refusal::new(
                "it has another server, host key, list of known hosts or identity",
            ));
        }
        let target = Target::parse(target, None);
        let target = target.map_err(|error| Refusal::new(error.to_string()))?;
        let stream = self.client.open(&target, Bytes::new()).await;
        let stream = stream.map_err(|error| Refusal::new(error.to_string()))?;
        let client = self.client.clone();
        Ok(Answer::TakeOver(
            Value::Null,
            Box::new(|caller, early| {
                Box::pin(async move { carry(stream, caller, early, client.counters()).await })
            }),
        ))
    }
}

impl Handler for Commands {
    async fn handle(&self, command: Command) -> Result<Answer, Refusal> {
        match command {
            Command::Status {} => Answer::reply(&self.status()),
            Command::Connect { target, route } => self.connect(&target, route).await,
            Command::ForwardAdd { flag, forward } => {
                Answer::reply(&self.forwards.add_typed(&flag, &forward).await?)
            }
            Command::ForwardRemove { flag, listen } => {
                Answer::reply(&self.forwards.remove_typed(&flag, &listen)?)
            }
            Command::ForwardList {} => Answer::reply(&self.forwards.list()),
        }
    }
}
