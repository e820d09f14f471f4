//! Thousands of SOCKS5 clients in one thread, each with one connection to a server that echoes.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
    task::JoinSet,
    time::timeout,
};

/// Clients that are busy at once: one listener's backlog holds them.
const AT_ONCE: usize = 128;

/// How long one may wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that stay until told to leave.
#[derive(Debug)]
pub(crate) struct Crowd {
    runtime: Runtime,
    streams: Vec<TcpStream>,
    /// Written into each message, so that no echo is taken for an earlier one.
    round: u64,
}

impl Crowd {
    /// Nobody yet.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            runtime,
            streams: Vec::new(),
            round: 0,
        })
    }

    /// Opens `count` connections through `proxy` to `target` and has each echo; how many failed.
    pub(crate) fn connect(&mut self, proxy: SocketAddr, target: SocketAddr, count: usize) -> usize {
        let first = self.streams.len() as u64;
        let made = (first..first + count as u64).map(|number| async move {
            let mut stream = dial(proxy, target).await?;
            echo(&mut stream, number).await?;
            Ok(stream)
        });
        self.keep(made.collect())
    }

    /// Opens `count` connections to `proxy` and sends as much of a greeting as `greeting` says; how many failed.
    pub(crate) fn begin(
        &mut self,
        proxy: SocketAddr,
        greeting: &'static [u8],
        count: usize,
    ) -> usize {
        let made = (0..count).map(|_| async move {
            let mut stream = TcpStream::connect(proxy).await?;
            stream.write_all(greeting).await?;
            Ok(stream)
        });
        self.keep(made.collect())
    }

    /// Has every connection echo once more; how many did not.
    pub(crate) fn echo(&mut self) -> usize {
        self.round += 1;
        let round = self.round << 32;
        let streams = std::mem::take(&mut self.streams);
        let made = streams.into_iter().enumerate();
        let made = made.map(|(number, mut stream)| async move {
            echo(&mut stream, round + number as u64).await?;
            Ok(stream)
        });
        self.keep(made.collect())
    }

    /// Closes all.
    pub(crate) fn leave(&mut self) {
        let _inside = self.runtime.enter();
        self.streams = Vec::new();
    }

    /// Runs all of them, some at once, and keeps what they lead to; how many failed.
    fn keep<F>(&mut self, made: Vec<F>) -> usize
    where
        F: Future<Output = io::Result<TcpStream>> + Send + 'static,
    {
        let count = made.len();
        let before = self.streams.len();
        let mut left = made.into_iter();
        self.runtime.block_on(async {
            let mut running = JoinSet::new();
            loop {
                while running.len() < AT_ONCE
                    && let Some(next) = left.next()
                {
                    running.spawn(timeout(TIMEOUT, next));
                }
                match running.join_next().await {
                    None => return,
                    Some(Ok(Ok(Ok(stream)))) => self.streams.push(stream),
                    Some(_) => {}
                }
            }
        });
        count - (self.streams.len() - before)
    }
}

/// A connection to `target` by SOCKS5.
pub(crate) async fn dial(proxy: SocketAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let SocketAddr::V4(target) = target else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut stream = TcpStream::connect(proxy).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&[5, 1, 0]).await?;
    let mut method = [0; 2];
    stream.read_exact(&mut method).await?;
    let mut request = vec![5, 1, 0, 1];
    request.extend(target.ip().octets());
    request.extend(target.port().to_be_bytes());
    stream.write_all(&request).await?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).await?;
    match reply[1] {
        0 => Ok(stream),
        code => Err(io::Error::other(format!("SOCKS5 reply {code}"))),
    }
}

/// Sends `number` and reads it back.
async fn echo(stream: &mut TcpStream, number: u64) -> io::Result<()> {
    stream.write_all(&number.to_be_bytes()).await?;
    let mut back = [0; 8];
    stream.read_exact(&mut back).await?;
    match u64::from_be_bytes(back) == number {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}
