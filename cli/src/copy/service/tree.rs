//! The server's side of requests about trees: batches of small files, what there is, folders made and things
//! removed.

use std::sync::Arc;

use rp_protocol::SendStream;
use rp_transfer::{
    batch::{
        BatchReceiver, BatchSender, Item, MAX_ENTRIES, OpenPlaces, Report, Store, StoreOptions,
    },
    error::Error,
    glob::Glob,
    message::{Entry, GetBatch, List, MakeFolder, Message, PutBatch, Remove, RemoveBatch},
    path::{RemotePath, Root},
    session::Summary,
    simple::{Listing, Task, Telling, Work},
    walk::{Found, Links, WalkOptions, Walks},
};
use tokio::time::timeout;

use super::{
    super::{
        CopyError,
        control::{ControlReader, ControlWriter},
    },
    Access, Request, refuse,
};

impl Request {
    /// Takes many files.
    pub(super) async fn put_batch(
        &self,
        access: Access,
        put: PutBatch,
        reader: ControlReader,
        mut writer: ControlWriter,
    ) -> Result<Summary, CopyError> {
        let stream = put.stream;
        let joined = match self.join(&access, put.copy).await {
            Ok(joined) => joined,
            Err(error) => {
                self.arrivals.abandon(stream);
                return Err(refuse(&mut writer, error).await);
            }
        };
        let part = joined.clone();
        let (service, user) = (self.service.clone(), self.user);
        let places = OpenPlaces::new(move || service.open_place(user));
        let make = Box::new(move || {
            let store = || {
                let (root, base) = access.writable(&put.path)?;
                let options = StoreOptions {
                    preserve: put.preserve,
                    durability: put.durability,
                    last: put.last,
                    after: put.after,
                    sparse: put.sparse,
                    privilege: access.privilege,
                };
                let report = Report::default();
                let store = Store::new(Arc::clone(&root), base.clone(), options, report);
                let store = store.places(places);
                Ok(match part {
                    Some(joined) => store.member(joined.member(&root, base, put.durability)?),
                    None => store,
                })
            };
            Box::new(BatchReceiver::accept(&put, store())) as _
        });
        let result = self.drive(make, reader, writer, None, joined).await;
        if result.is_err() {
            self.arrivals.abandon(stream);
        }
        result
    }

    /// Gives many files.
    pub(super) async fn get_batch(
        &self,
        access: Access,
        get: GetBatch,
        mut reader: ControlReader,
        mut writer: ControlWriter,
    ) -> Result<Summary, CopyError> {
        let asking = self.asked(&access, &get, &mut reader);
        let items = match timeout(self.silence, asking).await {
            Ok(Ok(items)) => items,
            Ok(Err(error)) => return Err(refuse(&mut writer, error).await),
            Err(_) => return Err(CopyError::Stalled(self.silence)),
        };
        let Some(data) = self.open_data(&mut writer).await? else {
            return Err(CopyError::Stalled(self.silence));
        };
        let stream = data.id().into_inner();
        let xattrs = get.xattrs.then_some(access.privilege);
        let make =
            Box::new(move || Box::new(BatchSender::serve(stream, items).xattrs(xattrs)) as _);
        self.drive(make, reader, writer, Some(data), None).await
    }

    /// What the client names behind its GetBatch.
    async fn asked(
        &self,
        access: &Access,
        get: &GetBatch,
        reader: &mut ControlReader,
    ) -> Result<Vec<Item>, Error> {
        let (root, base) = access.readable(&get.path)?;
        let item = |named: Entry| {
            Ok(Item {
                root: Arc::clone(&root),
                source: base.join(&RemotePath::parse_named(&named.path)?),
                entry: Entry {
                    path: named.path,
                    version: named.version,
                    ..Entry::default()
                },
            })
        };
        let entries = named_entries(get.count, reader).await?;
        entries.into_iter().map(item).collect()
    }

    /// Paths that come behind a request, as soon as all are there.
    async fn paths(
        &self,
        count: u32,
        reader: &mut ControlReader,
        writer: &mut ControlWriter,
    ) -> Result<Vec<Vec<u8>>, CopyError> {
        match timeout(self.silence, named_entries(count, reader)).await {
            Ok(Ok(entries)) => Ok(entries.into_iter().map(|entry| entry.path).collect()),
            Ok(Err(error)) => Err(refuse(writer, error).await),
            Err(_) => Err(CopyError::Stalled(self.silence)),
        }
    }

    /// A data stream, as soon as the client takes one; `None` if it takes none for too long.
    pub(super) async fn open_data(
        &self,
        writer: &mut ControlWriter,
    ) -> Result<Option<SendStream>, CopyError> {
        match timeout(self.silence, self.connection.open_uni()).await {
            Ok(data) => Ok(Some(data?)),
            Err(_) => {
                refuse(writer, Error::Interrupted).await;
                Ok(None)
            }
        }
    }

