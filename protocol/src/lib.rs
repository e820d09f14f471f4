//! RPP, the Rapid Path Protocol: a sealed, rate-based, multi-stream transport over UDP.

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
