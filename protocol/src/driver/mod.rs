//! The tokio skin over the pure engine: sockets, tasks, timers and async streams, and nothing else.
//! No rule of the protocol lives here; the engine decides what is sent, when, and what it means.
//!
//! Inbound: one task per endpoint receives in batches (`receive`), the engine's endpoint routes each
//! datagram, and each connection's share of a batch goes into that connection's inbox at once. One task
//! per connection (`task`) takes the inbox, locks its engine once, hands everything in, and wakes the
//! streams that have news. Outbound: an application's write goes into the engine under the same lock and
//! wakes the task, which polls the engine for batches and hands them to the socket outside the lock.
//! When nothing is due the task sleeps on one timer; an idle connection costs no wake-ups.
//! Changing threads costs more than a packet does, so nobody is told what he does not wait for: sending wakes
//! nobody (`socket`), and packets that arrive one by one are coalesced (`moderation`).

mod buffer_pool;
mod clock;
mod connection;
mod endpoint;
mod endpoint_state;
mod instance;
mod io_error;
mod moderation;
mod rate_limit;
mod receive;
mod recv_stream;
mod send_stream;
mod shared;
mod socket;
mod task;

pub use connection::Connection;
pub use endpoint::{Endpoint, EndpointStats, Incoming};
pub use rate_limit::{RateLimit, RateLimits};
pub use recv_stream::RecvStream;
pub use send_stream::SendStream;
