//! Our own programs, started as a user would start them.

use std::fs;

use super::{
    Implementation, Invocation, Kit, Progress, Ready, Recipe, Side, Task, download, kit::SOURCE,
};
use crate::tun::{FAR, NEAR};

/// `rpcp` pushes a file to `rpserver`.
#[derive(Debug)]
pub(super) struct Rpcp {
    name: &'static str,
    about: &'static str,
    policy: &'static str,
}

impl Rpcp {
    pub(super) const FAIR: Self = Self {
        name: "rpcp",
        about: "a file pushed to rpserver, from memory to memory, sealed, its digest checked before it takes its name; default settings, but for the memory of paths, which is off",
        policy: "fair",
    };
    pub(super) const LOW: Self = Self {
        name: "rpcp-low",
        about: "rpcp --policy low, which gives way to everybody",
        policy: "low",
    };
}

impl Implementation for Rpcp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn install(&self, kit: &Kit) -> anyhow::Result<()> {
        kit.programs().map(|_| ())
    }

    fn version(&self, kit: &Kit) -> anyhow::Result<String> {
        kit.said_by(&kit.programs()?.rpcp, &["--version"])
    }

    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe> {
        let (programs, keys) = (task.kit.programs()?, task.kit.keys()?);
        let served = task.folder.join("served");
        fs::create_dir(&served)?;
        let address = format!("{FAR}:{}", task.port);
        let server = Invocation::new(Side::Far, &programs.rpserver)
            .args(["--listen", &address])
            .arg("--key")
            .arg(&keys.host)
            .arg("--authorized-keys")
            .arg(&keys.authorized)
            .arg("--root")
            .arg(&served);
        let client = Invocation::new(Side::Near, &programs.rpcp)
            .args(["-q", "--policy", self.policy])
            .arg("-i")
            .arg(&keys.user)
            .args(["--host-key", &keys.fingerprint])
            // Repetitions are to be independent.
            .arg("--no-path-memory")
            .arg(task.source)
            .arg(format!("rp://{address}/"));
        Ok(Recipe {
            before: vec![(server, Ready::Port(task.port))],
            trigger: client,
            progress: Progress::File {
                folder: served,
                name: SOURCE,
            },
        })
    }
}

/// `curl`, unmodified, downloads through `rpclient`. The server stands at the near side, so that the data
/// goes the same way as everybody's.
#[derive(Debug)]
pub(super) struct Rpclient;

impl Implementation for Rpclient {
    fn name(&self) -> &'static str {
        "rpclient-curl"
    }

    fn about(&self) -> &'static str {
        "a file downloaded over HTTP by unmodified curl through rpclient and rpserver, whose connection is there before; default settings"
    }

    fn install(&self, kit: &Kit) -> anyhow::Result<()> {
        kit.debian("curl", "/usr/bin/curl")?;
        kit.programs().map(|_| ())
    }

    fn version(&self, kit: &Kit) -> anyhow::Result<String> {
        kit.said_by(&kit.programs()?.rpclient, &["--version"])
    }

    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe> {
        let (programs, keys) = (task.kit.programs()?, task.kit.keys()?);
        let (web, front_end) = download::ports(task);
        let address = format!("{NEAR}:{}", task.port);
        let server = Invocation::new(Side::Near, &programs.rpserver)
            .args(["--listen", &address])
            .arg("--key")
            .arg(&keys.host)
            .arg("--authorized-keys")
            .arg(&keys.authorized)
            // The targets of a real server are elsewhere; the lab's is on this machine.
            .args(["--allow", &format!("127.0.0.1:{web}")]);
        let client = Invocation::new(Side::Far, &programs.rpclient)
            .args(["--server", &address])
            .args(["--host-key", &keys.fingerprint])
            .arg("-i")
            .arg(&keys.user)
            .args(["--listen", &format!("127.0.0.1:{front_end}")])
            .arg("--no-path-memory");
        download::recipe(task, "http", server, client)
    }
}

/// The transport alone, by the lab's own ends (`peer::rpp`).
#[derive(Debug)]
pub(super) struct Transport;

impl Implementation for Transport {
    fn name(&self) -> &'static str {
        "rpp"
    }

    fn about(&self) -> &'static str {
        "our transport alone, from memory to memory, one stream read in any order; default settings"
    }

    fn install(&self, _kit: &Kit) -> anyhow::Result<()> {
        Ok(())
    }

    fn version(&self, _kit: &Kit) -> anyhow::Result<String> {
        Ok(format!("rapidpath {}", env!("CARGO_PKG_VERSION")))
    }

    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe> {
        let (port, bytes) = (task.port.to_string(), task.bytes.to_string());
        let receiver = Invocation::new(Side::Far, task.kit.lab())
            .args(["peer", "rpp-recv", "--port", &port, "--bytes", &bytes]);
        let to = format!("{FAR}:{port}");
        let sender =
            Invocation::new(Side::Near, task.kit.lab()).args(["peer", "rpp-send", &to, &bytes]);
        Ok(Recipe {
            before: vec![(receiver, Ready::Port(task.port))],
            trigger: sender,
            progress: Progress::Tally,
        })
    }
}
