//! `lab peer first-byte`: asks for a small page in every way and takes the time until its first byte.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// How a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Plain TCP, nothing of ours.
    Tcp,
    /// `GET http://...` to the HTTP front end.
    Absolute,
    /// CONNECT, then the request.
    Connect,
    /// SOCKS5, then the request.
    Socks5,
    /// CONNECT that does not wait for the dial.
    OptimisticConnect,
    /// SOCKS5 that does not wait for the dial.
    OptimisticSocks5,
    /// A program of its own, over the connection of a running one.
    Program,
    /// That program's start alone.
    Start,
}

impl Way {
    /// In the order of tables.
    pub const ALL: [Self; 8] = [
        Self::Tcp,
        Self::Absolute,
        Self::Connect,
        Self::Socks5,
        Self::OptimisticConnect,
        Self::OptimisticSocks5,
        Self::Program,
        Self::Start,
    ];

    /// As tables have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "plain TCP",
            Self::Absolute => "absolute form",
            Self::Connect => "CONNECT",
            Self::Socks5 => "SOCKS5",
            Self::OptimisticConnect => "CONNECT, --optimistic",
            Self::OptimisticSocks5 => "SOCKS5, --optimistic",
            Self::Program => "rpclient connect, over a running rpclient",
            Self::Start => "start of the program rpclient, in the row above",
        }
    }

    /// How many it may take; `None` for what is only told.
    pub const fn round_trips(self) -> Option<u32> {
        match self {
            Self::Tcp | Self::Start => None,
            Self::Absolute | Self::OptimisticConnect | Self::OptimisticSocks5 => Some(1),
            Self::Connect | Self::Socks5 | Self::Program => Some(2),
        }
    }
}

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The web server as the client side reaches it.
    pub direct: SocketAddr,
    /// The same as the exit reaches it.
    pub target: SocketAddr,
    /// Front ends that wait for the dial.
    pub honest: SocketAddr,
    /// Front ends that do not.
    pub optimistic: SocketAddr,
    /// The program.
    pub rpclient: PathBuf,
    /// The socket of the one that runs.
    pub control: PathBuf,
    /// Of each kind.
    pub requests: usize,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answers {
    /// The middle one of the times, by way.
    pub medians: Vec<(Way, Duration)>,
}

/// Asks in every way, once around after the other, so that a disturbance meets all.
///
/// # Errors
/// A request fails.
pub fn ask(asking: &Asking) -> anyhow::Result<Answers> {
    let mut times = vec![Vec::new(); Way::ALL.len()];
    for _ in 0..asking.requests {
        for (way, times) in Way::ALL.into_iter().zip(&mut times) {
            let took = asking.take(way);
            times.push(took.with_context(|| way.name())?);
        }
    }
    let medians = times.into_iter().map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    Ok(Answers {
        medians: Way::ALL.into_iter().zip(medians).collect(),
    })
}

impl Asking {
    fn take(&self, way: Way) -> anyhow::Result<Duration> {
        let target = self.target;
        let get = |what: &str| {
            format!("GET {what} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n")
                .into_bytes()
        };
        let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").into_bytes();
        let mut request = vec![5, 1, 0, 1];
        if let SocketAddr::V4(target) = target {
            request.extend(target.ip().octets());
            request.extend(target.port().to_be_bytes());
        }
        let socks5 = [vec![5, 1, 0], request, get("/")];
        let took = match way {
            Way::Tcp => talk(self.direct, &[get("/")])?,
            Way::Absolute => talk(self.honest, &[get(&format!("http://{target}/"))])?,
            Way::Connect => talk(self.honest, &[connect, get("/")])?,
            Way::Socks5 => talk(self.honest, &socks5)?,
            Way::OptimisticConnect => talk(self.optimistic, &[connect, get("/")])?,
            Way::OptimisticSocks5 => talk(self.optimistic, &socks5)?,
            Way::Program => self.program(&get("/"))?,
            Way::Start => start(&self.rpclient)?,
        };
        Ok(took)
    }

    /// Asks by `rpclient connect`.
    fn program(&self, get: &[u8]) -> anyhow::Result<Duration> {
        let (host, port) = (self.target.ip().to_string(), self.target.port().to_string());
        let began = Instant::now();
        let mut child = Command::new(&self.rpclient)
            .args(["connect", &host, &port, "--control"])
            .arg(&self.control)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("no standard input")?;
        let mut output = child.stdout.take().context("no standard output")?;
        input.write_all(get)?;
        output.read_exact(&mut [0])?;
        let took = began.elapsed();
        drop(input);
        output.read_to_end(&mut Vec::new())?;
        ensure!(child.wait()?.success(), "rpclient connect fails");
        Ok(took)
    }
}

/// Sends each step once the one before is answered; the time up to the last one's first byte.
fn talk(to: SocketAddr, steps: &[Vec<u8>]) -> io::Result<Duration> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let mut answer = [0; 1024];
    for step in steps {
        stream.write_all(step)?;
        if stream.read(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(began.elapsed())
}

/// Starts a program that ends at once.
fn start(program: &Path) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let output = Command::new(program).arg("--version").output()?;
    ensure!(output.status.success(), "rpclient --version fails");
    Ok(began.elapsed())
}
