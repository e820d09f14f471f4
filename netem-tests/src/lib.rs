//! The laboratory: emulated links, the carriers that put them between real or virtual machines,
//! scenarios and reports. Development only; nothing of the product depends on it.

pub mod bulk;
mod carrier;
mod cgroup;
mod content;
pub mod cost;
pub mod demo;
pub mod flow;
pub mod grid;
pub mod host;
pub mod implementation;
pub mod instructions;
mod keys;
pub mod latency;
pub mod leftovers;
pub mod link;
pub mod loss;
pub mod micro;
pub mod netem;
pub mod netns;
pub mod peer;
mod process;
mod programs;
pub mod quantity;
pub mod queue;
pub mod record;
pub mod report;
pub mod scenario;
pub mod self_check;
pub mod share;
mod sysctl;
pub mod tcp;
pub mod trace;
pub mod tun;
pub mod udp_relay;
pub mod veth;
pub mod world;
