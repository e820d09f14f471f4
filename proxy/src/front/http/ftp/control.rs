//! The control connection to an FTP server: commands, replies, login, and the way to a data
//! connection. What is fetched over it is decided in the module above.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;
use tracing::debug;

use super::{
    reply::{BadReply, Reply},
    url::Login,
};
use crate::{
    client::{Client, TargetStream},
    error::OpenError,
    exit::policy::Policy,
    target::{Host, Target},
};

/// Time a server has for a reply; some look the client's name up before they greet it.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Why nothing was fetched.
#[derive(Debug)]
pub(super) enum FtpError {
    /// The server cannot be reached.
    Open(OpenError),
    /// It does not answer.
    Silent,
    /// It left without an answer.
    Gone,
    /// What it says is not FTP.
    Unintelligible,
    /// It does not let us in.
    Login(Reply),
    /// It does not do what it was asked.
    Refused(Reply),
}

impl From<OpenError> for FtpError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::BadReply => Self::Gone,
            error => Self::Open(error),
        }
    }
}

impl From<BadReply> for FtpError {
    fn from(BadReply: BadReply) -> Self {
        Self::Unintelligible
    }
}

/// A control connection whose server has let us in.
#[derive(Debug)]
pub(super) struct Control<'a> {
    client: &'a Client,
    server: Target,
    stream: TargetStream,
    ahead: BytesMut,
}

impl<'a> Control<'a> {
    /// Connects to `server` and logs in.
    pub(super) async fn open(
        client: &'a Client,
        server: &Target,
        login: &Login,
    ) -> Result<Self, FtpError> {
        let (_, stream) = client.connect(server, Bytes::new()).await?;
        let mut control = Self {
            client,
            server: server.clone(),
            stream,
            ahead: BytesMut::new(),
        };
        let mut greeting = control.reply().await?;
        // RFC 959 section 5.4: ready in so many minutes.
        while greeting.code == 120 {
            greeting = control.reply().await?;
        }
        if !greeting.is_good() {
            return Err(FtpError::Refused(greeting));
        }
        let mut answer = control.command(&format!("USER {}", login.user)).await?;
        if answer.code == 331 {
            answer = control.command(&format!("PASS {}", login.password)).await?;
        }
        match answer.code {
            200..300 => Ok(control),
            _ => Err(FtpError::Login(answer)),
        }
    }

    /// Sends `command`, which holds no end of a line, and waits for the reply.
    pub(super) async fn command(&mut self, command: &str) -> Result<Reply, FtpError> {
        debug_assert!(!command.contains(['\r', '\n']), "the URL was checked");
        let line = Bytes::from(format!("{command}\r\n"));
        let (send, _) = self.stream.split();
        send.write_bytes(line).await.map_err(OpenError::from)?;
        self.reply().await
    }

    /// As [`command`](Self::command), and a refusal is an error.
    pub(super) async fn must(&mut self, command: &str) -> Result<Reply, FtpError> {
        let reply = self.command(command).await?;
        match reply.is_good() {
            true => Ok(reply),
            false => Err(FtpError::Refused(reply)),
        }
    }

    /// Waits for the next reply.
    pub(super) async fn reply(&mut self) -> Result<Reply, FtpError> {
        let read = async {
            loop {
                if let Some((reply, len)) = Reply::parse(&self.ahead)? {
                    let _ = self.ahead.split_to(len);
                    return Ok(reply);
                }
                match self.stream.split().1.read().await? {
                    Some(data) => self.ahead.extend_from_slice(&data),
                    None => return Err(FtpError::Gone),
                }
            }
        };
        timeout(REPLY_TIMEOUT, read)
            .await
            .unwrap_or(Err(FtpError::Silent))
    }

    /// A data connection, over which the next command transfers.
    pub(super) async fn data(&mut self) -> Result<TargetStream, FtpError> {
        let extended = self.command("EPSV").await?;
        if extended.code == 229
            && let Some(port) = extended.extended_port()
        {
            match self.dial(self.server.host().clone(), port).await {
                // Of a name with several addresses another one may have answered.
                Err(FtpError::Open(OpenError::Dial(failure))) => {
                    debug!(server = %self.server, %failure, "no data connection by EPSV");
                }
                dialled => return dialled,
            }
        }
        let passive = self.must("PASV").await?;
        let named = passive.passive_addr().filter(|_| passive.code == 227);
        let named = named.ok_or(FtpError::Unintelligible)?;
        //= spec/10-proxy.md#http
        //# A private address that an FTP server names for its data MUST NOT be dialled; the control
        //# connection's host is.
        // A server behind a NAT names an address of its own network. One that names a public address
        // is one of several behind its name; where we know the address, no other is dialled for it.
        let is_public = Policy::default().check(named.into()).is_ok();
        let host = match self.server.host() {
            Host::Name(_) if is_public => Host::Ip((*named.ip()).into()),
            host => host.clone(),
        };
        self.dial(host, named.port()).await
    }

    async fn dial(&self, host: Host, port: u16) -> Result<TargetStream, FtpError> {
        let target = Target::new(host, port).map_err(|_| FtpError::Unintelligible)?;
        let (_, stream) = self.client.connect(&target, Bytes::new()).await?;
        Ok(stream)
    }

    /// Says goodbye; nobody waits for the answer.
    pub(super) async fn quit(mut self) {
        let (send, _) = self.stream.split();
        if send
            .write_bytes(Bytes::from_static(b"QUIT\r\n"))
            .await
            .is_ok()
        {
            let _ = send.finish();
        }
    }
}
