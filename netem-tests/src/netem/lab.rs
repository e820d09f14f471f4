//! A router with `tc netem` between two namespaces. What netem is told is decided in `plan`.
//!
//! ```text
//! near  link0 ------ to-near  router  to-far ------ link0  far
//!                    netem: back      netem: forward
//! ```
//! The queues are on the router, so that a sender's kernel does not feel them but through the network.

use std::{
    io,
    net::Ipv4Addr,
    process::{Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::plan::{ETHERNET_HEADER_BYTES, Plan};
use crate::{
    carrier::Stop,
    link::LinkConfig,
    netns::{self, Namespace, join},
    tun::{FAR, NEAR},
};

/// The device's name on either side, as in `tun`.
const DEVICE: &str = "link0";

/// The router's devices.
const TO_NEAR: &str = "to-near";
const TO_FAR: &str = "to-far";

/// The router's address towards either side; nobody talks to it.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);

/// Fixed hardware addresses: with them nobody has to ask over the emulated link.
const NEAR_MAC: &str = "02:77:00:00:00:01";
const FAR_MAC: &str = "02:77:00:00:00:02";
const ROUTER_MAC: &str = "02:77:00:00:00:03";

/// What lets packets of many segments pass a device whole: of TCP, of UDP, of anything, and on arrival.
const OFFLOADS: [&str; 4] = ["tso", "tx-udp-segmentation", "gso", "gro"];

/// Why the running kernel's netem cannot be used, in words for the user; `None` if it can.
pub fn unavailable() -> Option<String> {
    if let Some(reason) = netns::no_namespaces() {
        return Some(reason.to_owned());
    }
    for (program, ask, package) in [
        ("tc", "-V", "iproute2"),
        ("ethtool", "--version", "ethtool"),
    ] {
        if run(program, &[ask]).is_err() {
            return Some(format!(
                "the program `{program}` is missing (package {package})"
            ));
        }
    }
    // Only trying tells: the module may be built in, loaded, loadable or absent.
    let tried = Namespace::create("probe").and_then(|probe| {
        let words = ["-n", probe.name(), "qdisc", "add", "dev", "lo", "root"];
        run("tc", &[&words[..], &["netem"]].concat())
    });
    tried
        .err()
        .map(|error| format!("this kernel has no sch_netem ({error})"))
}

/// What netem says of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct QdiscReport {
    /// Bytes it has let pass, Ethernet headers included.
    pub bytes: u64,
    /// Packets it has let pass.
    pub packets: u64,
    /// Packets it has lost, for whatever reason.
    pub drops: u64,
}

impl QdiscReport {
    /// Bytes without Ethernet headers, as a scenario counts.
    pub fn ip_bytes(&self) -> u64 {
        self.bytes
            .saturating_sub(ETHERNET_HEADER_BYTES * self.packets)
    }
}

/// Two namespaces joined by netem, which last as long as this value.
#[derive(Debug)]
pub struct NetemLab {
    near: Namespace,
    far: Namespace,
    router: Namespace,
    stop: Stop,
    steps: Option<JoinHandle<io::Result<()>>>,
}

impl NetemLab {
    /// Makes the namespaces and devices and starts the emulation. Leftovers of killed runs are removed first.
    pub fn start(forward: &LinkConfig, back: &LinkConfig) -> io::Result<Self> {
        if let Some(reason) = unavailable() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        netns::clean()?;
        let serial = netns::next_serial();
        let near = Namespace::create(&format!("{serial}-near"))?;
        let far = Namespace::create(&format!("{serial}-far"))?;
        let router = Namespace::create(&format!("{serial}-router"))?;
        join_by_cable(&router, TO_NEAR, &near, NEAR_MAC)?;
        join_by_cable(&router, TO_FAR, &far, FAR_MAC)?;
        give_routes(&near, &router, (NEAR, FAR), (TO_NEAR, NEAR_MAC))?;
        give_routes(&far, &router, (FAR, NEAR), (TO_FAR, FAR_MAC))?;
        router.set("net/ipv4/ip_forward", "1")?;
        let (forward, back) = (Plan::of(forward), Plan::of(back));
        for (device, plan) in [(TO_FAR, &forward), (TO_NEAR, &back)] {
            tc(router.name(), "add", device, &plan.qdisc)?;
        }
        let stop = Stop::default();
        let steps = follow_steps(&router, &forward, &back, stop.clone())?;
        Ok(Self {
            near,
            far,
            router,
            stop,
            steps,
        })
    }

    /// The side that sends data; its address is [`NEAR`].
    pub fn near(&self) -> &Namespace {
        &self.near
    }

    /// The side that receives data; its address is [`FAR`].
    pub fn far(&self) -> &Namespace {
        &self.far
    }

    /// What netem has counted, there and back.
    pub fn report(&self) -> io::Result<(QdiscReport, QdiscReport)> {
        let of = |device| {
            let words = ["-n", self.router.name(), "-s", "-j", "qdisc", "show", "dev"];
            let said = run("tc", &[&words[..], &[device, "root"]].concat())?;
            let all: Vec<QdiscReport> = serde_json::from_slice(&said)?;
            all.first()
                .copied()
                .ok_or_else(|| io::Error::other(format!("{device} has no qdisc")))
        };
        Ok((of(TO_FAR)?, of(TO_NEAR)?))
    }

    /// Ends the emulation; tells whether a step could not be made.
    pub fn stop(mut self) -> io::Result<()> {
        self.stop.request();
        self.steps.take().map_or(Ok(()), join)
    }
}

impl Drop for NetemLab {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.steps.take() {
            // Nobody is left to tell; `stop` is the way to learn of an error.
            let _ = join(thread);
        }
    }
}

