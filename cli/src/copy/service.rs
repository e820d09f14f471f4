//! The server's side of the copy service: takes the requests of one connection and answers them
//! beneath the folder this client was given.

use std::{future, sync::Arc, time::Duration};

use rp_protocol::{Connection, RecvStream, SendStream, units::Side};
use rp_proxy::shares::{Place, Shares};
use rp_transfer::{
    batch::max_open_of_all,
    error::Error,
    message::{CopyId, Get, Message, Put, PutBatch},
    path::printable_path,
    receiver::{OpenSink, Receiver},
    sender::Sender,
    session::Summary,
    source::Source,
    writer::{Noted, Writer},
};
use tokio::{sync::Semaphore, time::timeout};

mod access;
mod copies;
mod tree;

pub use self::access::{Access, AccessCheck, Shared};
use self::copies::{Connected, Copies, Joined};

use super::{
    CopyError,
    activity::Patience,
    arrivals::Arrivals,
    control::{ControlError, ControlReader, ControlWriter},
    drive::{CLOSE_TIMEOUT, MakeHalf, Streams, drive},
};
use crate::{
    close_code,
    file_threads::{FileThreads, User, Worker},
};

/// The service's name in the handshake.
pub const SERVICE: &str = "rpp-copy/1";

/// Requests of one connection that run at once. Further ones wait.
const MAX_REQUESTS: usize = 16;

/// What the copies of a server may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLimits {
    /// Copies that run at once, each with a file open. Default 16384.
    pub copies: usize,
    /// Copies of one key that run at once, and of all clients whose key is not listed. Default 4096, what
    /// 256 connections have with 16 each.
    pub copies_per_user: usize,
    /// How long a connection without a request stays. Default a minute. The transport ends one that is silent
    /// earlier; this is for one that is kept awake.
    pub idle_timeout: Duration,
    /// How long a client may say that it is working on a copy and do nothing else. Default an hour: pipes
    /// pause, and people read page by page, but a name is not held for ever.
    pub working: Duration,
    /// The same for clients whose key is not listed. Default 2 minutes: what they may take is for all of them.
    pub anonymous_working: Duration,
}

impl Default for CopyLimits {
    fn default() -> Self {
        Self {
            copies: 16384,
            copies_per_user: 4096,
            idle_timeout: Duration::from_secs(60),
            working: Duration::from_secs(60 * 60),
            anonymous_working: Duration::from_secs(2 * 60),
        }
    }
}

/// The service for all clients of a server; clones share limits and threads.
#[derive(Clone, Debug, Default)]
pub struct CopyService {
    limits: CopyLimits,
    threads: FileThreads,
    /// Copies that run: of a user, and, as nobody's, in all.
    copies: Shares<Option<User>>,
    /// Files of batches that a user has open.
    open_files: Shares<User>,
    made: Copies,
}

