//! The main job, shown on one machine: a file copied with `rpcp` and a download through `rpclient`, both
//! over an emulated bad link, with plain TCP over the same link beside them.
//! The programs are started as a user would start them; nothing of them is linked in here, but for keys.

mod program;
mod table;
mod web;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tokio::task::spawn_blocking;

use self::program::Program;
pub use self::table::{Outcome, Row, Table, Verdict};
use crate::{
    content::{self, Content},
    keys::Keys,
    leftovers::{self, clean},
    netns,
    ports::free_port,
    programs::{self, Programs},
    scenario::Scenario,
    tcp,
    tun::TunLab,
    udp_relay::{RelayConfig, UdpRelay},
};

/// What to show.
#[derive(Clone, Debug)]
pub struct Options {
    /// The link.
    pub scenario: Scenario,
    /// Bytes to copy, and to download.
    pub bytes: u64,
    /// Fixes what the link loses.
    pub seed: u64,
    /// Leave plain TCP out.
    pub without_tcp: bool,
    /// Ready-made programs; built if absent.
    pub programs: Option<PathBuf>,
}

/// Longest time one of our own transfers may take before the demo calls it failed.
const TIMEOUT: Duration = Duration::from_secs(180);

/// How long plain TCP is watched; with loss it would take many minutes.
const TCP_PATIENCE: Duration = Duration::from_secs(20);

/// Time a program gets to listen.
const STARTUP: Duration = Duration::from_secs(20);

/// Runs everything; `tell` hears what is going on. The table says whether all digests were right.
///
/// # Errors
/// A program could not be built or started, or a transfer failed; the text says which and why.
pub async fn run(options: &Options, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Table> {
    let programs = match &options.programs {
        Some(folder) => Programs::in_folder(folder),
        None => {
            tell("building rpserver, rpclient and rpcp (cargo build --release)");
            spawn_blocking(programs::build).await??
        }
    };
    let cleaned = clean().context("cannot remove what a killed run left")?;
    if cleaned.runs > 0 {
        tell(&format!(
            "removed what {} killed runs had left",
            cleaned.runs
        ));
    }
    let folder = leftovers::make_folder().context("cannot make a temporary folder")?;
    let bytes = options.bytes;
    let content = spawn_blocking(move || Content::generate(bytes)).await?;
    let mut stage = Stage::set(folder.path(), &programs, options, &content).await?;
    let mut table = Table::new(&options.scenario);

    tell("copying a file with rpcp");
    let copied = copy(&stage, &programs, &content).await;
    table
        .rows
        .push(copied.map_err(|error| stage.explain(error))?);
    tell("downloading through rpclient");
    let downloaded = download(&stage, &content).await;
    table
        .rows
        .push(downloaded.map_err(|error| stage.explain(error))?);
    drop(stage);
    if !options.without_tcp {
        tcp_rows(options, &mut table, tell).await?;
    }
    Ok(table)
}

/// The server, the client and the link between them, all running.
#[derive(Debug)]
struct Stage {
    root: PathBuf,
    source: PathBuf,
    keys: Keys,
    proxy: SocketAddr,
    web: web::Server,
    home: PathBuf,
    // Dropped in this order: programs first, then the link they talk over.
    client: Program,
    server: Program,
    relay: UdpRelay,
}

impl Stage {
    async fn set(
        folder: &Path,
        programs: &Programs,
        options: &Options,
        content: &Content,
    ) -> anyhow::Result<Self> {
        let root = folder.join("served");
        fs::create_dir(&root)?;
        let source = folder.join("source.bin");
        fs::write(&source, content.bytes()).context("cannot write the file to copy")?;
        let keys = Keys::make(folder)?;

        let server_address = free_port()?;
        let relay = UdpRelay::start(RelayConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            server: server_address,
            to_server: options.scenario.forward.clone(),
            to_client: options.scenario.forward.clone(),
            seed: options.seed,
        })
        .context("cannot start the emulated link")?;
        let web = web::Server::start(content.bytes().clone()).await?;
        // The targets of a real server are elsewhere; the demo's is this machine, which must be allowed.
        let allowed = format!("127.0.0.1:{}", web.address().port());
        let listen = server_address.to_string();
        let mut server = Program::start(
            &programs.rpserver,
            folder,
            &[
                "--listen".as_ref(),
                listen.as_ref(),
                "--key".as_ref(),
                keys.host.as_os_str(),
                "--authorized-keys".as_ref(),
                keys.authorized.as_os_str(),
                "--root".as_ref(),
                root.as_os_str(),
                "--allow".as_ref(),
                allowed.as_ref(),
            ],
        )?;
        let proxy = free_port()?;
        let (link, front_end) = (relay.local_addr().to_string(), proxy.to_string());
        let mut client = Program::start(
            &programs.rpclient,
            folder,
            &[
                "--server".as_ref(),
                link.as_ref(),
                "--host-key".as_ref(),
                keys.fingerprint.as_ref(),
                "-i".as_ref(),
                keys.user.as_os_str(),
                "--listen".as_ref(),
                front_end.as_ref(),
            ],
        )?;
        wait_for_door(proxy, &mut client, &mut server).await?;
        Ok(Self {
            root,
            source,
            keys,
            proxy,
            web,
            home: folder.to_path_buf(),
            client,
            server,
            relay,
        })
    }

    /// Adds to `error` what the long-running programs said, where one of them has died.
    fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        for program in [&mut self.server, &mut self.client] {
            if let Some(obituary) = program.obituary() {
                return error.context(obituary);
            }
        }
        error
    }
}

