//! The honest side of an attack: a server with its keys and files, a client of it, an origin behind it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::{
    keys::Keys,
    leftovers::{make_folder, note_process},
    programs::Programs,
};

/// How long a program may take until it listens, and an honest transfer until it counts as failed.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of the small file that honest users get.
const SMALL_BYTES: usize = 1000;

/// A running program, killed when dropped.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that listens, and what honest users of it need.
#[derive(Debug)]
pub(super) struct Stage {
    programs: Programs,
    pub(super) keys: Keys,
    pub(super) address: SocketAddr,
    server: Running,
    client: Option<Running>,
    // Last: it is removed after the programs have ended.
    folder: TempDir,
}

impl Stage {
    /// Starts a server with a file `big` of so many bytes and a file `small`.
    pub(super) fn new(programs: &Programs, big_bytes: u64) -> anyhow::Result<Self> {
        Self::in_setting(programs, big_bytes, |program| Command::new(program))
    }

    /// Starts a server by the command that `wrap` makes of the program's path.
    pub(super) fn in_setting(
        programs: &Programs,
        big_bytes: u64,
        wrap: impl FnOnce(&Path) -> Command,
    ) -> anyhow::Result<Self> {
        let folder = make_folder()?;
        let keys = Keys::make(folder.path())?;
        let root = folder.path().join("root");
        fs::create_dir(&root)?;
        fs::write(root.join("small"), [7; SMALL_BYTES])?;
        File::create(root.join("big"))?.set_len(big_bytes)?;
        let address = free_port()?;
        let mut command = wrap(&programs.rpserver);
        command
            .args(["--listen", &address.to_string(), "--allow", "127.0.0.0/8"])
            .arg("--key")
            .arg(&keys.host)
            .arg("--authorized-keys")
            .arg(&keys.authorized)
            .arg("--root")
            .arg(&root);
        let server = start(command, folder.path(), "rpserver")?;
        let stage = Self {
            programs: programs.clone(),
            keys,
            address,
            server,
            client: None,
            folder,
        };
        let began = Instant::now();
        while stage.get().is_err() {
            ensure!(began.elapsed() < TIMEOUT, "rpserver does not answer");
        }
        Ok(stage)
    }

    /// The server's process.
    pub(super) fn server_process(&self) -> u32 {
        self.server.0.id()
    }

    /// Starts `rpclient`; where its front ends listen.
    pub(super) fn proxy(&mut self) -> anyhow::Result<SocketAddr> {
        let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(&self.programs.rpclient);
        command
            .args(["--server", &self.address.to_string()])
            .args(["--host-key", &self.keys.fingerprint])
            .args(["--listen", &listen.to_string(), "--no-path-memory", "-i"])
            .arg(&self.keys.user);
        self.client = Some(start(command, self.folder.path(), "rpclient")?);
        let began = Instant::now();
        while TcpStream::connect(listen).is_err() {
            ensure!(began.elapsed() < TIMEOUT, "rpclient does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(listen)
    }

    /// How long an honest `rpcp` takes for the small file.
    pub(super) fn get(&self) -> anyhow::Result<Duration> {
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
        let mut running = start(command, self.folder.path(), "rpcp")?;
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

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Starts a program that sees nothing of the user's settings.
fn start(mut command: Command, folder: &Path, name: &str) -> anyhow::Result<Running> {
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
pub(super) fn origin(is_deaf: bool) -> anyhow::Result<SocketAddr> {
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
