//! Who sends over the link when carriers are compared: kernel TCP and `rpcp`, between any two namespaces.
//! The links are made in `lab` and in `tun`.

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use rp_cli::{identity::load_or_make_host_key, openssh::format_key, prompt::Terminal};

use crate::{
    netns::Namespace,
    tcp::{self, Transfer},
    tun::FAR,
};

/// Somebody who sends bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// Kernel TCP with CUBIC.
    Cubic,
    /// Kernel TCP with BBR.
    Bbr,
    /// Our file copy.
    Rpcp,
}

impl Peer {
    /// Everybody, in the order of a report.
    pub const ALL: [Self; 3] = [Self::Cubic, Self::Bbr, Self::Rpcp];
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cubic => "TCP CUBIC",
            Self::Bbr => "TCP BBR",
            Self::Rpcp => "rpcp",
        })
    }
}

/// Where a transfer runs and what it may use.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// The side that sends.
    pub near: &'a Namespace,
    /// The side that receives; its address is [`FAR`].
    pub far: &'a Namespace,
    /// Where files may be made.
    pub folder: &'a Path,
    /// Where `rpserver` and `rpcp` are.
    pub programs: &'a Path,
}

/// Lets `peer` send `bytes` for at most `limit`.
///
/// # Errors
/// The peer could not be started or failed; the text says why and what its programs said.
pub fn send(peer: Peer, stage: Stage<'_>, bytes: u64, limit: Duration) -> anyhow::Result<Transfer> {
    match peer {
        Peer::Cubic => kernel_tcp(stage, "cubic", bytes, limit),
        Peer::Bbr => kernel_tcp(stage, "bbr", bytes, limit),
        Peer::Rpcp => rpcp(stage, bytes, limit),
    }
}

fn kernel_tcp(
    stage: Stage<'_>,
    congestion: &str,
    bytes: u64,
    limit: Duration,
) -> anyhow::Result<Transfer> {
    let kinds = tcp::available();
    ensure!(
        kinds.iter().any(|kind| kind == congestion),
        "this kernel has no TCP {congestion}"
    );
    tcp::enlarge_windows_of(stage.near)?;
    tcp::enlarge_windows_of(stage.far)?;
    Ok(tcp::transfer_between(
        stage.near, stage.far, congestion, bytes, limit,
    )?)
}

/// Time a program gets to open its door.
const STARTUP: Duration = Duration::from_secs(30);

/// How often what has arrived is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Where `rpserver` listens.
const PORT: u16 = 7373;

fn rpcp(stage: Stage<'_>, bytes: u64, limit: Duration) -> anyhow::Result<Transfer> {
    let folder = tempfile::Builder::new().tempdir_in(stage.folder)?;
    let at = |name: &str| folder.path().join(name);
    let (root, source) = (at("served"), at("source.bin"));
    fs::create_dir(&root)?;
    write_content(&source, bytes).context("cannot write the file to copy")?;
    let host = load_or_make_host_key(&at("host_key"), &Terminal)?.identity;
    let user = load_or_make_host_key(&at("user_key"), &Terminal)?.identity;
    fs::write(
        at("authorized_keys"),
        format!("{}\n", format_key(&user.public_key())),
    )?;
    let listen = format!("{FAR}:{PORT}");
    let mut server = Program::start(
        stage.far,
        &stage.programs.join("rpserver"),
        folder.path(),
        &[
            "--listen".as_ref(),
            listen.as_ref(),
            "--key".as_ref(),
            at("host_key").as_os_str(),
            "--authorized-keys".as_ref(),
            at("authorized_keys").as_os_str(),
            "--root".as_ref(),
            root.as_os_str(),
        ],
    )?;
    server.wait_for_port(stage.far, PORT)?;
    let began = Instant::now();
    let mut client = Program::start(
        stage.near,
        &stage.programs.join("rpcp"),
        folder.path(),
        &[
            "-q".as_ref(),
            "-i".as_ref(),
            at("user_key").as_os_str(),
            "--host-key".as_ref(),
            host.public_key().fingerprint().as_ref(),
            source.as_os_str(),
            format!("rp://{listen}/").as_ref(),
        ],
    )?;
    while began.elapsed() < limit {
        if let Some(status) = client.child.try_wait()? {
            let elapsed = began.elapsed();
            ensure!(
                status.success(),
                "rpcp failed ({status}); it said:\n{}\nand rpserver said:\n{}",
                client.said(),
                server.said()
            );
            let arrived = fs::metadata(root.join("source.bin"))?.len();
            return Ok(Transfer {
                bytes: arrived,
                elapsed,
                is_complete: arrived == bytes,
            });
        }
        if let Some(status) = server.child.try_wait()? {
            bail!("rpserver ended ({status}); it said:\n{}", server.said());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(Transfer {
        bytes: arrived_so_far(&root),
        elapsed: began.elapsed(),
        is_complete: false,
    })
}

/// Bytes on disk below `root`, wherever the unfinished file keeps them.
fn arrived_so_far(root: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = fs::read_dir(root) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => arrived_so_far(&entry.path()),
            // Room may have been set aside for all of it: only blocks that hold something count.
            Ok(meta) => meta.len().min(meta.blocks() * 512),
            Err(_) => 0,
        })
        .sum()
}

