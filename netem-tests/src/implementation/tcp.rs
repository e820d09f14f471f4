//! Kernel TCP, one connection or several, by the lab's own ends (`peer`).

use anyhow::ensure;

use super::{Implementation, Invocation, Kit, Progress, Ready, Recipe, Side, Task};
use crate::{tcp::available, tun::FAR};

/// A congestion control, a number of connections, and whose buffers.
#[derive(Debug)]
pub(super) struct Tcp {
    name: &'static str,
    about: &'static str,
    congestion: &'static str,
    flows: usize,
}

impl Tcp {
    pub(super) const CUBIC: Self = Self {
        name: "tcp-cubic",
        about: "kernel TCP, CUBIC, buffers up to 256 MB",
        congestion: "cubic",
        flows: 1,
    };
    pub(super) const BBR: Self = Self {
        name: "tcp-bbr",
        about: "kernel TCP, BBR, buffers up to 256 MB",
        congestion: "bbr",
        flows: 1,
    };
    pub(super) const CUBIC_X16: Self = Self {
        name: "tcp-cubic-x16",
        about: "16 parallel connections of kernel TCP, CUBIC, each taking the next 256 KB when it has room, as download managers do",
        flows: 16,
        ..Self::CUBIC
    };
    pub(super) const BBR_X16: Self = Self {
        name: "tcp-bbr-x16",
        about: "16 parallel connections of kernel TCP, BBR, each taking the next 256 KB when it has room, as download managers do",
        flows: 16,
        ..Self::BBR
    };
    pub(super) const CUBIC_DEFAULT: Self = Self {
        name: "tcp-cubic-default-buffers",
        about: "kernel TCP, CUBIC, the system's own buffer limits",
        ..Self::CUBIC
    };
    pub(super) const BBR_DEFAULT: Self = Self {
        name: "tcp-bbr-default-buffers",
        about: "kernel TCP, BBR, the system's own buffer limits",
        ..Self::BBR
    };
}

impl Implementation for Tcp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn has_default_buffers(&self) -> bool {
        self.name.ends_with("-default-buffers")
    }

    fn install(&self, _kit: &Kit) -> anyhow::Result<()> {
        ensure!(
            available().iter().any(|name| name == self.congestion),
            "this kernel does not have {} (modprobe tcp_{})",
            self.congestion,
            self.congestion
        );
        Ok(())
    }

    fn version(&self, _kit: &Kit) -> anyhow::Result<String> {
        let release = rustix::system::uname();
        Ok(format!("Linux {}", release.release().to_string_lossy()))
    }

    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe> {
        let (port, flows) = (task.port.to_string(), self.flows.to_string());
        let bytes = task.bytes.to_string();
        let receiver = Invocation::new(Side::Far, task.kit.lab())
            .args(["peer", "recv", "--port", &port])
            .args(["--bytes", &bytes, "--flows", &flows]);
        let sender = Invocation::new(Side::Near, task.kit.lab())
            .args(["peer", "send", &format!("{FAR}:{port}"), &bytes])
            .args(["--flows", &flows, "--congestion", self.congestion]);
        Ok(Recipe {
            before: vec![(receiver, Ready::Port(task.port))],
            trigger: sender,
            progress: Progress::Tally,
        })
    }
}
