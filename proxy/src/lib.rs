//! The proxy: front ends that foreign clients speak to, streams of an RPP connection, and the exit
//! that dials targets. Knows no arguments and no terminal.
//!
//! - [`Client`]: near side, front ends -> streams over a [`Link`].
//! - [`Exit`]: far side, streams -> targets under a [`exit::policy::Policy`].

pub mod auth;
pub mod client;
mod closing;
pub mod datagram;
pub mod error;
mod eviction;
pub mod exit;
mod front;
#[doc(hidden)]
pub mod fuzz;
mod keep_alive;
pub mod link;
pub mod listening;
mod network;
pub mod open;
pub mod pace;
pub mod places;
pub mod ports;
pub mod relay;
pub mod shares;
mod socket;
pub mod socket_path;
pub mod target;
mod wire;

pub use client::{Client, ClientConfig};
pub use exit::{AccessCheck, Exit, ExitConfig, TargetAccess};
pub use front::transparent::{
    Capture, SELF_TEST, TransparentCounters, TransparentListener, self_test_answer,
};
pub use link::Link;
pub use socket::Socket;

/// The service a client asks for in the handshake.
pub const SERVICE: &str = "rpp-proxy/1";
