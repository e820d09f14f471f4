//! Where a row is measured: servers behind the far end of the link, the client before its near end, and the
//! pair `rpclient` and `rpserver` between them, or nothing. Made for one measurement and gone with it.
//!
//! ```text
//! lan -- 10.88.0.0/24, fd88::/64 -- near ==== 100 Mbit/s, loss ==== far (203.0.113.10, 2001:db8:113::10)
//! ```
//!
//! Scripts have the variables `HOST` and `HOST6` (the servers' addresses), `PROXY`, `PROXY_HOST` and
//! `PROXY_PORT` (of `rpclient`), `CONNECT` (the command that joins its input and output to a target),
//! `FILE` (the name of what is served), `SERVED` (the servers' folder), `GOT` (the client's), and run in a
//! folder of their own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rp_protocol::units::Bandwidth;

use super::row::{FILE, Row, Server, Through};
use crate::{
    content::digest_of_file,
    implementation::{Invocation, Kit, Ready, Recipe, Side, Stage},
    link::LinkConfig,
    loss::Loss,
    netns::{Namespace, next_serial},
    scenario::Scenario,
    tcp::enlarge_windows_of,
    tun::{FAR, NEAR},
};

/// The servers' addresses, which are the far side's own.
const HOST: &str = "203.0.113.10";
const HOST6: &str = "2001:db8:113::10";

/// Where `rpserver` listens.
const SERVER_PORT: u16 = 7377;

/// Where `rpclient` does, for clients with a setting and without.
const PROXY_PORT: u16 = 1080;
const REDIRECT: &str = ":1081";
const TPROXY: &str = "127.0.0.1:1082,[::1]:1082";

/// The congestion control of everybody's TCP.
const CONGESTION: &str = "cubic";

/// Payload of a full packet of TCP, by its IP bytes.
const PAYLOAD: f64 = 1448.0 / 1500.0;

/// The link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) rate: Bandwidth,
    pub(crate) loss: f64,
    pub(crate) seed: u64,
}

/// What a client made of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measured {
    /// From the client's start to its end, or to the limit.
    pub(crate) elapsed: Duration,
    /// Of the file that was to arrive; what the link delivered of it if the limit came first.
    pub(crate) bytes: u64,
    /// Absent if the limit came first.
    pub(crate) is_equal: Option<bool>,
}

/// The two sides for one measurement.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    row: &'a Row,
    kit: &'a Kit,
    is_proxied: bool,
    served: PathBuf,
    got: PathBuf,
    lan: Option<Namespace>,
    stage: Stage,
}