impl CopyService {
    /// A service with these limits.
    pub fn new(limits: CopyLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Answers the requests of `connection` until it is over.
    pub async fn serve(&self, connection: Connection, access: impl AccessCheck) {
        let Some(present) = access.access() else {
            return;
        };
        let user = match present.is_anonymous {
            true => User::Anonymous,
            false => User::Key(connection.peer()),
        };
        let request = Request {
            service: self.clone(),
            arrivals: Arc::new(Arrivals::new(&connection, Side::Client)),
            worker: self.threads.connection(user),
            connected: Arc::new(self.made.connect(user)),
            connection,
            user,
            access: Arc::new(access),
            silence: present.silence,
        };
        let running = Arc::new(Semaphore::new(MAX_REQUESTS));
        while let Ok(turn) = Arc::clone(&running).acquire_owned().await {
            let accept = request.connection.accept_bi();
            let accepted = match timeout(self.limits.idle_timeout, accept).await {
                Ok(accepted) => accepted,
                Err(_) if running.available_permits() + 1 < MAX_REQUESTS => continue,
                Err(_) => {
                    request.connection.close(close_code::DONE, b"idle");
                    return;
                }
            };
            let Ok((writer, reader)) = accepted else {
                return;
            };
            let request = request.clone();
            tokio::spawn(async move {
                request.answer(writer, reader).await;
                drop(turn);
            });
        }
    }

    /// Copies that run at present.
    pub fn running(&self) -> usize {
        self.copies.held(&None)
    }

    /// A place among the open files of `user`: all his batches together have a quarter of those of all, so that he
    /// does not have every other user's files made durable one by one.
    fn open_place(&self, user: User) -> Option<Place<User>> {
        let most = (max_open_of_all() / 4).max(1);
        self.open_files.take([(user, most)]).ok()
    }

    /// A place among the copies that run at once.
    fn place(&self, user: User) -> Result<Place<Option<User>>, Error> {
        let limits = &self.limits;
        let taken = self
            .copies
            .take([(Some(user), limits.copies_per_user), (None, limits.copies)]);
        taken.map_err(|full| match full {
            Some(_) => Error::TooManyCopies("this key"),
            None => Error::TooManyCopies("this server"),
        })
    }
}

/// What the requests of one connection need.
#[derive(Clone)]
struct Request {
    service: CopyService,
    connection: Connection,
    user: User,
    connected: Arc<Connected>,
    arrivals: Arc<Arrivals>,
    worker: Worker,
    access: Arc<dyn AccessCheck>,
    silence: Duration,
}

impl Request {
    async fn answer(self, writer: SendStream, reader: RecvStream) {
        let mut reader = ControlReader::new(reader);
        let mut writer = ControlWriter::new(writer);
        //= spec/20-copy.md#requests
        //# The client's first message on it MUST be Put, Get, PutBatch, GetBatch, List, MakeFolder, Remove
        //# or RemoveBatch.
        //= spec/20-copy.md#requests
        //# A server MUST bound how long it waits for it.
        let first = timeout(self.silence, reader.next());
        let message = first.await.unwrap_or(Ok(None));
        let Some(access) = self.access.access() else {
            return;
        };
        access.allow(&self.service.threads);
        let message = match message {
            Ok(Some(message)) => message,
            Err(ControlError::Decode(error)) => {
                let error = refuse(&mut writer, Error::Decode(error)).await;
                return self.log("request", "", &Err(error));
            }
            Ok(None) | Err(ControlError::Read(_)) => return,
        };
        let (verb, path) = named(&message);
        let path = path.map(printable_path).unwrap_or_default();
        let place = match self.service.place(self.user) {
            Ok(place) => place,
            Err(error) => {
                if let Message::Put(Put { stream, .. })
                | Message::PutBatch(PutBatch { stream, .. }) = message
                {
                    self.arrivals.abandon(stream);
                }
                let error = refuse(&mut writer, error).await;
                return self.log(verb, &path, &Err(error));
            }
        };
        let result = match message {
            Message::Put(put) => self.put(access, put, reader, writer).await,
            Message::Get(get) => self.get(access, get, reader, writer).await,
            Message::PutBatch(put) => self.put_batch(access, put, reader, writer).await,
            Message::GetBatch(get) => self.get_batch(access, get, reader, writer).await,
            Message::List(list) => self.list(access, list, reader, writer).await,
            Message::MakeFolder(make) => self.make_folder(access, make, reader, writer).await,
            Message::Remove(remove) => self.remove(access, remove, reader, writer).await,
            Message::RemoveBatch(remove) => self.remove_batch(access, remove, reader, writer).await,
            _ => {
                let error = Error::Protocol("the first message is no request");
                Err(refuse(&mut writer, error).await)
            }
        };
        drop(place);
        self.log(verb, &path, &result);
    }

