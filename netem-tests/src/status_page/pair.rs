//! `rpserver` and `rpclient` with status pages and a load between them, on this machine.

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

use anyhow::{Context, bail};

use crate::{implementation::Kit, leftovers::note_process};

/// How long a program may take until it is ready.
const READY: Duration = Duration::from_secs(20);

/// Between two looks at what it said.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What the target sends at once, and how long it waits then: some 80 Mbit/s, which leaves the browser its share
/// of the machine.
static PIECE: [u8; 100_000] = [7; 100_000];
const PERIOD: Duration = Duration::from_millis(10);

/// Both programs; they and their load end when dropped.
#[derive(Debug)]
pub(super) struct Pair {
    server: Program,
    client: Program,
}

/// A running program and what it says.
#[derive(Debug)]
struct Program {
    child: Child,
    output: PathBuf,
}

impl Pair {
    /// Starts them with keys of the kit; their files are in `folder`.
    pub(super) fn start(kit: &Kit, folder: &Path) -> anyhow::Result<Self> {
        let (programs, keys) = (kit.programs()?, kit.keys()?);
        let text = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let mut args = text(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        args.extend(text(&["--allow", "127.0.0.0/8", "--control", "off"]));
        args.extend(["--key".into(), keys.host.clone().into()]);
        args.extend(["--authorized-keys".into(), keys.authorized.clone().into()]);
        let server = Program::start(&programs.rpserver, &args, folder)?;
        let address = server.said("listening on ")?;
        let mut args = text(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        args.extend(text(&[
            "--server",
            &address,
            "--control",
            "off",
            "--no-path-memory",
        ]));
        args.extend(text(&["--host-key", &keys.fingerprint]));
        args.extend(["-i".into(), keys.user.clone().into()]);
        let client = Program::start(&programs.rpclient, &args, folder)?;
        let proxy = client.said("listening on ")?.parse()?;
        let target = start_target()?;
        thread::spawn(move || {
            // Until the programs end.
            while download(proxy, target).is_ok() {}
        });
        Ok(Self { server, client })
    }

    /// Names and addresses of the pages, the server's first.
    pub(super) fn pages(&self) -> Vec<(&'static str, String)> {
        let page = |program: &Program| program.said("status page on ").unwrap_or_default();
        vec![
            ("rpserver", page(&self.server)),
            ("rpclient", page(&self.client)),
        ]
    }

    pub(super) fn end_server(&mut self) {
        self.server.end();
    }

    pub(super) fn end_client(&mut self) {
        self.client.end();
    }
}

impl Program {
    fn start(path: &Path, args: &[OsString], folder: &Path) -> anyhow::Result<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let output = folder.join(format!("{name}.out"));
        let out = File::create(&output)?;
        let child = Command::new(path)
            .args(args)
            .env_clear()
            .env("HOME", folder)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {}", path.display()))?;
        note_process(folder, &name, child.id())?;
        Ok(Self { child, output })
    }

    /// What stands behind `label`.
    fn said(&self, label: &str) -> anyhow::Result<String> {
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&self.output)?;
            if let Some(line) = text.lines().find_map(|line| line.strip_prefix(label)) {
                return Ok(line.trim().to_owned());
            }
            if began.elapsed() > READY {
                bail!("it did not say `{label}` but: {text}");
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// A web server that sends without end.
fn start_target() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            thread::spawn(move || serve(tcp));
        }
    });
    Ok(address)
}

fn serve(mut tcp: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 4096];
    if tcp.read(&mut request)? == 0 {
        return Ok(());
    }
    tcp.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
    loop {
        tcp.write_all(&PIECE)?;
        thread::sleep(PERIOD);
    }
}

fn download(proxy: SocketAddr, target: SocketAddr) -> std::io::Result<()> {
    let mut tcp = TcpStream::connect(proxy)?;
    let request = format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n");
    tcp.write_all(request.as_bytes())?;
    std::io::copy(&mut tcp, &mut std::io::sink()).map(|_| ())
}