/// A pair of virtual Ethernet devices between the router and a side.
fn join_by_cable(
    router: &Namespace,
    port: &str,
    side: &Namespace,
    side_mac: &str,
) -> io::Result<()> {
    router.ip(&[
        "link",
        "add",
        port,
        "address",
        ROUTER_MAC,
        "type",
        "veth",
        "peer",
        "name",
        DEVICE,
        "address",
        side_mac,
        "netns",
        side.name(),
    ])?;
    for (namespace, device) in [(router, port), (side, DEVICE)] {
        // Large packets are cut before they reach netem, so that loss is per packet as on a wire.
        for offload in OFFLOADS {
            let words = ["netns", "exec", namespace.name(), "ethtool", "-K", device];
            run("ip", &[&words[..], &[offload, "off"]].concat())?;
        }
        namespace.ip(&["link", "set", device, "addrgenmode", "none"])?;
        namespace.ip(&["link", "set", device, "up"])?;
    }
    Ok(())
}

/// Addresses and routes of one side, and the router's way to it.
fn give_routes(
    side: &Namespace,
    router: &Namespace,
    (own, peer): (Ipv4Addr, Ipv4Addr),
    (port, mac): (&str, &str),
) -> io::Result<()> {
    let (own, peer) = (own.to_string(), peer.to_string());
    let via = ROUTER.to_string();
    side.ip(&["addr", "add", &own, "dev", DEVICE])?;
    side.ip(&["neigh", "add", &via, "lladdr", ROUTER_MAC, "dev", DEVICE])?;
    side.ip(&["route", "add", &peer, "via", &via, "dev", DEVICE, "onlink"])?;
    router.ip(&["neigh", "add", &own, "lladdr", mac, "dev", port])?;
    router.ip(&["route", "add", &own, "dev", port])?;
    Ok(())
}

/// A thread that makes the changes of both directions in time; none if there are none.
fn follow_steps(
    router: &Namespace,
    forward: &Plan,
    back: &Plan,
    stop: Stop,
) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
    let mut all: Vec<(Duration, &'static str, Vec<String>)> = Vec::new();
    for (device, plan) in [(TO_FAR, forward), (TO_NEAR, back)] {
        let steps = plan.steps.iter().cloned();
        all.extend(steps.map(|(at, words)| (at, device, words)));
    }
    if all.is_empty() {
        return Ok(None);
    }
    all.sort_by_key(|step| step.0);
    let (epoch, name) = (Instant::now(), router.name().to_owned());
    let thread = std::thread::Builder::new()
        .name("netem-steps".to_owned())
        .spawn(move || {
            for (at, device, words) in all {
                while epoch.elapsed() < at {
                    if stop.is_requested() {
                        return Ok(());
                    }
                    let left = at.saturating_sub(epoch.elapsed());
                    std::thread::sleep(left.min(Duration::from_millis(20)));
                }
                tc(&name, "change", device, &words)?;
            }
            Ok(())
        })?;
    Ok(Some(thread))
}

fn tc(namespace: &str, verb: &str, device: &str, qdisc: &[String]) -> io::Result<()> {
    let mut words = vec!["-n", namespace, "qdisc", verb, "dev", device, "root"];
    words.extend(qdisc.iter().map(String::as_str));
    run("tc", &words).map(|_| ())
}

/// Runs a program of the system; a failure carries what it said.
fn run(program: &str, arguments: &[&str]) -> io::Result<Vec<u8>> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "`{program} {}` failed: {}",
        arguments.join(" "),
        said.trim()
    )))
}

#[cfg(test)]
mod tests;
