//! `ftp` URLs for clients that speak HTTP to their proxy: files and folders of FTP servers, fetched in
//! passive mode over dials of the exit.
//!
//! 1. The URL names server, user and path; a control connection is opened and logged in.
//! 2. A file's size and date become fields; what is no file is a folder, whose listing becomes HTML.
//! 3. The last piece is held back until the server has said that the transfer is whole.

mod control;
mod date;
pub(crate) mod fuzz;
mod listing;
mod range;
mod reply;
mod url;

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use tokio::{net::TcpStream, time::timeout};
use tracing::debug;

use self::{
    control::{Control, FtpError},
    listing::Rows,
    range::{Asked, Range},
    reply::Reply,
    url::{BadUrl, FtpUrl, Kind, Login},
};
use super::{
    FrontEndContext, Next,
    answer::{self, Answer},
    body::{chunk, last_chunk},
    connection::write_all,
    fields::Fields,
    forward,
    framing::Framing,
    head::{Minor, RequestHead, ResponseHead},
};
use crate::client::TargetStream;

/// Silence of a data connection after which it is given up.
const DATA_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Whether `target`, from a request line, is for us.
pub(super) fn is_asked(target: &[u8]) -> bool {
    FtpUrl::is_one(target)
}

/// What came of a request.
pub(super) enum Done {
    /// It is answered with this.
    Answer(Answer),
    /// It cannot be served, as this answer says.
    Unfit(Answer),
    /// A response was sent.
    Sent(Next),
}

/// Why there is nothing to send, or no more of it.
enum Failed {
    Ftp(FtpError),
    Answer(Answer),
    /// The response's head was sent; what came behind it is not whole.
    Broken(&'static str),
}

impl From<FtpError> for Failed {
    fn from(error: FtpError) -> Self {
        Self::Ftp(error)
    }
}

/// Serves the request with `head`; `closes` says whether the client's connection ends behind the response.
pub(super) async fn serve(
    tcp: &TcpStream,
    context: &FrontEndContext,
    head: &RequestHead,
    closes: bool,
) -> Done {
    let is_head = match head.method.as_ref() {
        b"GET" => false,
        b"HEAD" => true,
        _ => {
            let answer = Answer::new(405, "Of ftp URLs only GET and HEAD are served.");
            return Done::Unfit(answer.with("Allow", "GET, HEAD"));
        }
    };
    let url = match FtpUrl::parse(&head.target) {
        Ok(url) => url,
        Err(bad) => return Done::Unfit(bad_url(bad)),
    };
    let exchange = Exchange {
        tcp,
        context,
        head,
        url: &url,
        is_head,
        closes,
    };
    match exchange.run().await {
        Ok(()) if closes => Done::Sent(Next::Close),
        Ok(()) => Done::Sent(Next::Keep),
        Err(Failed::Answer(answer)) => Done::Answer(answer),
        Err(Failed::Ftp(error)) => {
            debug!(server = %url.target, ?error, "ftp failed");
            Done::Answer(failed(&error, url.login.is_some()))
        }
        Err(Failed::Broken(why)) => {
            debug!(server = %url.target, why, "ftp transfer broken");
            //= spec/10-proxy.md#http
            //# A response that breaks off behind its head MUST reset the client's connection.
            Done::Sent(Next::Reset)
        }
    }
}

/// One request.
struct Exchange<'a> {
    tcp: &'a TcpStream,
    context: &'a FrontEndContext,
    head: &'a RequestHead,
    url: &'a FtpUrl,
    is_head: bool,
    closes: bool,
}

