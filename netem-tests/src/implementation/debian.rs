//! Tunnels and copy programs that Debian packages: kcptun and UFTP.

use std::fs;

use super::{Implementation, Invocation, Kit, Progress, Ready, Recipe, Side, Task, kit::SOURCE};
use crate::tun::FAR;

/// A TCP connection through kcptun.
#[derive(Debug)]
pub(super) struct Kcptun;

/// What a datagram of kcptun's carries, by its default.
const KCP_MTU: u64 = 1350;

impl Implementation for Kcptun {
    fn name(&self) -> &'static str {
        "kcptun"
    }

    fn about(&self) -> &'static str {
        "a local TCP connection through kcptun: mode fast2, send window of two and receive window of four bandwidth-delay products, its default parity (10+3) and cipher, no compression"
    }

    fn install(&self, kit: &Kit) -> anyhow::Result<()> {
        kit.debian("kcptun", "/usr/bin/kcptun-server")
    }

    fn version(&self, kit: &Kit) -> anyhow::Result<String> {
        kit.debian_version("kcptun")
    }

    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe> {
        let (port, bytes) = (task.port.to_string(), task.bytes.to_string());
        let (target, front_end) = (task.port + 1, task.port + 2);
        let buffer = task.window.to_string();
        let tuned = |program: &str, side| {
            Invocation::new(side, program)
                .args(["--mode", "fast2", "--nocomp", "--quiet", "--smuxver", "2"])
                .args([
                    "--sockbuf",
                    &buffer,
                    "--smuxbuf",
                    &buffer,
                    "--streambuf",
                    &buffer,
                ])
                .args(["--sndwnd", &(task.window / 2 / KCP_MTU).to_string()])
                .args(["--rcvwnd", &(task.window / KCP_MTU).to_string()])
        };
        let receiver = Invocation::new(Side::Far, task.kit.lab()).args([
            "peer",
            "recv",
            "--port",
            &target.to_string(),
            "--bytes",
            &bytes,
        ]);
        let server = tuned("kcptun-server", Side::Far)
            .args(["--target", &format!("127.0.0.1:{target}")])
            .args(["--listen", &format!(":{port}")]);
        let client = tuned("kcptun-client", Side::Near)
            .args(["--remoteaddr", &format!("{FAR}:{port}")])
            .args(["--localaddr", &format!("127.0.0.1:{front_end}")]);
        let sender = Invocation::new(Side::Near, task.kit.lab()).args([
            "peer",
            "send",
            &format!("127.0.0.1:{front_end}"),
            &bytes,
        ]);
        Ok(Recipe {
            before: vec![
                (receiver, Ready::Port(target)),
                (server, Ready::Port(task.port)),
                (client, Ready::Port(front_end)),
            ],
            trigger: sender,
            progress: Progress::Tally,
        })
    }
}

/// A file by UFTP to one receiver, at a fixed rate.
#[derive(Debug)]
pub(super) struct Uftp;

/// Largest UDP buffer it takes (uftp(1)).
const UFTP_BUFFER: u64 = 104_857_600;

impl Implementation for Uftp {
    fn name(&self) -> &'static str {
        "uftp"
    }

    fn about(&self) -> &'static str {
        "UFTP to one receiver, told 95 % of the link's rate, no congestion control, no encryption"
    }

    fn install(&self, kit: &Kit) -> anyhow::Result<()> {
        kit.debian("uftp", "/usr/bin/uftp")
    }

    fn version(&self, kit: &Kit) -> anyhow::Result<String> {
        kit.debian_version("uftp")
    }

    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe> {
        let arrived = task.folder.join("arrived");
        fs::create_dir(&arrived)?;
        let (port, buffer) = (
            task.port.to_string(),
            task.window.min(UFTP_BUFFER).to_string(),
        );
        let kilobits = task.rate.scaled(0.95).bits_per_second() / 1000;
        // Files are received under another name (-t), so that one of the right name is whole.
        let receiver = Invocation::new(Side::Far, "uftpd")
            .args(["-d", "-t", "-I", "link0", "-p", &port, "-B", &buffer, "-D"])
            .arg(&arrived);
        let sender = Invocation::new(Side::Near, "uftp")
            .args([
                "-q", "-Y", "none", "-C", "none", "-I", "link0", "-b", "1400",
            ])
            // What it takes the round trip for until it has measured it (half a second by default).
            .args(["-r", &task.round_trip.as_secs_f64().max(0.01).to_string()])
            .args(["-R", &kilobits.to_string(), "-B", &buffer])
            .args(["-M", &FAR.to_string(), "-p", &port, "-D", SOURCE])
            .arg(task.source);
        Ok(Recipe {
            before: vec![(receiver, Ready::Port(task.port))],
            trigger: sender,
            progress: Progress::File {
                folder: arrived,
                name: SOURCE,
            },
        })
    }
}