/// Waits until `rpclient` takes connections.
async fn wait_for_door(
    front_end: SocketAddr,
    client: &mut Program,
    server: &mut Program,
) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        for program in [&mut *server, &mut *client] {
            if let Some(obituary) = program.obituary() {
                bail!(obituary);
            }
        }
        if tokio::net::TcpStream::connect(front_end).await.is_ok() {
            return Ok(());
        }
        ensure!(
            began.elapsed() < STARTUP,
            "rpclient did not listen on {front_end} within {STARTUP:?}; it said:\n{}",
            client.said()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn copy(stage: &Stage, programs: &Programs, content: &Content) -> anyhow::Result<Row> {
    let target = format!("rp://{}/", stage.relay.local_addr());
    let began = Instant::now();
    let mut rpcp = Program::start(
        &programs.rpcp,
        &stage.home,
        &[
            "-q".as_ref(),
            "-i".as_ref(),
            stage.keys.user.as_os_str(),
            "--host-key".as_ref(),
            stage.keys.fingerprint.as_ref(),
            stage.source.as_os_str(),
            target.as_ref(),
        ],
    )?;
    let status = tokio::time::timeout(TIMEOUT, rpcp.wait())
        .await
        .with_context(|| {
            format!(
                "rpcp did not finish within {TIMEOUT:?}; it said:\n{}",
                rpcp.said()
            )
        })??;
    let elapsed = began.elapsed();
    ensure!(
        status.success(),
        "rpcp failed ({status}); it said:\n{}\nand rpserver said:\n{}",
        rpcp.said(),
        stage.server.said()
    );
    let arrived = stage.root.join("source.bin");
    let (digest, bytes) = spawn_blocking(move || content::digest_of_file(&arrived))
        .await?
        .context("cannot read what rpcp copied")?;
    Ok(Row {
        name: "rpcp, one file".to_owned(),
        outcome: Outcome::measured(bytes, elapsed, digest == content.digest()),
    })
}

async fn download(stage: &Stage, content: &Content) -> anyhow::Result<Row> {
    let began = Instant::now();
    let fetched = tokio::time::timeout(TIMEOUT, web::fetch(stage.proxy, stage.web.address()))
        .await
        .with_context(|| format!("the download did not finish within {TIMEOUT:?}"))?
        .with_context(|| {
            format!(
                "the download through rpclient failed; it said:\n{}\nand rpserver said:\n{}",
                stage.client.said(),
                stage.server.said()
            )
        })?;
    let is_equal = fetched.digest == content.digest();
    Ok(Row {
        name: "download through rpclient".to_owned(),
        outcome: Outcome::measured(fetched.bytes, began.elapsed(), is_equal),
    })
}

/// Plain TCP over the same link, where the machine lets us make one for it.
async fn tcp_rows(
    options: &Options,
    table: &mut Table,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    if let Some(reason) = netns::unavailable() {
        table.rows.push(Row {
            name: "plain TCP".to_owned(),
            outcome: Outcome::NotMeasured(reason.to_owned()),
        });
        return Ok(());
    }
    let kinds = tcp::available();
    for congestion in ["cubic", "bbr"] {
        if !kinds.iter().any(|kind| kind == congestion) {
            table.rows.push(Row {
                name: format!("plain TCP ({congestion})"),
                outcome: Outcome::NotMeasured("this kernel does not have it".to_owned()),
            });
            continue;
        }
        tell(&format!(
            "the same over plain TCP ({congestion}), for at most {} s",
            TCP_PATIENCE.as_secs()
        ));
        let (link, seed, bytes) = (
            options.scenario.forward.clone(),
            options.seed,
            options.bytes,
        );
        let transfer = spawn_blocking(move || {
            let lab = TunLab::start(link.clone(), link, seed)?;
            tcp::enlarge_windows(&lab)?;
            tcp::transfer(&lab, congestion, bytes, TCP_PATIENCE)
        })
        .await?
        .context("the emulated link for plain TCP failed")?;
        table.rows.push(Row {
            name: format!("plain TCP ({congestion})"),
            outcome: Outcome::yardstick(&transfer),
        });
    }
    Ok(())
}