impl Exchange<'_> {
    async fn run(&self) -> Result<(), Failed> {
        let login = self.login();
        let mut control = Control::open(&self.context.client, &self.url.target, &login).await?;
        match self.url.kind {
            Kind::Listing => {
                if !self.url.path.is_empty() {
                    control.must(&format!("CWD {}", self.url.path)).await?;
                }
                self.folder(&mut control).await?;
            }
            Kind::Image | Kind::Text => self.file(&mut control).await?,
        }
        control.quit().await;
        Ok(())
    }

    /// As whom: what the URL says, what the client says in the way of HTTP, or nobody in particular.
    fn login(&self) -> Login {
        if let Some(login) = &self.url.login {
            return login.clone();
        }
        let authorization = self.head.fields.all("authorization").next();
        authorization
            .and_then(|field| basic(field))
            .unwrap_or_else(|| Login {
                user: "anonymous".to_owned(),
                // RFC 1635: the password is an address of electronic mail, and nobody's is told.
                password: "anonymous@".to_owned(),
            })
    }

    async fn file(&self, control: &mut Control<'_>) -> Result<(), Failed> {
        let path = &self.url.path;
        let is_image = self.url.kind == Kind::Image;
        control
            .must(if is_image { "TYPE I" } else { "TYPE A" })
            .await?;
        let mut size = None;
        if is_image {
            let reply = control.command(&format!("SIZE {path}")).await?;
            size = reply.size().filter(|_| reply.code == 213);
            let is_folder =
                reply.code == 550 && control.command(&format!("CWD {path}")).await?.is_good();
            if is_folder {
                return self.folder(control).await;
            }
        }
        let mut fields = Fields::default();
        fields.push("Content-Type", "application/octet-stream");
        let reply = control.command(&format!("MDTM {path}")).await?;
        let modified = (reply.code == 213)
            .then(|| date::parse(&reply.text))
            .flatten();
        let modified = modified.map(httpdate::fmt_http_date);
        if let Some(modified) = &modified {
            fields.push("Last-Modified", modified.clone());
        }
        if size.is_some() {
            fields.push("Accept-Ranges", "bytes");
        }
        if self.is_head {
            if let Some(size) = size {
                fields.push("Content-Length", size.to_string());
            }
            return self.begin(200, fields, Framing::None).await;
        }
        let range = match range::asked(&self.head.fields, size, modified.as_deref()) {
            Asked::All => None,
            Asked::Part(range) => Some(range),
            Asked::Nothing(size) => {
                let text = format!("The file has {size} bytes; ask for some of them.");
                let answer = Answer::new(416, text);
                return Err(Failed::Answer(
                    answer.with("Content-Range", format!("bytes */{size}")),
                ));
            }
        };
        let mut data = control.data().await?;
        let range = match range {
            Some(range) if range.first > 0 => {
                let restarted = control.command(&format!("REST {}", range.first)).await?;
                // A server that cannot begin in the middle sends all of it.
                restarted.is_good().then_some(range)
            }
            range => range,
        };
        let started = control.must(&format!("RETR {path}")).await?;
        if started.code >= 200 {
            return Err(FtpError::Unintelligible.into());
        }
        let (status, len) = match (range, size) {
            (Some(range), _) => {
                fields.push("Content-Range", range.to_string());
                (206, Some(range.len()))
            }
            (None, size) => (200, size),
        };
        let framing = self.framing(len);
        self.begin(status, fields, framing).await?;
        self.send_file(control, &mut data, framing, range).await
    }

    /// Passes a file on as it is sent.
    async fn send_file(
        &self,
        control: &mut Control<'_>,
        data: &mut TargetStream,
        framing: Framing,
        range: Option<Range>,
    ) -> Result<(), Failed> {
        let mut left = match framing {
            Framing::Sized(len) => Some(len),
            _ => range.map(|range| range.len()),
        };
        // Of the end of a file the server has to say that it is one; the end of a range is known.
        let is_to_end = range.is_none_or(|range| range.is_to_end());
        let mut held = Bytes::new();
        while is_to_end || left != Some(0) {
            let Some(mut piece) = self.read(data).await? else {
                break;
            };
            if let Some(left) = &mut left {
                let len = piece.len() as u64;
                if len > *left {
                    if is_to_end {
                        return Err(Failed::Broken("the file is longer than the server said"));
                    }
                    piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                }
                *left = left.saturating_sub(len);
            }
            self.give(std::mem::replace(&mut held, piece), framing)
                .await?;
        }
        if left.is_some_and(|left| left > 0) {
            return Err(Failed::Broken("the file is shorter than the server said"));
        }
        if is_to_end {
            self.finished(control).await?;
        }
        self.give(held, framing).await?;
        self.end(framing).await
    }

    /// Sends what is in the folder the server is in.
    async fn folder(&self, control: &mut Control<'_>) -> Result<(), Failed> {
        let mut fields = Fields::default();
        fields.push("Content-Type", "text/html; charset=utf-8");
        // Whatever the server tells, it is text.
        fields.push("Content-Security-Policy", "default-src 'none'");
        if self.is_head {
            return self.begin(200, fields, Framing::None).await;
        }
        let mut rows = Rows::new(&self.url.link);
        let mut data = control.data().await?;
        let started = control.command("LIST").await?;
        // Some servers have no listing of an empty folder.
        let is_empty = matches!(started.code, 450 | 550);
        if !is_empty && !(100..200).contains(&started.code) {
            return Err(FtpError::Refused(started).into());
        }
        let framing = self.framing(None);
        self.begin(200, fields, framing).await?;
        let host = self.url.target.host().to_string();
        self.give(rows.head(&host).into(), framing).await?;
        if !is_empty {
            while let Some(piece) = self.read(&mut data).await? {
                self.give(rows.push(&piece).into(), framing).await?;
            }
            self.finished(control).await?;
        }
        self.give(rows.finish().into(), framing).await?;
        self.end(framing).await
    }

    /// What ends the response's body.
    fn framing(&self, len: Option<u64>) -> Framing {
        match len {
            Some(len) => Framing::Sized(len),
            None if self.head.version.is_old() => Framing::UntilClose,
            None => Framing::Chunked,
        }
    }

    /// The next bytes of a data connection, `None` at its end.
    async fn read(&self, data: &mut TargetStream) -> Result<Option<Bytes>, Failed> {
        match timeout(DATA_TIMEOUT, data.split().1.read()).await {
            Ok(Ok(piece)) => {
                let len = piece.as_ref().map_or(0, Bytes::len) as u64;
                self.context.traffic.count_received(len);
                Ok(piece)
            }
            Ok(Err(_)) => Err(Failed::Broken("the data connection was cut")),
            Err(_elapsed) => Err(Failed::Broken("the data connection fell silent")),
        }
    }

    /// Waits until the server says that all was sent.
    //= spec/10-proxy.md#http
    //# The end of an FTP transfer MUST NOT look like one before the server has said that all was sent, but
    //# for the end of a part that was asked for.
    async fn finished(&self, control: &mut Control<'_>) -> Result<(), Failed> {
        match control.reply().await {
            Ok(reply) if reply.is_good() => Ok(()),
            _ => Err(Failed::Broken("the server did not finish")),
        }
    }

    async fn begin(&self, status: u16, fields: Fields, framing: Framing) -> Result<(), Failed> {
        let head = ResponseHead {
            version: Minor(1),
            status,
            reason: Bytes::from_static(match status {
                206 => b"Partial Content",
                _ => b"OK",
            }),
            fields,
        };
        self.write(forward::response(&head, framing, self.closes))
            .await
    }

    async fn give(&self, data: Bytes, framing: Framing) -> Result<(), Failed> {
        match framing {
            // An empty chunk would be the end.
            _ if data.is_empty() => Ok(()),
            Framing::Chunked => self.write(chunk(data)).await,
            _ => self.write(data).await,
        }
    }

    async fn end(&self, framing: Framing) -> Result<(), Failed> {
        match framing {
            Framing::Chunked => self.write(last_chunk(&Fields::default())).await,
            _ => Ok(()),
        }
    }

    async fn write(&self, data: impl bytes::Buf) -> Result<(), Failed> {
        write_all(self.tcp, data)
            .await
            .map_err(|_| Failed::Broken("the client left"))
    }
}