impl<'a> Site<'a> {
    /// Makes link, addresses and folders.
    pub(crate) fn make(
        row: &'a Row,
        kit: &'a Kit,
        link: Link,
        is_proxied: bool,
    ) -> anyhow::Result<Self> {
        let scenario = scenario(row, link);
        let stage = Stage::set(kit, &scenario, link.seed, false)?;
        stage.use_congestion(CONGESTION)?;
        let folder = stage.folder();
        // Some servers run as users of their own.
        for path in [kit.folder(), folder] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o711))?;
        }
        let (served, got) = (folder.join("served"), folder.join("got"));
        for path in [&served, &got] {
            fs::create_dir(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        let bytes = if is_proxied {
            row.bytes
        } else {
            row.plain_bytes
        };
        let (source, _) = kit.source(bytes)?;
        fs::hard_link(source, served.join(FILE))?;
        let lan = match row.through {
            Through::Gateway => Some(Namespace::create(&format!("{}-lan", next_serial()))?),
            _ => None,
        };
        let site = Self {
            row,
            kit,
            is_proxied,
            served,
            got,
            lan,
            stage,
        };
        site.address()?;
        Ok(site)
    }

    fn address(&self) -> anyhow::Result<()> {
        let (near, far) = (self.stage.lab().near(), self.stage.lab().far());
        ip(near, &["addr add fd77::1/64 dev link0 nodad"])?;
        ip(far, &["addr add fd77::2/64 dev link0 nodad"])?;
        for side in [near, far] {
            ip(side, &["route add default dev link0"])?;
            ip(side, &["-6 route add default dev link0"])?;
        }
        let own = [HOST, HOST6].map(|address| format!("addr add {address} dev lo"));
        ip(far, &own.each_ref().map(String::as_str))?;
        match &self.lan {
            Some(lan) => join(lan, near),
            None => Ok(()),
        }
    }

    /// Starts the servers and the pair, and the client when they are ready; waits for its end or the limit.
    pub(crate) fn measure(self, limit: Duration) -> anyhow::Result<Measured> {
        if !self.row.site.is_empty() {
            self.run(self.stage.lab().far(), &self.served, self.row.site)
                .context("what is served could not be made")?;
        }
        let mut before = Vec::new();
        for server in self.row.servers {
            before.push((self.server(server)?, Ready::Port(server.port)));
        }
        if self.is_proxied {
            before.push((self.rpserver()?, Ready::Port(SERVER_PORT)));
            before.push((self.rpclient()?, Ready::Port(PROXY_PORT)));
        }
        let recipe = Recipe::untold(before, self.client());
        let mut run = self.stage.begin(&recipe, "0")?;
        if self.is_proxied {
            self.divert()?;
        }
        let has_helper = matches!(self.row.through, Through::Helper(_));
        if !self.row.before.is_empty() && (self.is_proxied || !has_helper) {
            self.run(self.stage.lab().near(), &self.got, self.row.before)
                .context("what goes before the client failed")?;
        }
        let began = Instant::now();
        run.start(&self.stage, &recipe)?;
        let ended = run.wait(limit);
        let elapsed = began.elapsed();
        if ended.is_err() && elapsed >= limit {
            let delivered = self.stage.lab().report().back.delivered_bytes;
            return Ok(Measured {
                elapsed,
                bytes: payload(delivered),
                is_equal: None,
            });
        }
        ended?;
        let (got, bytes) = digest_of_file(&self.got.join(self.row.got))
            .with_context(|| format!("the client left no {}", self.row.got))?;
        let (served, _) = digest_of_file(&self.served.join(self.row.served))?;
        Ok(Measured {
            elapsed,
            bytes,
            is_equal: Some(got == served),
        })
    }

    /// What the scripts are told. Nobody answers a question for a name here.
    fn variables(&self) -> String {
        let rpclient = match self.kit.programs() {
            Ok(programs) if self.is_proxied => programs.rpclient.display().to_string(),
            _ => "false".to_owned(),
        };
        let (served, got) = (self.served.display(), self.got.display());
        let control = self.control();
        let control = control.display();
        format!(
            "export HOST={HOST} HOST6={HOST6} PROXY_HOST=127.0.0.1 PROXY_PORT={PROXY_PORT} \
             PROXY=127.0.0.1:{PROXY_PORT} FILE={FILE} SERVED='{served}' GOT='{got}' \
             CONNECT='{rpclient} connect --control {control}' RES_OPTIONS='timeout:1 attempts:1'\n"
        )
    }

    fn control(&self) -> PathBuf {
        self.stage.folder().join("control")
    }

    fn shell(&self, side: Side, folder: &Path, script: &str) -> Invocation {
        let text = format!(
            "{}mkdir -p '{folder}' && cd '{folder}'\n{script}\n",
            self.variables(),
            folder = folder.display()
        );
        Invocation::new(side, "sh").args(["-euc", &text])
    }

    fn server(&self, server: &Server) -> anyhow::Result<Invocation> {
        let folder = self.stage.folder().join(format!("server-{}", server.port));
        let script = format!("{}\n{}", server.prepare, server.run);
        Ok(self.shell(Side::Far, &folder, &script))
    }

    /// At the gateway's far side, if there is one.
    fn client(&self) -> Invocation {
        let script = self.row.script(self.is_proxied);
        let shell = self.shell(Side::Near, &self.got, &script);
        match &self.lan {
            Some(lan) => shell.inside(lan),
            None => shell,
        }
    }

    /// Runs a script to its end.
    fn run(&self, inside: &Namespace, folder: &Path, script: &str) -> anyhow::Result<()> {
        let text = format!("{}cd '{}'\n{script}", self.variables(), folder.display());
        let mut command = inside.command("sh");
        command
            .args(["-euc", &text])
            .env("HOME", self.stage.folder());
        succeed(&mut command)
    }

    fn rpserver(&self) -> anyhow::Result<Invocation> {
        let (programs, keys) = (self.kit.programs()?, self.kit.keys()?);
        Ok(Invocation::new(Side::Far, &programs.rpserver)
            .args(["--listen", &format!("{FAR}:{SERVER_PORT}")])
            .arg("--key")
            .arg(&keys.host)
            .arg("--authorized-keys")
            .arg(&keys.authorized)
            .args(["--control", "off"])
            // Addresses for documentation, and the machine's own: a real server's targets are neither.
            .args(["--allow", HOST, "--allow", HOST6])
            // Where an FTP server connects to in active mode.
            .args(["--permit-listen", "*:1024-65535"]))
    }

    fn rpclient(&self) -> anyhow::Result<Invocation> {
        let client = Invocation::new(Side::Near, &self.kit.programs()?.rpclient);
        Ok(self
            .settings(client)?
            .args(["--listen", &format!("127.0.0.1:{PROXY_PORT}")])
            .arg("--no-path-memory")
            .args(self.row.rpclient.iter().copied()))
    }

    /// What `rpclient` and its set-up must both know.
    fn settings(&self, program: Invocation) -> anyhow::Result<Invocation> {
        let keys = self.kit.keys()?;
        let diversion = match self.row.through {
            Through::Setting(_) | Through::Helper(_) => &[][..],
            Through::Host => &["--transparent", REDIRECT],
            Through::Gateway => &["--tproxy", TPROXY],
        };
        Ok(program
            .args(["--server", &format!("{FAR}:{SERVER_PORT}")])
            .args(["--host-key", &keys.fingerprint])
            .arg("-i")
            .arg(&keys.user)
            .arg("--control")
            .arg(self.control())
            .args(diversion.iter().copied()))
    }

    /// Has the kernel divert, if the client has no setting.
    fn divert(&self) -> anyhow::Result<()> {
        let lan: &[&str] = match self.row.through {
            Through::Setting(_) | Through::Helper(_) => return Ok(()),
            Through::Host => &[],
            Through::Gateway => &["--lan", "lan0"],
        };
        let rpclient = Invocation::new(Side::Near, &self.kit.programs()?.rpclient);
        let setup = self
            .settings(rpclient.arg("tproxy-setup"))?
            .args(lan.iter().copied());
        let mut command = setup.command(self.stage.lab().near());
        command.env("HOME", self.stage.folder());
        succeed(&mut command).context("tproxy-setup")
    }
}

