//! The laboratory: emulated links, the carriers that put them between real or virtual machines,
//! scenarios and reports. Development only; nothing of the product depends on it.

pub mod bulk;
mod carrier;
pub mod demo;
pub mod flow;
pub mod host;
pub mod link;
pub mod loss;
pub mod netem;
pub mod netns;
mod process;
pub mod quantity;
pub mod queue;
pub mod record;
pub mod report;
pub mod scenario;
pub mod self_check;
pub mod tcp;
pub mod tun;
pub mod udp_relay;
pub mod world;