/// Content that cannot be guessed or compressed.
fn write_content(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = io::BufWriter::new(File::create(path)?);
    let mut digest = blake3::Hasher::new().finalize_xof();
    let mut block = vec![0; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        digest.fill(&mut block);
        let len = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all(&block[..len])?;
        left -= len as u64;
    }
    file.flush()
}

/// A program of ours in a namespace, killed when dropped.
#[derive(Debug)]
struct Program {
    child: Child,
    log: PathBuf,
}

/// Lines of a program's output shown when something failed.
const LAST_WORDS: usize = 20;

impl Program {
    /// Starts `program` with `folder` as its home and no other environment.
    fn start(
        namespace: &Namespace,
        program: &Path,
        folder: &Path,
        arguments: &[&OsStr],
    ) -> anyhow::Result<Self> {
        ensure!(program.exists(), "{} is not there", program.display());
        let name = program.file_stem().unwrap_or_default();
        let log = folder.join(name).with_extension("log");
        let file = File::create(&log)?;
        let child = namespace
            .command(&program.to_string_lossy())
            .args(arguments)
            .env_clear()
            .env("HOME", folder)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, log })
    }

    /// Waits until somebody listens on a UDP port of `namespace`.
    fn wait_for_port(&mut self, namespace: &Namespace, port: u16) -> anyhow::Result<()> {
        let began = Instant::now();
        let filter = format!("sport = :{port}");
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("rpserver ended ({status}); it said:\n{}", self.said());
            }
            let listing = namespace
                .command("ss")
                .args(["-H", "-u", "-l", "-n", &filter])
                .stdin(Stdio::null())
                .output()?;
            if !listing.stdout.is_empty() {
                return Ok(());
            }
            ensure!(
                began.elapsed() < STARTUP,
                "rpserver did not listen within {STARTUP:?}; it said:\n{}",
                self.said()
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Its last lines.
    fn said(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LAST_WORDS);
        lines[from..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the programs, unless they are there; says where they are.
///
/// # Errors
/// They do not build.
pub fn programs() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().unwrap_or_else(|| Path::new("/")).to_path_buf();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // This package is selected too, so that its dependencies' features are those it was built with
    // itself, and nothing but the programs is compiled again.
    let mut build = Command::new(&cargo);
    build
        .args(["build", "--quiet", "--package", "rp-cli"])
        .args(["--package", env!("CARGO_PKG_NAME")])
        .args(["--bin", "rpserver", "--bin", "rpcp"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let status = build
        .status()
        .with_context(|| format!("cannot run {}", Path::new(&cargo).display()))?;
    ensure!(status.success(), "the programs do not build; see above");
    Ok(folder)
}
