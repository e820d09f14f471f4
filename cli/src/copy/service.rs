//! The server's side of the copy service: takes the requests of one connection and answers them
//! beneath the folder this client was given.

use std::{future, path::Path, sync::Arc, time::Duration};

use rp_protocol::{Connection, RecvStream, SendStream, units::Side};
use rp_transfer::{
    error::Error,
    message::{Done, Get, Message, Put},
    path::{RemotePath, Root, printable_path},
    receiver::{OpenSink, Receiver},
    sender::Sender,
    session::Summary,
    source::Source,
    writer::Writer,
};
use tokio::sync::Semaphore;

use super::{
    CopyError,
    activity::SILENCE,
    arrivals::Arrivals,
    control::{ControlError, ControlReader, ControlWriter},
    drive::{CLOSE_TIMEOUT, MakeHalf, Streams, drive},
};

/// The service's name in the handshake.
pub const SERVICE: &str = "rpp-copy/1";

/// Requests of one connection that run at once; each has a thread and up to 4 MiB of buffers.
/// Further ones wait.
const MAX_REQUESTS: usize = 16;

/// What a client may do here.
#[derive(Clone, Debug)]
pub struct Access {
    root: Option<Arc<Root>>,
    read_only: bool,
    silence: Duration,
}

impl Access {
    /// No files at all.
    pub fn none() -> Self {
        Self {
            root: None,
            read_only: true,
            silence: SILENCE,
        }
    }

    /// The files beneath the folder `root`.
    ///
    /// # Errors
    /// There is no such folder, or it may not be opened.
    pub fn beneath(root: &Path, read_only: bool) -> Result<Self, Error> {
        let opened = Root::open(root).map_err(|error| Error::io(root.display(), error))?;
        Ok(Self {
            root: Some(Arc::new(opened)),
            read_only,
            silence: SILENCE,
        })
    }

    /// How long a client may do nothing while it is its turn, before its request is ended. Default
    /// 30 s: an honest client that is busy says so every 10 s.
    #[must_use]
    pub fn silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }
}

/// Says what a client may do; it is asked anew for each request.
pub trait AccessCheck: Send + Sync + 'static {
    /// What the client may do at present. `None` if it may not be here any more; whoever says so
    /// closes the connection.
    fn access(&self) -> Option<Access>;
}