    /// Tells what there is.
    pub(super) async fn list(
        &self,
        access: Access,
        list: List,
        mut reader: ControlReader,
        mut writer: ControlWriter,
    ) -> Result<Summary, CopyError> {
        if list.journal {
            return self.list_finished(access, list, reader, writer).await;
        }
        let paths = match list.count {
            Some(count) => Some(self.paths(count, &mut reader, &mut writer).await?),
            None => None,
        };
        let make = Box::new(move || {
            let found = || {
                let (root, base) = access.readable(&list.path)?;
                if !list.pattern.is_empty() {
                    let found = Glob::new(root, base, &list.pattern)?;
                    return Ok(Box::new(found) as Box<dyn Iterator<Item = Found> + Send>);
                }
                let options = WalkOptions {
                    depth: list.depth,
                    links: match list.follow {
                        true => Links::Follow,
                        false => Links::Keep,
                    },
                    one_file_system: list.one_file_system,
                    xattrs: list.xattrs.then_some(access.privilege),
                };
                let paths = paths.unwrap_or_else(|| vec![Vec::new()]);
                Ok(Box::new(Walks::new(root, base, options, paths)) as _)
            };
            Box::new(Listing::new(found())) as _
        });
        self.drive(make, reader, writer, None, None).await
    }

    /// Tells what an interrupted copy finished.
    async fn list_finished(
        &self,
        access: Access,
        list: List,
        reader: ControlReader,
        mut writer: ControlWriter,
    ) -> Result<Summary, CopyError> {
        let joined = match self.join(&access, list.copy).await {
            Ok(joined) => joined,
            Err(error) => return Err(refuse(&mut writer, error).await),
        };
        let part = joined.clone();
        let make = Box::new(move || {
            let there = || {
                let (root, base) = access.writable(&list.path)?;
                let joined = part.ok_or(Error::Protocol("a copy without a name"))?;
                Ok(joined.there(&root, base, list.verify))
            };
            Box::new(Telling::new(there())) as _
        });
        self.drive(make, reader, writer, None, joined).await
    }

    /// Removes many things, each a file, a link or an empty folder.
    pub(super) async fn remove_batch(
        &self,
        access: Access,
        remove: RemoveBatch,
        mut reader: ControlReader,
        mut writer: ControlWriter,
    ) -> Result<Summary, CopyError> {
        let paths = self.paths(remove.count, &mut reader, &mut writer).await?;
        let make = Box::new(move || {
            let removing = || {
                let (root, base) = access.writable(&remove.path)?;
                root.within(&base)
            };
            let failures = removing().map(|root| {
                paths.into_iter().filter_map(move |path| {
                    //= spec/20-copy.md#lists
                    //# A server MUST NOT remove a partial file or a journal by RemoveBatch.
                    let parsed = RemotePath::parse_named(&path);
                    let removed = parsed.and_then(|path| root.remove_entry(&path));
                    removed.err().map(|error| Err((path, error)))
                })
            });
            Box::new(Listing::new(failures)) as _
        });
        self.drive(make, reader, writer, None, None).await
    }

    /// Makes a folder.
    pub(super) async fn make_folder(
        &self,
        access: Access,
        make: MakeFolder,
        reader: ControlReader,
        writer: ControlWriter,
    ) -> Result<Summary, CopyError> {
        let work = change(access, make.path, |root, path| root.make_folder(path));
        let make = Box::new(move || Box::new(Task::new(work)) as _);
        self.drive(make, reader, writer, None, None).await
    }

    /// Removes something.
    pub(super) async fn remove(
        &self,
        access: Access,
        remove: Remove,
        reader: ControlReader,
        writer: ControlWriter,
    ) -> Result<Summary, CopyError> {
        let recursive = remove.recursive;
        let work = change(access, remove.path, move |root, path| {
            root.remove(path, recursive)
        });
        let make = Box::new(move || Box::new(Task::new(work)) as _);
        self.drive(make, reader, writer, None, None).await
    }
}

/// The paths of the entries that come behind a request which says how many.
async fn named_entries(count: u32, reader: &mut ControlReader) -> Result<Vec<Entry>, Error> {
    //= spec/20-copy.md#batches
    //# A batch of more than 1024 entries MUST be refused.
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > MAX_ENTRIES {
        return Err(Error::Protocol("a batch of too many files"));
    }
    let mut entries = Vec::with_capacity(count);
    while entries.len() < count {
        match reader.next().await {
            Ok(Some(Message::Entry(entry))) => entries.push(entry),
            Ok(Some(Message::Working)) => {}
            _ => return Err(Error::Protocol("the names of the files are missing")),
        }
    }
    Ok(entries)
}

/// Something done to a path, by who may write there.
fn change(
    access: Access,
    path: Vec<u8>,
    work: impl FnOnce(&Root, &RemotePath) -> Result<(), Error> + Send + 'static,
) -> Work {
    Box::new(move || {
        let (root, path) = access.writable(&path)?;
        work(&root, &path)
    })
}
