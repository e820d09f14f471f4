//! As whom the running `rpclient` runs, by its listener in the kernel's tables of sockets, and what
//! this process may do.

use std::{fs, net::IpAddr, net::SocketAddr};

/// The state of a listening socket in `/proc/net/tcp` (TCP_LISTEN).
const LISTENING: &str = "0A";

/// Bits of capabilities in `/proc/self/status` (linux/capability.h).
const CAP_NET_ADMIN: u32 = 12;

/// The user who listens at `address`, `None` if nobody does.
pub(super) fn listener(address: SocketAddr) -> Option<u32> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|table| find(&table, address))
}

/// The user of the listener at `address` in a table of sockets.
fn find(table: &str, address: SocketAddr) -> Option<u32> {
    let local = hex(address);
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [_, found, _, LISTENING, _, _, _, user, ..] if found == local => user.parse().ok(),
            _ => None,
        }
    })
}

/// An address as the kernel prints it: its words in the machine's byte order.
fn hex(address: SocketAddr) -> String {
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().expect("four bytes");
        format!("{:08X}", u32::from_ne_bytes(bytes))
    };
    let ip: String = match address.ip() {
        IpAddr::V4(ip) => word(&ip.octets()),
        IpAddr::V6(ip) => ip.octets().chunks(4).map(word).collect(),
    };
    format!("{ip}:{:04X}", address.port())
}

/// Whether `user` is one of a service and not of a person: a loop guard by such a user takes nothing
/// from anybody else. The ranges are Debian's and, for `DynamicUser=`, systemd's.
pub(super) fn is_system_user(user: u32) -> bool {
    matches!(user, 1..=999 | 61184..=65519)
}

/// Whether this process may change netfilter's rules and routes.
pub(super) fn may_configure() -> bool {
    // Where the kernel does not say, the programs will.
    fs::read_to_string("/proc/self/status").map_or(true, |status| has(&status, CAP_NET_ADMIN))
}

/// Whether a process with this `/proc/PID/status` has a capability.
fn has(status: &str, capability: u32) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_none_or(|set| set >> capability & 1 == 1)
}

#[cfg(test)]
mod tests;