    /// Takes a file.
    async fn put(
        &self,
        access: Access,
        put: Put,
        reader: ControlReader,
        mut writer: ControlWriter,
    ) -> Result<Summary, CopyError> {
        let joined = match self.join(&access, put.copy).await {
            Ok(joined) => joined,
            Err(error) => {
                self.arrivals.abandon(put.stream);
                return Err(refuse(&mut writer, error).await);
            }
        };
        let part = joined.clone();
        let folder = put.folder.clone();
        let (path, name) = (put.path.clone(), put.name.clone());
        let (tree, durability) = (put.tree, put.durability);
        let (resume, sparse, privilege) = (put.resume, put.sparse, access.privilege);
        let open: OpenSink = Box::new(move |announced| {
            let (root, path) = access.writable(&path)?;
            let destination = match tree {
                true => root.tree_destination(&path)?,
                false => root.destination(&path, &name)?,
            };
            let size = announced.attributes.size;
            let writer = Writer::begin(destination, resume)?.announce(size, announced.version)?;
            let writer = writer
                .durability(durability)
                .sparse(sparse)
                .privilege(privilege)
                .xattrs(announced.xattrs.clone());
            let Some(joined) = part else {
                return Ok(Box::new(writer));
            };
            let (member, path) = match folder {
                Some(folder) => {
                    let (_, base) = access.writable(&folder)?;
                    let within = path.beneath(&base).unwrap_or_default();
                    (joined.member(&root, base, durability)?, within)
                }
                None => (joined.alone(), Vec::new()),
            };
            Ok(Box::new(Noted::new(
                writer,
                member,
                path,
                announced.version,
            )))
        });
        let stream = put.stream;
        let make = Box::new(move || Box::new(Receiver::accept(&put, open, Arc::default())) as _);
        let result = self.drive(make, reader, writer, None, joined).await;
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
        let asked = get.clone();
        let opening = self.worker.run(move || {
            let (root, path) = access.readable(&asked.path)?;
            Source::file(root.source(&path)?, &path.display())
        });
        let opened = opening
            .await
            .unwrap_or_else(|error| Err(Error::io("opening the file", error)));
        let source = match opened {
            Ok(source) => source,
            Err(error) => return Err(refuse(&mut writer, error).await),
        };
        let Some(data) = self.open_data(&mut writer).await? else {
            return Err(CopyError::Stalled(self.silence));
        };
        let stream = data.id().into_inner();
        let make =
            Box::new(move || Box::new(Sender::resume(&get, stream, source, Arc::default())) as _);
        self.drive(make, reader, writer, Some(data), None).await
    }

    /// What else this client does for the same copy, where the request says which it is and the client may write.
    async fn join(&self, access: &Access, copy: Option<CopyId>) -> Result<Option<Joined>, Error> {
        match copy {
            Some(copy) if access.is_writable() => self.connected.join(copy).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn drive(
        &self,
        make: MakeHalf,
        reader: ControlReader,
        writer: ControlWriter,
        data: Option<SendStream>,
        joined: Option<Joined>,
    ) -> Result<Summary, CopyError> {
        let streams = Streams {
            reader,
            writer,
            data,
            connection: &self.connection,
            arrivals: &self.arrivals,
            patience: Patience {
                silence: self.silence,
                working: match self.user {
                    User::Anonymous => self.service.limits.anonymous_working,
                    _ => self.service.limits.working,
                },
            },
            worker: &self.worker,
        };
        let stopped = async {
            match joined {
                Some(joined) => joined.stopped().await,
                None => future::pending().await,
            }
        };
        drive(make, streams, stopped).await
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

/// What a request is called in the log, and its path; any other message is no request.
fn named(message: &Message) -> (&'static str, Option<&[u8]>) {
    match message {
        Message::Put(put) => ("put", Some(&put.path)),
        Message::Get(get) => ("get", Some(&get.path)),
        Message::PutBatch(put) => ("put-batch", Some(&put.path)),
        Message::GetBatch(get) => ("get-batch", Some(&get.path)),
        Message::List(list) => ("list", Some(&list.path)),
        Message::MakeFolder(make) => ("mkdir", Some(&make.path)),
        Message::Remove(remove) => ("rm", Some(&remove.path)),
        Message::RemoveBatch(remove) => ("rm-batch", Some(&remove.path)),
        _ => ("request", None),
    }
}

/// Answers a request that is not even begun, and gives the reason back.
async fn refuse(writer: &mut ControlWriter, error: Error) -> CopyError {
    let done = Message::Done(error.to_done());
    // When the connection is over, or nothing is taken on it, there is nobody to tell.
    if let Ok(Ok(())) = timeout(CLOSE_TIMEOUT, writer.send(&done)).await {
        let _ = writer.finish();
    }
    error.into()
}

#[cfg(test)]
mod tests;
