//! Set-ups between client and server: kernel TCP as it is, our proxy, a tunnel over quinn. Which programs
//! each needs is here; starting them is `implementation::stage`'s matter.
//!
//! The server stands at the near side and the client at the far one, so that answers travel in the
//! direction of everybody's data.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::OBJECTS;
use crate::{
    implementation::{self, Invocation, Kit, Ready, Recipe, Side},
    tun::NEAR,
};

/// Ports of the server, of the tunnel's end beside it, and of the tunnel's front end.
const SERVER: u16 = 7400;
const EXIT: u16 = 7401;
const FRONT_END: u16 = 7402;

/// What is between client and server.
#[derive(Debug)]
pub struct Setup {
    /// Stands in records and tables.
    pub name: &'static str,
    /// Its settings, in a sentence.
    pub about: &'static str,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// rpclient and rpserver.
    Rpp,
    /// Nothing; this congestion control.
    Tcp(&'static str),
    /// One connection of quinn's, a stream for each TCP connection.
    Quinn(&'static str),
}

/// Everything there is, in the order of tables.
pub const ALL: &[Setup] = &[
    Setup {
        name: "rpp",
        about: "CONNECT through rpclient and rpserver; everything over one RPP connection, default settings",
        kind: Kind::Rpp,
    },
    Setup {
        name: "tcp-bbr",
        about: "kernel TCP from end to end, BBR, buffers up to 256 MB; a bulk transfer is one more connection",
        kind: Kind::Tcp("bbr"),
    },
    Setup {
        name: "tcp-cubic",
        about: "kernel TCP from end to end, CUBIC, buffers up to 256 MB; a bulk transfer is one more connection",
        kind: Kind::Tcp("cubic"),
    },
    Setup {
        name: "quinn-bbr",
        about: "a tunnel over one QUIC connection by quinn, BBR, one stream for each TCP connection, windows of four bandwidth-delay products",
        kind: Kind::Quinn("bbr"),
    },
];

/// The set-up of that name.
pub fn find(name: &str) -> Option<&'static Setup> {
    ALL.iter().find(|setup| setup.name == name)
}

/// What the client is to do.
pub(super) struct Asking<'a> {
    pub(super) kit: &'a Kit,
    pub(super) window: u64,
    pub(super) seconds: f64,
    pub(super) head_start: Duration,
    pub(super) has_bulk: bool,
    pub(super) seed: u64,
    /// Where it writes what came back.
    pub(super) answers: &'a Path,
    /// Where our programs' event traces go.
    pub(super) traces: Option<PathBuf>,
}

impl Setup {
    /// Gets what is missing; says the version.
    pub(super) fn prepare(&self, kit: &Kit) -> anyhow::Result<String> {
        let name = match self.kind {
            Kind::Rpp => "rpcp",
            Kind::Tcp("bbr") => "tcp-bbr",
            Kind::Tcp(_) => "tcp-cubic",
            Kind::Quinn(_) => "quinn-bbr",
        };
        // The same programs as in the grid.
        let implementation = implementation::find(name).ok_or_else(|| {
            anyhow::anyhow!("there is no implementation {name} to take programs from")
        })?;
        implementation.install(kit)?;
        implementation.version(kit)
    }

    pub(super) fn recipe(&self, asking: &Asking<'_>) -> anyhow::Result<Recipe> {
        let kit = asking.kit;
        let port = SERVER.to_string();
        let mut server =
            Invocation::new(Side::Near, kit.lab()).args(["peer", "respond", "--port", &port]);
        if let Kind::Tcp(congestion) = self.kind {
            server = server.args(["--congestion", congestion]);
        }
        let mut before = vec![(server, Ready::Port(SERVER))];
        let (target, proxy) = match self.kind {
            Kind::Tcp(_) => (format!("{NEAR}:{SERVER}"), None),
            Kind::Rpp => {
                before.extend(proxy(kit, asking.traces.as_deref())?);
                (
                    format!("127.0.0.1:{SERVER}"),
                    Some(format!("127.0.0.1:{FRONT_END}")),
                )
            }
            Kind::Quinn(congestion) => {
                before.extend(tunnel(kit, congestion, asking.window));
                (format!("127.0.0.1:{FRONT_END}"), None)
            }
        };
        let mut client = Invocation::new(Side::Far, kit.lab())
            .args(["peer", "ask", &target, "--out"])
            .arg(asking.answers)
            .args(["--seconds", &asking.seconds.to_string()])
            .args(["--seed", &asking.seed.to_string()]);
        let head_start = asking.head_start.as_secs_f64().to_string();
        client = client.args(["--head-start", &head_start]);
        for (bytes, rate) in OBJECTS {
            client = client.args(["--object", &format!("{bytes}@{rate}")]);
        }
        if let Some(proxy) = proxy {
            client = client.args(["--proxy", &proxy]);
        }
        if asking.has_bulk {
            client = client.arg("--bulk");
        }
        Ok(Recipe::untold(before, client))
    }
}

fn proxy(kit: &Kit, traces: Option<&Path>) -> anyhow::Result<[(Invocation, Ready); 2]> {
    let (programs, keys) = (kit.programs()?, kit.keys()?);
    let address = format!("{NEAR}:{EXIT}");
    let mut exit = Invocation::new(Side::Near, &programs.rpserver)
        .args(["--listen", &address])
        .arg("--key")
        .arg(&keys.host)
        .arg("--authorized-keys")
        .arg(&keys.authorized)
        // The targets of a real server are elsewhere; the lab's is on this machine.
        .args(["--allow", &format!("127.0.0.1:{SERVER}")]);
    let mut front_end = Invocation::new(Side::Far, &programs.rpclient)
        .args(["--server", &address])
        .args(["--host-key", &keys.fingerprint])
        .arg("-i")
        .arg(&keys.user)
        .args(["--listen", &format!("127.0.0.1:{FRONT_END}")]);
    if let Some(traces) = traces {
        fs::create_dir_all(traces)?;
        exit = exit.arg("--trace").arg(traces);
        front_end = front_end.arg("--trace").arg(traces);
    }
    Ok([
        (exit, Ready::Port(EXIT)),
        (front_end, Ready::Port(FRONT_END)),
    ])
}

fn tunnel(kit: &Kit, congestion: &str, window: u64) -> [(Invocation, Ready); 2] {
    let program = kit.implementations_dir().join("release/quinn-peer");
    let window = window.min(u32::MAX.into()).to_string();
    let tuning = ["--congestion", congestion, "--window", &window];
    let exit = Invocation::new(Side::Near, &program)
        .args(["exit", "--port", &EXIT.to_string()])
        .arg(format!("127.0.0.1:{SERVER}"))
        .args(tuning);
    let front_end = Invocation::new(Side::Far, &program)
        .args(["front", "--port", &FRONT_END.to_string()])
        .arg(format!("{NEAR}:{EXIT}"))
        .args(tuning);
    [
        (exit, Ready::Port(EXIT)),
        (front_end, Ready::Port(FRONT_END)),
    ]
}
