//! Names that nobody answers for: whether file copies go on beside hundreds of lookups that wait.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, TcpStream, UdpSocket},
    process::Command,
    time::Duration,
};

use anyhow::Context;

use super::{Row, stage::Stage};
use crate::programs::Programs;

const NAMES: usize = 1400;
const LIMIT_S: f64 = 1.0;

/// Where a name server listens that never answers.
const DEAF: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 53);

/// How long the lookups have to take all there is.
const FILL: Duration = Duration::from_secs(2);

pub(super) fn run(programs: &Programs) -> anyhow::Result<Vec<Row>> {
    let _deaf = UdpSocket::bind((DEAF, 53)).context("only root may be a name server")?;
    let folder = tempfile::tempdir()?;
    let settings = folder.path().join("resolv.conf");
    fs::write(&settings, format!("nameserver {DEAF}\n"))?;
    let mut stage = Stage::in_setting(programs, 0, |program| {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"")
            .arg(&settings)
            .arg(program);
        command
    })?;
    let proxy = stage.proxy()?;
    let mut held = Vec::new();
    for index in 0..NAMES {
        let mut tunnel = TcpStream::connect(proxy)?;
        let name = format!("host{index}.example.net:80");
        write!(tunnel, "CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n")?;
        held.push(tunnel);
    }
    std::thread::sleep(FILL);
    let took = stage.get()?;
    let name = format!("a Get beside {NAMES} names that nobody answers for");
    Ok(vec![Row::below(&name, took.as_secs_f64(), LIMIT_S, "s")])
}
