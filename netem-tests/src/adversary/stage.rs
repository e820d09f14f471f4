//! The honest side of an attack: a server with its keys and files, a client of it, an origin behind it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    keys::Keys,
    leftovers::{make_folder, note_process},
    ports::free_port,
    programs::Programs,
};

/// How long a program may take until it listens, and an honest transfer until it counts as failed.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// The server's settings.
const SETTINGS: &str = "rpserver.toml";

/// Bytes of the small file that honest users get.
const SMALL_BYTES: usize = 1000;

/// A running program, killed when dropped.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that listens, and what honest users of it need.
#[derive(Debug)]
pub(crate) struct Stage {
    programs: Programs,
    pub(crate) keys: Keys,
    pub(crate) address: SocketAddr,
    server: Running,
    server_command: Command,
    clients: Vec<Running>,
    // Last: it is removed after the programs have ended.
    folder: TempDir,
}

impl Stage {
    /// Starts a server with a file `big` of so many bytes and a file `small`.
    pub(crate) fn new(programs: &Programs, big_bytes: u64) -> anyhow::Result<Self> {
        Self::in_setting(programs, big_bytes, |program| Command::new(program))
    }

    /// Starts a server that has no files and is for proxied connections alone.
    pub(crate) fn without_files(programs: &Programs) -> anyhow::Result<Self> {
        let stage = Self::start(programs, None, |program| Command::new(program))?;
        stage.until_it_listens()?;
        Ok(stage)
    }

    /// Starts a server by the command that `wrap` makes of the program's path.
    pub(crate) fn in_setting(
        programs: &Programs,
        big_bytes: u64,
        wrap: impl FnOnce(&Path) -> Command,
    ) -> anyhow::Result<Self> {
        let stage = Self::start(programs, Some(big_bytes), wrap)?;
        let began = Instant::now();
        while stage.get().is_err() {
            ensure!(began.elapsed() < TIMEOUT, "rpserver does not answer");
        }
        Ok(stage)
    }

    fn start(
        programs: &Programs,
        big_bytes: Option<u64>,
        wrap: impl FnOnce(&Path) -> Command,
    ) -> anyhow::Result<Self> {
        let folder = make_folder()?;
        let keys = Keys::make(folder.path())?;
        let settings = folder.path().join(SETTINGS);
        fs::write(&settings, allowing(&["127.0.0.0/8"]))?;
        let address = free_port()?;
        let mut command = wrap(&programs.rpserver);
        command
            .args(["--listen", &address.to_string(), "--config"])
            .arg(&settings)
            .arg("--key")
            .arg(&keys.host)
            .arg("--authorized-keys")
            .arg(&keys.authorized);
        if let Some(big_bytes) = big_bytes {
            let root = folder.path().join("root");
            fs::create_dir(&root)?;
            fs::write(root.join("small"), [7; SMALL_BYTES])?;
            File::create(root.join("big"))?.set_len(big_bytes)?;
            command.arg("--root").arg(root);
        }
        let server = start(&mut command, folder.path(), "rpserver")?;
        Ok(Self {
            programs: programs.clone(),
            keys,
            address,
            server,
            server_command: command,
            clients: Vec::new(),
            folder,
        })
    }

    /// The server's process.
    pub(crate) fn server_process(&self) -> u32 {
        self.server.0.id()
    }

    /// The processes of the clients, in the order in which they were started.
    pub(crate) fn client_processes(&self) -> Vec<u32> {
        self.clients.iter().map(|client| client.0.id()).collect()
    }

    /// Ends the server as a crash would.
    pub(crate) fn kill_server(&mut self) -> anyhow::Result<()> {
        self.server.0.kill()?;
        self.server.0.wait()?;
        Ok(())
    }

    /// Starts the server again, at its old address; waits until it listens.
    pub(crate) fn start_server(&mut self) -> anyhow::Result<()> {
        self.server = start(&mut self.server_command, self.folder.path(), "rpserver")?;
        self.until_it_listens()
    }

