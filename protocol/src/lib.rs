//! RPP, the Rapid Path Protocol: a sealed, rate-based, multi-stream transport over UDP, for big data on long and lossy
//! networks.
//!
//! An [`Endpoint`] is one UDP socket with any number of connections over it. A [`Connection`] joins two endpoints that
//! have proven their keys to each other; it carries streams, which are reliable and independent of each other, and
//! datagrams, which are neither. What the sealed bytes look like and why is written down sentence by sentence in
//! the folder `spec/`; the code quotes the sentence it obeys.
//!
//! # A server and a client
//!
//! ```
//! use std::{error::Error, net::Ipv4Addr, sync::Arc};
//!
//! use bytes::Bytes;
//! use rp_protocol::{
//!     Endpoint,
//!     config::{ClientConfig, EndpointConfig, ServerConfig},
//!     crypto::{
//!         identity::Identity,
//!         trust::{AcceptAnyKey, PinnedKeys},
//!     },
//!     units::CloseCode,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
//! let any_port = (Ipv4Addr::LOCALHOST, 0).into();
//! let identity = Arc::new(Identity::generate()?);
//! let host_key = identity.public_key();
//!
//! // This server lets everybody in; `connection.peer()` would tell who it is.
//! let config = ServerConfig::new(identity, Arc::new(AcceptAnyKey), &["echo/1"]);
//! let server = Endpoint::bind(any_port, EndpointConfig::default(), Some(config))?;
//! let address = server.local_addr()?;
//! tokio::spawn(async move {
//!     let connection = server.accept().await.ok_or("closed")?.accept().await?;
//!     let (mut to_client, mut from_client) = connection.accept_bi().await?;
//!     while let Some(bytes) = from_client.read_bytes(1 << 16).await? {
//!         to_client.write_bytes(bytes).await?;
//!     }
//!     to_client.finish()?;
//!     connection.closed().await;
//!     Ok::<(), Box<dyn Error + Send + Sync>>(())
//! });
//!
//! // This client knows its server by its key, and is itself nobody in particular.
//! let trusted = Arc::new(PinnedKeys::one(host_key));
//! let config = ClientConfig::new(Arc::new(Identity::generate()?), trusted, "echo/1");
//! let client = Endpoint::bind(any_port, EndpointConfig::default(), None)?;
//! let connection = client.connect(address, config).await?;
//! let (mut to_server, mut from_server) = connection.open_bi().await?;
//! to_server.write_bytes(Bytes::from_static(b"hello")).await?;
//! to_server.finish()?;
//! assert_eq!(from_server.read_bytes(1 << 16).await?.as_deref(), Some(&b"hello"[..]));
//! assert_eq!(from_server.read_bytes(1 << 16).await?, None, "the end");
//! connection.close(CloseCode::from_u32(0), b"done");
//! client.wait_idle().await;
//! # Ok(())
//! # }
//! ```
//!
//! The same as two programs: `cargo run --example echo_server` and `echo_client`.
//!
//! # What to know
//!
//! - **Trust** is the application's: each side says by a [`PeerVerifier`](crypto::identity::PeerVerifier) whose key it
//!   takes. [`crypto::trust`] has the two simple ones.
//! - **The rate** follows the path without being told. [`config::Policy`] chooses how it meets other traffic,
//!   [`TransportConfig::max_rate`](config::TransportConfig::max_rate) bounds it, and both can be changed on a running
//!   connection.
//! - **Streams** cost nothing until they are used. A reader that does not read holds up its own stream alone; what may
//!   wait for readers is bounded per stream, per connection and by
//!   [`EndpointConfig::receive_budget`](config::EndpointConfig::receive_budget).
//! - **Dropping** a [`SendStream`] before [`finish`](SendStream::finish) resets it, so that cut data never looks whole. Dropping
//!   the last handle of a connection closes it; await [`Connection::flushed`] where the last words count.
//! - **Addresses** may change under a connection: the server follows its client to another port or network.
//! - **What happens** is told by [`Connection::stats`] in numbers, and event by event to a [`trace::Tracer`].
//!
//! # Without tokio
//!
//! The whole protocol is a pure state machine, [`engine`]: datagrams, time and what the application asks for go in,
//! datagrams, events and the next deadline come out. It opens no socket, starts no task and reads no clock. The `driver`, on by
//! default as the feature of that name, is the thin layer that gives it these on tokio.
//! `examples/sans_io.rs` joins two engines without any network.

// The two-engine harness of `tests/pair` serves unit tests as well, and names the crate as they do.
#[cfg(test)]
extern crate self as rp_protocol;

#[doc(hidden)]
pub mod bench;
pub mod config;
pub mod congestion;
pub mod connection;
pub mod crypto;
#[cfg(feature = "driver")]
pub mod driver;
pub mod endpoint;
pub mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod path;
pub mod stats;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod units;
pub mod wire;

/// The sans-I/O core: bytes, events and `now` in; bytes, events and a deadline out.
pub mod engine {
    pub use crate::{
        connection::{Connection, Datagram, EndpointEvent, Event, Output, Transmit},
        endpoint::{ConnectionHandle, Endpoint, EndpointStats, Incoming, Routed},
        stats::Stats,
        stream::StreamEvent,
    };
}

#[cfg(feature = "driver")]
pub use driver::{
    Connection, Endpoint, EndpointStats, Incoming, RateLimit, RateLimits, RecvStream, SendStream,
};
