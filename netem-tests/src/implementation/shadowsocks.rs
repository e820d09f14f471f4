//! shadowsocks-rust, built from the package registry.

use std::path::PathBuf;

use super::{Implementation, Invocation, Kit, Recipe, Side, Task, download, kit::Registered};
use crate::tun::NEAR;

/// `curl`, unmodified, downloads through `sslocal` and `ssserver`; the data goes from near to far.
#[derive(Debug)]
pub(super) struct Shadowsocks;

const PACKAGE: Registered = Registered {
    name: "shadowsocks-rust",
    version: "1.25.0",
    program: "sslocal",
    features: Some("local,server,multi-threaded,aead-cipher"),
};

/// The cipher that its own documentation names first, and some password.
const CIPHER: [&str; 4] = ["-m", "aes-256-gcm", "-k", "lab"];

impl Shadowsocks {
    fn program(kit: &Kit, name: &str) -> PathBuf {
        kit.registered(&PACKAGE).with_file_name(name)
    }
}

impl Implementation for Shadowsocks {
    fn name(&self) -> &'static str {
        "shadowsocks-rust"
    }

    fn about(&self) -> &'static str {
        "a file downloaded over HTTP by unmodified curl through sslocal (SOCKS5) and ssserver, aes-256-gcm, which is kernel TCP (CUBIC, buffers up to 256 MB) between them"
    }

    fn congestion(&self) -> Option<&'static str> {
        Some("cubic")
    }

    fn install(&self, kit: &Kit) -> anyhow::Result<()> {
        kit.debian("curl", "/usr/bin/curl")?;
        kit.registry(&PACKAGE)
    }

    fn version(&self, kit: &Kit) -> anyhow::Result<String> {
        kit.said_by(kit.registered(&PACKAGE), &["--version"])
    }

    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe> {
        let (_, front_end) = download::ports(task);
        let address = format!("{NEAR}:{}", task.port);
        let server = Invocation::new(Side::Near, Self::program(task.kit, "ssserver"))
            .args(["-s", &address])
            .args(CIPHER);
        let client = Invocation::new(Side::Far, Self::program(task.kit, "sslocal"))
            .args(["-s", &address, "-b", &format!("127.0.0.1:{front_end}")])
            .args(CIPHER);
        download::recipe(task, "socks5h", server, client)
    }
}