/// Runs `ip` inside, once for each line.
fn ip(inside: &Namespace, lines: &[&str]) -> anyhow::Result<()> {
    for line in lines {
        inside.ip(&line.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Makes `near` the gateway of `lan`. Both have link-local addresses there: a gateway without one cannot ask
/// for its neighbours.
fn join(lan: &Namespace, near: &Namespace) -> anyhow::Result<()> {
    let pair = format!(
        "link add lan0 type veth peer name eth0 netns {}",
        lan.name()
    );
    ip(
        near,
        &[
            &pair,
            "addr add 10.88.0.1/24 dev lan0",
            "addr add fd88::1/64 dev lan0 nodad",
            "link set lan0 up",
        ],
    )?;
    ip(
        lan,
        &[
            "addr add 10.88.0.2/24 dev eth0",
            "addr add fd88::2/64 dev eth0 nodad",
            "link set eth0 up",
            "route add default via 10.88.0.1",
            "-6 route add default via fd88::1",
        ],
    )?;
    near.set("net/ipv4/ip_forward", "1")?;
    near.set("net/ipv6/conf/all/forwarding", "1")?;
    lan.set("net/ipv4/tcp_congestion_control", CONGESTION)?;
    enlarge_windows_of(lan)?;
    Ok(())
}

fn scenario(row: &Row, link: Link) -> Scenario {
    let link = LinkConfig::new(link.rate, Duration::from_millis(row.round_trip_ms) / 2)
        .loss(Loss::bernoulli(link.loss))
        .mtu(1500);
    Scenario {
        name: "clients".to_owned(),
        about: format!("between {NEAR}, where the clients are, and {FAR}, where the servers are"),
        forward: link.clone(),
        back: link,
        cross: Vec::new(),
        budget: None,
    }
}

/// What TCP carried in so many IP bytes, most of them full packets.
fn payload(ip_bytes: u64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "float-to-integer casts saturate, and both factors are positive"
    )]
    let bytes = (ip_bytes as f64 * PAYLOAD) as u64;
    bytes
}

/// Runs a command that must succeed; the error is what it said last.
fn succeed(command: &mut std::process::Command) -> anyhow::Result<()> {
    let output = command.stdin(std::process::Stdio::null()).output()?;
    let both = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&both);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        last.unwrap_or("said nothing")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cut_off_client_has_is_what_the_link_delivered_without_headers() {
        assert_eq!(payload(0), 0);
        assert_eq!(payload(1_500_000), 1_448_000);
    }
}
