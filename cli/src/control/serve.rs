//! The program's side of a control socket: reads commands, has them done, answers.
//! What they do is the [`Handler`]'s.

use std::{
    fmt,
    future::{Future, pending},
    io,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    message::{Command, MAX_COMMAND_BYTES, Refusal, Reply},
    socket::ControlSocket,
};

/// Callers at once; more wait in the socket's queue.
const MAX_CALLERS: usize = 64;

/// Connections at once that commands have taken over.
const MAX_TAKEN: usize = 4096;

/// How long a caller may take to bring a command or to take its answer. One that watches asks every
/// second; one that does not ask frees its place.
const CALLER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a command may take: waiting for the link and then for a dial takes 20 seconds.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after `accept` failed, in which descriptors may become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection that a command has taken over carries: the connection, and bytes that the caller
/// sent behind the command.
pub type TakeOver =
    Box<dyn FnOnce(UnixStream, Bytes) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What a command leads to.
pub enum Answer {
    /// This; the caller may give another command.
    Reply(Value),
    /// This, and then the connection is no longer ours.
    TakeOver(Value, TakeOver),
}

impl Answer {
    /// An answer that says `value`.
    ///
    /// # Errors
    /// It cannot be said in JSON.
    pub fn reply(value: &impl Serialize) -> Result<Self, Refusal> {
        serde_json::to_value(value)
            .map(Self::Reply)
            .map_err(|error| Refusal::new(error.to_string()))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(value) => f.debug_tuple("Reply").field(value).finish(),
            Self::TakeOver(value, _) => f
                .debug_tuple("TakeOver")
                .field(value)
                .finish_non_exhaustive(),
        }
    }
}

/// Does what a program is told.
pub trait Handler: Send + Sync + 'static {
    /// Does `command`; dropped if it takes too long.
    fn handle(&self, command: Command) -> impl Future<Output = Result<Answer, Refusal>> + Send;
}

/// Serves the callers of `socket`, if there is one. Ends only if dropped.
pub async fn serve(socket: Option<ControlSocket>, handler: impl Handler) {
    let Some(socket) = socket else {
        return pending().await;
    };
    let handler = Arc::new(handler);
    let callers = Arc::new(Semaphore::new(MAX_CALLERS));
    let taken = Arc::new(Semaphore::new(MAX_TAKEN));
    loop {
        // The semaphore is never closed.
        let Ok(place) = callers.clone().acquire_owned().await else {
            return;
        };
        match socket.listener.accept().await {
            Ok((stream, _)) => {
                let caller = Caller {
                    stream,
                    read: BytesMut::new(),
                };
                let (handler, taken) = (handler.clone(), taken.clone());
                tokio::spawn(async move {
                    if let Err(error) = caller.serve(&*handler, place, &taken).await {
                        debug!(%error, "control connection ended");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a control connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Caller {
    stream: UnixStream,
    /// What came behind the command.
    read: BytesMut,
}

impl Caller {
    async fn serve(
        mut self,
        handler: &impl Handler,
        place: OwnedSemaphorePermit,
        taken: &Arc<Semaphore>,
    ) -> io::Result<()> {
        self.check()?;
        while let Some(command) = self.command().await? {
            let answer = match command {
                Ok(command) => timeout(COMMAND_TIMEOUT, handler.handle(command))
                    .await
                    .unwrap_or_else(|_| Err(Refusal::new("it takes too long"))),
                Err(refusal) => Err(refusal),
            };
            match answer {
                Ok(Answer::Reply(value)) => self.say(&Reply::Ok(value)).await?,
                Err(refusal) => self.say(&Reply::Error(refusal.to_string())).await?,
                Ok(Answer::TakeOver(value, take_over)) => {
                    let Ok(_taken) = taken.clone().try_acquire_owned() else {
                        let refusal = "too many connections through the control socket";
                        self.say(&Reply::Error(refusal.into())).await?;
                        continue;
                    };
                    self.say(&Reply::Ok(value)).await?;
                    drop(place);
                    take_over(self.stream, self.read.freeze()).await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The mode of the file keeps others out; who passes a descriptor on to them is stopped here.
    fn check(&self) -> io::Result<()> {
        let uid = self.stream.peer_cred()?.uid();
        if uid == 0 || uid == rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        warn!(uid, "control connection of another user refused");
        Err(io::ErrorKind::PermissionDenied.into())
    }

    /// The next command; `None` once the caller has gone, or says nothing for too long.
    async fn command(&mut self) -> io::Result<Option<Result<Command, Refusal>>> {
        let line = match timeout(CALLER_TIMEOUT, self.line()).await {
            Ok(line) => line?,
            Err(_) => return Ok(None),
        };
        match line {
            Line::Whole(line) => Ok(Some(Command::parse(&line))),
            Line::End => Ok(None),
            Line::TooLong => {
                let text = format!("a command has at most {MAX_COMMAND_BYTES} bytes");
                self.say(&Reply::Error(text)).await?;
                // The next command cannot be told from the rest of this one.
                Ok(None)
            }
        }
    }

    async fn line(&mut self) -> io::Result<Line> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line = self.read.split_to(end + 1);
                return Ok(Line::Whole(line.freeze()));
            }
            if self.read.len() >= MAX_COMMAND_BYTES {
                return Ok(Line::TooLong);
            }
            let room = MAX_COMMAND_BYTES - self.read.len();
            let mut stream = (&mut self.stream).take(room as u64);
            if stream.read_buf(&mut self.read).await? == 0 {
                return Ok(Line::End);
            }
        }
    }

    async fn say(&mut self, reply: &Reply) -> io::Result<()> {
        let line = reply.to_line();
        timeout(CALLER_TIMEOUT, self.stream.write_all(&line)).await?
    }
}

/// What a caller brought.
enum Line {
    Whole(Bytes),
    End,
    TooLong,
}