/// The login in a field of the Basic scheme (RFC 7617), if it can be one of FTP.
fn basic(field: &[u8]) -> Option<Login> {
    let (scheme, rest) = field.split_first_chunk::<6>()?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(rest.trim_ascii()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (user, password) = pair.split_once(':')?;
    (!pair.contains(['\r', '\n', '\0'])).then(|| Login {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

fn bad_url(bad: BadUrl) -> Answer {
    let text = match bad {
        BadUrl::Target => "The URL names no valid host and port; check it.",
        BadUrl::Path => {
            "The URL's path, user or `;type=` cannot be sent to an FTP server; check its % escapes."
        }
    };
    Answer::new(400, text)
}

/// The answer to a request of which nothing was sent yet; `is_named` says whether its URL names a user.
fn failed(error: &FtpError, is_named: bool) -> Answer {
    let said = |reply: &Reply| format!("The FTP server says: {} {}", reply.code, reply.text);
    match error {
        FtpError::Open(error) => answer::failed(error),
        FtpError::Silent => Answer::new(504, "The FTP server does not answer; try again later."),
        FtpError::Gone => Answer::new(
            502,
            "The FTP server ended the connection without an answer; try again.",
        ),
        FtpError::Unintelligible => Answer::new(
            502,
            "What answers is not understood as an FTP server; check the host and the port.",
        ),
        // A user in the URL will not be another one if asked for again.
        FtpError::Login(reply) | FtpError::Refused(reply)
            if matches!(reply.code, 331 | 332 | 430 | 530) =>
        {
            match is_named {
                true => Answer::new(403, said(reply)),
                false => Answer::new(401, said(reply))
                    .with("WWW-Authenticate", "Basic realm=\"FTP\", charset=\"UTF-8\""),
            }
        }
        FtpError::Login(reply) | FtpError::Refused(reply) => {
            let status = match reply.code {
                550 => 404,
                532 | 534 | 553 => 403,
                400..500 => 503,
                _ => 502,
            };
            Answer::new(status, said(reply))
        }
    }
}