    fn until_it_listens(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.server_log()?.contains("listening on ") {
            ensure!(began.elapsed() < TIMEOUT, "rpserver does not listen");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Changes what the server lets its clients reach, and tells it so by SIGHUP.
    pub(crate) fn allow(&self, networks: &[&str]) -> anyhow::Result<()> {
        fs::write(self.folder.path().join(SETTINGS), allowing(networks))?;
        let process = i32::try_from(self.server_process()).ok();
        let process = process.and_then(Pid::from_raw).context("no such process")?;
        Ok(kill_process(process, Signal::HUP)?)
    }

    /// What the server has said.
    pub(crate) fn server_log(&self) -> anyhow::Result<String> {
        self.said("rpserver")
    }

    /// What the program that was started as `name` has said.
    pub(crate) fn said(&self, name: &str) -> anyhow::Result<String> {
        let path = self.folder.path().join(name).with_extension("log");
        Ok(fs::read_to_string(path)?)
    }

    /// Lets another user in; where his key is.
    pub(crate) fn another_user(&self) -> anyhow::Result<PathBuf> {
        let path = self
            .folder
            .path()
            .join(format!("user_{}", self.clients.len()));
        self.keys.add_user(&path)?;
        Ok(path)
    }

    /// Starts `rpclient`; where its front ends listen.
    pub(crate) fn proxy(&mut self) -> anyhow::Result<SocketAddr> {
        self.proxy_of(&self.keys.user.clone(), self.address, &[])
    }

    /// Starts an `rpclient` of the user with `key`, which finds the server at `server`, with further
    /// arguments; where its front ends listen.
    pub(crate) fn proxy_of(
        &mut self,
        key: &Path,
        server: SocketAddr,
        args: &[&str],
    ) -> anyhow::Result<SocketAddr> {
        let listen = free_port()?;
        let name = format!("rpclient-{}", self.clients.len());
        let mut command = Command::new(&self.programs.rpclient);
        command
            .args(["--server", &server.to_string()])
            .args(["--host-key", &self.keys.fingerprint])
            .args(["--listen", &listen.to_string(), "--no-path-memory", "-i"])
            .arg(key)
            .args(args);
        self.clients
            .push(start(&mut command, self.folder.path(), &name)?);
        let began = Instant::now();
        while TcpStream::connect(listen).is_err() {
            ensure!(began.elapsed() < TIMEOUT, "rpclient does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(listen)
    }

    /// Starts a program beside the others, which ends with them.
    pub(crate) fn beside(&self, mut command: Command, name: &str) -> anyhow::Result<Running> {
        start(&mut command, self.folder.path(), name)
    }

    /// How long an honest `rpcp` takes for the small file.
    pub(crate) fn get(&self) -> anyhow::Result<Duration> {
        let target = self.folder.path().join("got");
        let mut command = Command::new(&self.programs.rpcp);
        command
            .args([
                "-q",
                "--no-path-memory",
                "--host-key",
                &self.keys.fingerprint,
            ])
            .arg("-i")
            .arg(&self.keys.user)
            .arg(format!("rp://{}/small", self.address))
            .arg(&target);
        let began = Instant::now();
        let mut running = start(&mut command, self.folder.path(), "rpcp")?;
        loop {
            if let Some(status) = running.0.try_wait()? {
                let took = began.elapsed();
                let said = fs::read_to_string(self.folder.path().join("rpcp.log"));
                ensure!(
                    status.success(),
                    "rpcp: {status}: {}",
                    said.unwrap_or_default().trim()
                );
                // The next one must not find it there.
                fs::remove_file(target)?;
                return Ok(took);
            }
            if began.elapsed() > TIMEOUT {
                bail!("rpcp takes more than {} s", TIMEOUT.as_secs());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Settings of a server whose clients may reach `networks` beside what everybody may.
fn allowing(networks: &[&str]) -> String {
    format!("allow = {networks:?}\n")
}

/// Starts a program that sees nothing of the user's settings.
fn start(command: &mut Command, folder: &Path, name: &str) -> anyhow::Result<Running> {
    let log = File::create(folder.join(format!("{name}.log")))?;
    let path: OsString = std::env::var_os("PATH").unwrap_or_default();
    let child = command
        .env_clear()
        .env("HOME", folder)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let running = Running(child);
    note_process(folder, name, running.0.id())?;
    Ok(running)
}

/// An origin on loopback. To `GET /small` it answers at once; otherwise it sends without end, or reads
/// nothing if `is_deaf`.
pub(crate) fn origin(is_deaf: bool) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, is_deaf));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream, is_deaf: bool) {
    let mut head = [0; 4096];
    let len = stream.read(&mut head).unwrap_or(0);
    if head[..len].starts_with(b"GET /small") {
        // Whoever asked may be gone.
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        return;
    }
    if is_deaf {
        thread::sleep(Duration::from_secs(60));
        return;
    }
    while stream.write_all(&[0; 65536]).is_ok() {}
}
