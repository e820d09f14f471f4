//! The hosts that tutorials speak of, and the cables between them:
//!
//! ```text
//! pc -- 192.168.7.0/24 -- client -- 198.51.100.0/24 -- server -- 10.20.0.0/24 -- target
//! ```
//!
//! `server.example` is known everywhere; the names of the target are known at the server and the target.
//! Nobody forwards packets, so the target can be reached from the client's side through the server only.

use std::{collections::BTreeSet, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};

use super::{host::Host, page::HostName};

/// What a host's interfaces need at the most.
const LIMIT: Duration = Duration::from_secs(10);

/// The hosts in the order of the cables.
const ROW: [HostName; 4] = [
    HostName::Pc,
    HostName::Client,
    HostName::Server,
    HostName::Target,
];

/// Of each cable: interface and address of its left end, and of its right end.
const CABLES: [[(&str, &str); 2]; 3] = [
    [("eth0", "192.168.7.2/24"), ("lan0", "192.168.7.1/24")],
    [("eth0", "198.51.100.1/24"), ("eth0", "198.51.100.2/24")],
    [("lan0", "10.20.0.1/24"), ("eth0", "10.20.0.10/24")],
];

/// Where packets go that are for none of these networks.
const GATEWAYS: [&str; 4] = ["192.168.7.1", "198.51.100.2", "198.51.100.1", "10.20.0.1"];

/// What every host knows.
const PUBLIC_NAMES: &str = "198.51.100.2 server.example\n";

/// What the server's network knows besides.
const INSIDE_NAMES: &str = "10.20.0.10 www.inside.example ftp.inside.example git.inside.example \
     files.inside.example db.inside.example registry.inside.example deb.inside.example\n";

/// Running hosts, in the order of `ROW`.
#[derive(Debug)]
pub(super) struct Network {
    hosts: Vec<(HostName, Host)>,
}

impl Network {
    /// Starts the hosts that are needed for those in `wanted`, which lie in a row.
    pub(super) fn start(
        wanted: &BTreeSet<HostName>,
        folder: &Path,
        programs: &Path,
    ) -> anyhow::Result<Self> {
        let is_wanted = |name: &HostName| wanted.contains(name);
        let mut hosts = Vec::new();
        for name in ROW.into_iter().filter(is_wanted) {
            hosts.push((name, Host::start(name.text(), folder, programs)?));
        }
        let network = Self { hosts };
        for (at, cable) in CABLES.iter().enumerate() {
            if is_wanted(&ROW[at]) && is_wanted(&ROW[at + 1]) {
                network.connect(ROW[at], ROW[at + 1], cable)?;
            }
        }
        for (at, name) in ROW
            .into_iter()
            .enumerate()
            .filter(|(_, name)| is_wanted(name))
        {
            let inside = if at < 2 { "" } else { INSIDE_NAMES };
            let script = format!(
                "ip route add default via {} || true\n\
                 printf '127.0.0.1 localhost %s\\n{PUBLIC_NAMES}{inside}' $(hostname) >/etc/hosts\n",
                GATEWAYS[at]
            );
            let (status, said) = network.host(name).run(&script, true, LIMIT)?;
            ensure!(status.is_some_and(|status| status.success()), "{said}");
        }
        Ok(network)
    }

    /// The host of that name.
    pub(super) fn host(&self, name: HostName) -> &Host {
        let found = self.hosts.iter().find(|(of, _)| *of == name);
        &found.expect("the hosts of all blocks are started").1
    }

    fn connect(
        &self,
        left: HostName,
        right: HostName,
        cable: &[(&str, &str); 2],
    ) -> anyhow::Result<()> {
        let (left, right) = (self.host(left).inside()?, self.host(right).inside()?);
        let [(left_device, left_address), (right_device, right_address)] = cable;
        let right_inside = right.to_string();
        ip(
            left,
            &[
                "link",
                "add",
                left_device,
                "type",
                "veth",
                "peer",
                "name",
                right_device,
                "netns",
                &right_inside,
            ],
        )?;
        for (inside, device, address) in [
            (left, left_device, left_address),
            (right, right_device, right_address),
        ] {
            ip(inside, &["addr", "add", address, "dev", device])?;
            ip(inside, &["link", "set", device, "up"])?;
        }
        Ok(())
    }
}

/// Runs `ip` in the network of a process; process ids mean what they mean here.
fn ip(inside: u32, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("nsenter")
        .arg(format!("--net=/proc/{inside}/ns/net"))
        .arg("ip")
        .args(arguments)
        .output()
        .context("cannot run nsenter (Debian package util-linux)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ip {}: {said}",
        arguments.join(" ")
    );
    Ok(())
}
