//! Copies of a tree whose programs are killed at random moments, again and again: how soon each attempt moves what is
//! missing, how much is sent in all, and whether the tree is whole in the end.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::{Work, digest_of_tree, plant};
use crate::{
    implementation::{Kit, PORT, Wire},
    threshold::Row,
    tun::FAR,
    veth::{Medium, VethLab},
};

/// Small files of the tree, and large ones.
const WORKS: [Work; 2] = [
    Work {
        files: 8000,
        bytes: 16_000,
    },
    Work {
        files: 6,
        bytes: 25_000_000,
    },
];

/// At what the senders are held.
const RATE: &str = "10MB/s";

/// Until when a new attempt has to move data; there is no round trip to speak of.
const SOON: Duration = Duration::from_secs(1);

/// So much has come when data moves.
const MOVES: u64 = 64 << 10;

/// How long the programs work at most before they are killed.
const MOST_WORK: Duration = Duration::from_millis(800);

/// What is under way at most when somebody is killed.
const WINDOW: u64 = rp_cli::copy::WINDOW;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills as often as `kills` says, in either direction.
///
/// # Errors
/// Nothing can be started, or a copy hangs.
pub fn run(
    kills: u32,
    seed: u64,
    kit: &Kit,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for is_fetch in [false, true] {
        let mut scene = Scene::new(kit, is_fetch)?;
        rows.extend(scene.run(kills, Xoshiro256PlusPlus::seed_from_u64(seed), note)?);
    }
    Ok(rows)
}

/// A tree, a server, and clients that come and go.
struct Scene<'a> {
    kit: &'a Kit,
    lab: VethLab,
    folder: tempfile::TempDir,
    is_fetch: bool,
    server: Child,
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl<'a> Scene<'a> {
    fn new(kit: &'a Kit, is_fetch: bool) -> anyhow::Result<Self> {
        let lab = VethLab::make(Medium::Loopback)?;
        let folder = tempfile::tempdir_in(kit.folder())?;
        for name in ["near", "root"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let server = start_server(kit, &lab, &folder)?;
        let scene = Self {
            kit,
            lab,
            folder,
            is_fetch,
            server,
        };
        for work in WORKS {
            plant(&scene.source().join(work.name()), work)?;
        }
        Ok(scene)
    }

    fn source(&self) -> PathBuf {
        let at = if self.is_fetch {
            "root/tree"
        } else {
            "near/tree"
        };
        self.folder.path().join(at)
    }

    fn target(&self) -> PathBuf {
        let at = if self.is_fetch { "near" } else { "root" };
        self.folder.path().join(at)
    }

    fn client(&self) -> anyhow::Result<Child> {
        let (programs, keys) = (self.kit.programs()?, self.kit.keys()?);
        let mut client = command(&self.lab, &programs.rpcp);
        client
            .args(["-q", "-r", "--no-path-memory", "-i"])
            .arg(&keys.user)
            .args(["--host-key", &keys.fingerprint]);
        let remote = |path: &str| format!("rp://{FAR}:{PORT}/{path}");
        match self.is_fetch {
            true => client.args([&remote("tree"), "new"]),
            false => client.args(["--rate", RATE, "tree", &remote("new")]),
        };
        client.current_dir(self.folder.path().join("near"));
        client.env("HOME", self.folder.path());
        Ok(client.spawn()?)
    }

    fn restart_server(&mut self) -> anyhow::Result<()> {
        self.server.kill()?;
        self.server.wait()?;
        self.server = start_server(self.kit, &self.lab, &self.folder)?;
        Ok(())
    }

    /// Bytes that the receiver has written.
    fn written(&self, client: &Child) -> u64 {
        let receiver = if self.is_fetch { client } else { &self.server };
        let io = fs::read_to_string(format!("/proc/{}/io", receiver.id())).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
        line.and_then(|line| line.parse().ok()).unwrap_or(0)
    }

    /// Waits until data moves; says how long that took, or that the copy is over.
    fn moves(&self, client: &mut Child) -> anyhow::Result<Option<Duration>> {
        let (began, before) = (Instant::now(), self.written(client));
        while self.written(client) < before + MOVES {
            if client.try_wait()?.is_some() {
                return Ok(None);
            }
            ensure!(began.elapsed() < PATIENCE, "nothing moves");
            sleep(Duration::from_millis(5));
        }
        Ok(Some(began.elapsed()))
    }

    fn run(
        &mut self,
        kills: u32,
        mut random: Xoshiro256PlusPlus,
        note: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Vec<Row>> {
        let before = bytes_of(&self.lab)?;
        let mut slowest = Duration::ZERO;
        let mut killed = 0;
        while killed < kills {
            let mut client = self.client()?;
            let Some(took) = self.moves(&mut client)? else {
                break;
            };
            if killed > 0 {
                slowest = slowest.max(took);
            }
            sleep(MOST_WORK.mul_f64(random.random()));
            // The client, the server with it, or the server first.
            let whom = random.random_range(0..3);
            if whom == 2 {
                self.restart_server()?;
            }
            client.kill()?;
            client.wait()?;
            if whom == 1 {
                self.restart_server()?;
            }
            killed += 1;
            note(&format!(
                "killed {killed}: moved after {:.2} s",
                took.as_secs_f64()
            ));
        }
        let mut client = self.client()?;
        let began = Instant::now();
        while client.try_wait()?.is_none() {
            ensure!(began.elapsed() < PATIENCE, "the copy does not end");
            sleep(Duration::from_millis(5));
        }
        ensure!(client.wait()?.success(), "the last attempt failed");
        let target = self.target();
        let is_whole = digest_of_tree(&target.join("new"))? == digest_of_tree(&self.source())?;
        let others = fs::read_dir(&target)?.count() - 1;
        let sent = bytes_of(&self.lab)? - before;
        let tree: u64 = WORKS.iter().map(|work| work.files * work.bytes).sum();
        let most = tree as f64 * 1.05 + f64::from(killed) * WINDOW as f64;
        let how = if self.is_fetch { "fetched" } else { "sent" };
        let name = format!("a tree {how}, programs killed {killed} times: slowest first data");
        Ok(vec![
            Row::at_most(&name, slowest.as_secs_f64(), SOON.as_secs_f64(), "s"),
            Row::at_most(
                "  trees that differ in the end",
                f64::from(u8::from(!is_whole)),
                0.0,
                "",
            ),
            Row::at_most("  things left beside it", others as f64, 0.0, ""),
            Row::at_most("  sent in all", sent as f64 * 1e-6, most * 1e-6, "MB"),
            Row::told("  of a tree of", tree as f64 * 1e-6, "MB"),
        ])
    }
}

fn start_server(kit: &Kit, lab: &VethLab, folder: &tempfile::TempDir) -> anyhow::Result<Child> {
    let (programs, keys) = (kit.programs()?, kit.keys()?);
    let mut server = command(lab, &programs.rpserver);
    server
        .args(["--listen", &format!("{FAR}:{PORT}"), "--rate", RATE])
        .arg("--key")
        .arg(&keys.host)
        .arg("--authorized-keys")
        .arg(&keys.authorized)
        .arg("--root")
        .arg(folder.path().join("root"))
        .env("HOME", folder.path());
    Ok(server.spawn()?)
}

fn command(lab: &VethLab, program: &std::path::Path) -> Command {
    let mut command = lab.near().command(&program.to_string_lossy());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Bytes that went over the loopback device so far.
fn bytes_of(lab: &VethLab) -> anyhow::Result<u64> {
    let output = lab.near().command("cat").arg("/proc/net/dev").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"));
    let received = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    received.context("the loopback device tells no bytes")
}
