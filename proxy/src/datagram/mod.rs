//! UDP through the proxy (`spec/10-proxy.md#udp`).
//!
//! - [`message`]: a datagram as bytes
//! - `queue`: what waits, and how much of it; `router`: a connection's datagrams, their associations and turns
//! - `carrier`: the halves of an association that both sides have
//! - [`Association`]: the near side of one; [`LastingAssociation`]: one after the other
//! - [`Flows`]: one for each local source, for redirected datagrams; [`forward()`]: a local port with flows;
//!   `backward`: a port of the exit with flows
//!
//! The far side is `exit::datagram`, what SOCKS5 clients speak `front::socks5_udp`.

pub mod association;
mod backward;
pub(crate) mod carrier;
pub mod flows;
pub mod forward;
pub mod lasting;
pub mod message;
pub(crate) mod queue;
pub(crate) mod router;
pub(crate) mod socket;

pub use association::{Association, AssociationEnd};
pub use flows::Flows;
pub use forward::{DatagramPorts, forward};
pub use lasting::LastingAssociation;
pub use message::Datagram;