impl AccessCheck for Access {
    /// Always the same.
    fn access(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// Answers the requests of `connection` until it is over.
pub async fn serve(connection: Connection, access: impl AccessCheck) {
    let access: Arc<dyn AccessCheck> = Arc::new(access);
    let arrivals = Arc::new(Arrivals::new(&connection, Side::Client));
    let running = Arc::new(Semaphore::new(MAX_REQUESTS));
    while let Ok(permit) = Arc::clone(&running).acquire_owned().await {
        let Ok((writer, reader)) = connection.accept_bi().await else {
            return;
        };
        let Some(present) = access.access() else {
            return;
        };
        let request = Request {
            connection: connection.clone(),
            arrivals: Arc::clone(&arrivals),
            access: Arc::clone(&access),
            silence: present.silence,
        };
        tokio::spawn(async move {
            request.answer(writer, reader).await;
            drop(permit);
        });
    }
}

/// One request and what it needs.
struct Request {
    connection: Connection,
    arrivals: Arc<Arrivals>,
    access: Arc<dyn AccessCheck>,
    silence: Duration,
}

impl Request {
    async fn answer(self, writer: SendStream, reader: RecvStream) {
        let mut reader = ControlReader::new(reader);
        let mut writer = ControlWriter::new(writer);
        //= spec/20-copy.md#requests
        //# The client's first message on it MUST be Put or Get.
        let first = tokio::time::timeout(self.silence, reader.next());
        let message = first.await.unwrap_or(Ok(None));
        let Some(access) = self.access.access() else {
            return;
        };
        let (verb, path, result) = match message {
            Ok(Some(Message::Put(put))) => {
                let path = printable_path(&put.path);
                ("put", path, self.put(access, put, reader, writer).await)
            }
            Ok(Some(Message::Get(get))) => {
                let path = printable_path(&get.path);
                ("get", path, self.get(access, get, reader, writer).await)
            }
            Ok(Some(_)) => {
                let error = Error::Protocol("the first message is no request");
                refuse(&mut writer, &error).await;
                ("request", String::new(), Err(error.into()))
            }
            Err(ControlError::Decode(error)) => {
                let error = Error::Decode(error);
                refuse(&mut writer, &error).await;
                ("request", String::new(), Err(error.into()))
            }
            Ok(None) | Err(ControlError::Read(_)) => return,
        };
        self.log(verb, &path, &result);
    }

    /// Takes a file.
    async fn put(
        &self,
        access: Access,
        put: Put,
        reader: ControlReader,
        writer: ControlWriter,
    ) -> Result<Summary, CopyError> {
        let root = access.root;
        let (read_only, path, name) = (access.read_only, put.path.clone(), put.name.clone());
        let open: OpenSink = Box::new(move |attributes| {
            let shared = writable(root.as_deref(), read_only, &path)?;
            let path = RemotePath::parse_named(&path)?;
            let destination = shared.destination(&path, &name)?;
            Ok(Box::new(Writer::create(destination, attributes.size)?))
        });
        let stream = put.stream;
        let make = Box::new(move || Box::new(Receiver::accept(&put, open, Arc::default())) as _);
        let result = self.drive(make, reader, writer, None).await;
        if result.is_err() {
            // Refused, its data may be on its way all the same.
            self.arrivals.abandon(stream);
        }
        result
    }

    /// Gives a file.
    async fn get(
        &self,
        access: Access,
        get: Get,
        reader: ControlReader,
        mut writer: ControlWriter,
    ) -> Result<Summary, CopyError> {
        let root = access.root;
        let opening = tokio::task::spawn_blocking(move || {
            let path = RemotePath::parse_named(&get.path)?;
            let shared = root.as_deref().ok_or_else(|| no_files(&get.path))?;
            Source::file(shared.source(&path)?, &path.display())
        });
        let opened = opening.await.unwrap_or_else(|panic| {
            let error = std::io::Error::other(panic);
            Err(Error::io("opening the file", error))
        });
        let source = match opened {
            Ok(source) => source,
            Err(error) => {
                refuse(&mut writer, &error).await;
                return Err(error.into());
            }
        };
        let data = self.connection.open_uni().await?;
        let stream = data.id().into_inner();
        let make = Box::new(move || Box::new(Sender::serve(stream, source, Arc::default())) as _);
        self.drive(make, reader, writer, Some(data)).await
    }

    async fn drive(
        &self,
        make: MakeHalf,
        reader: ControlReader,
        writer: ControlWriter,
        data: Option<SendStream>,
    ) -> Result<Summary, CopyError> {
        let streams = Streams {
            reader,
            writer,
            data,
            connection: &self.connection,
            arrivals: &self.arrivals,
            silence: self.silence,
        };
        drive(make, streams, future::pending()).await
    }

    fn log(&self, verb: &str, path: &str, result: &Result<Summary, CopyError>) {
        let peer = self.connection.peer();
        match result {
            Ok(summary) => {
                tracing::info!(%peer, verb, path, bytes = summary.bytes, "copied");
            }
            Err(error) => tracing::info!(%peer, verb, path, %error, "not copied"),
        }
    }
}

/// The root, if this client may write beneath it.
fn writable<'a>(root: Option<&'a Root>, read_only: bool, path: &[u8]) -> Result<&'a Root, Error> {
    match root {
        None => Err(no_files(path)),
        Some(_) if read_only => Err(Error::ReadOnly(printable_path(path))),
        Some(root) => Ok(root),
    }
}

fn no_files(path: &[u8]) -> Error {
    let error = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let path = printable_path(path);
    Error::Io {
        what: format!("{path}: this server shares no files"),
        source: error,
    }
}

/// Answers a request that is not even begun.
async fn refuse(writer: &mut ControlWriter, error: &Error) {
    let done: Done = error.to_done();
    let telling = async {
        writer.send(&Message::Done(done)).await?;
        writer.finish().await
    };
    // When the connection is over, or nothing is taken on it, there is nobody to tell.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, telling).await;
}
