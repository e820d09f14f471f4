//! Trees of a server fetched to this machine.

use std::{
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rp_transfer::{
    batch::{BatchReceiver, MAX_ENTRIES, Report, Store, StoreOptions},
    error::Error,
    message::{Attributes, CopyId, Entry, Kind, List, Message, Resume},
    path::{RemotePath, Root},
    session::Progress,
    tree_copy::{Member, TreeCopy, is_begun},
    walk::{Links, beneath},
    xattrs::Xattrs,
};

use super::{
    super::{
        job::file_name,
        location::{Remote, printable_path},
        pull::Target,
    },
    Batch, CopyError, Outcome, Running, SMALL, Tree,
    delete::Seen,
    hard_links::HardLinks,
    is_folder,
    known::Known,
    take_report,
};

impl Tree {
    /// Copies `sources` of the server to `to`.
    pub(in super::super) async fn pull(
        self,
        sources: Vec<Remote>,
        to: PathBuf,
    ) -> Result<Outcome, CopyError> {
        let (folder, name) = match &self.names {
            Some(_) => (self.make_target(to)?, Some(Vec::new())),
            None => target(&to, sources.len(), &self.id)?,
        };
        let root = Root::open(&folder);
        let root = Arc::new(root.map_err(|error| Error::io(printable_path(&folder), error))?);
        self.requests.threads.allow(&*root, true);
        let tree = Arc::new(self);
        let mut seen = Seen::default();
        for source in sources {
            let own = || source.folder_name().as_bytes().to_vec();
            let prefix = name.clone().unwrap_or_else(own);
            let prefix = RemotePath::parse_named(&prefix)?;
            let durability = tree.options.file.durability;
            let copy = TreeCopy::new(Arc::clone(&root), prefix.clone(), tree.id, durability);
            let mut fetching = Fetching {
                tree: Arc::clone(&tree),
                root: Arc::clone(&root),
                prefix,
                copy,
                known: Known::default(),
                base: source.path.clone(),
                batch: Batch::default(),
                made: Vec::new(),
                folders: Vec::new(),
                links: HardLinks::default(),
                running: Running::default(),
                seen: Seen::default(),
            };
            fetching.fetch_all().await?;
            seen.merge(fetching.seen);
        }
        if tree.options.delete {
            tree.delete_local(&root, seen).await?;
        }
        Ok(tree.report.take())
    }
}

impl Tree {
    /// The folder that named things go to, made if it is missing.
    fn make_target(&self, to: PathBuf) -> Result<PathBuf, CopyError> {
        if self.options.dry_run && !to.exists() {
            return Ok(PathBuf::from("."));
        }
        let made = std::fs::create_dir(&to);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io(printable_path(&to), error).into())
            }
            _ => Ok(to),
        }
    }
}

/// The folder that everything goes to, and the name there that the one source gets; each its own if there is
/// none.
fn target(to: &Path, sources: usize, id: &CopyId) -> Result<(PathBuf, Option<Vec<u8>>), CopyError> {
    let is_spelled_folder = to.as_os_str().as_bytes().ends_with(b"/");
    // What an interrupted copy made is no folder to copy into.
    let is_begun = sources == 1 && !is_spelled_folder && is_begun(to, id);
    match to.metadata() {
        Ok(metadata) if metadata.is_dir() && !is_begun => Ok((to.to_owned(), None)),
        Ok(_) if sources > 1 => Err(Error::NotAFolder(printable_path(to)).into()),
        Err(error) if sources > 1 || is_spelled_folder => {
            Err(Error::io(printable_path(to), error).into())
        }
        _ => {
            let folder = to.parent().filter(|path| !path.as_os_str().is_empty());
            let folder = folder.unwrap_or_else(|| Path::new(".")).to_owned();
            Ok((folder, Some(file_name(to).as_bytes().to_vec())))
        }
    }
}

/// One source on its way.
struct Fetching {
    tree: Arc<Tree>,
    root: Arc<Root>,
    /// What it is called here.
    prefix: RemotePath,
    copy: Arc<TreeCopy>,
    /// What an interrupted copy left here.
    known: Known,
    /// What it is called at the server.
    base: Vec<u8>,
    batch: Batch<Entry>,
    /// Folders and links, which need nothing from the server.
    made: Vec<Entry>,
    /// Folders whose mode and time are set when nothing comes into them any more.
    folders: Vec<Entry>,
    links: HardLinks,
    running: Running,
    /// What the source has, if that is to be known in the end.
    seen: Seen,
}

impl Fetching {
    async fn fetch_all(&mut self) -> Result<(), CopyError> {
        let tree = Arc::clone(&self.tree);
        let list = List {
            path: self.base.clone(),
            depth: tree.walk_options().depth,
            follow: tree.options.links == Links::Follow,
            one_file_system: tree.options.one_file_system,
            xattrs: tree.options.file.xattrs,
            ..List::default()
        };
        self.known = self.known().await?;
        for messages in asked(list, tree.names.as_deref()) {
            let mut answers = tree.requests.ask(&messages).await?;
            while let Some(entry) = answers.next().await? {
                self.fetch(entry).await?;
            }
        }
        tree.progress.set_planned();
        self.flush().await?;
        self.running.finish().await?;
        if tree.options.dry_run {
            return Ok(());
        }
        let links = self.links.take();
        if !links.is_empty() {
            store_made(&self.tree, self.store(false), links).await?;
        }
        let mut folders = std::mem::take(&mut self.folders);
        folders.sort_by_key(|entry| std::cmp::Reverse(entry.path.len()));
        // Before: what is removed from a folder changes its time.
        let copy = Arc::clone(&self.copy);
        self.work(move || copy.forget()).await?;
        store_made(&self.tree, self.store(true), folders).await
    }

    /// What an interrupted copy left here.
    async fn known(&self) -> Result<Known, CopyError> {
        let resume = self.tree.options.file.resume;
        let options = &self.tree.options;
        if resume == Resume::Never || options.dry_run || options.digests {
            return Ok(Known::default());
        }
        let there = self.copy.there(resume == Resume::Verify);
        self.work(move || Known::of(there.collect())).await
    }

    /// Does `work`, which may wait for a disk.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CopyError> {
        let done = self.tree.requests.worker.run(work).await;
        Ok(done.map_err(|error| Error::io("the journal of the copy", error))?)
    }

    async fn fetch(&mut self, entry: Entry) -> Result<(), CopyError> {
        let tree = Arc::clone(&self.tree);
        let filtered = match (entry.path.as_slice(), tree.names.is_some()) {
            (b"", false) => self.prefix.to_bytes(),
            (path, _) => path.to_vec(),
        };
        if !tree.filter.wants(&filtered, entry.kind == Kind::Folder) {
            return Ok(());
        }
        if let Some(why) = entry.failure {
            tree.report.fail(beneath(&self.base, &entry.path), why);
            return Ok(());
        }
        let size = entry.attributes.size.unwrap_or(0);
        let shown = beneath(&self.base, &entry.path);
        if tree.options.delete {
            self.note_seen(&entry);
        }
        match entry.kind {
            Kind::Folder if !tree.options.recursive => {
                tree.report.fail(shown.clone(), is_folder(&shown).to_done());
            }
            Kind::Folder => {
                if tree.keeps_folders() {
                    self.folders.push(entry.clone());
                }
                if entry.path.is_empty() && !tree.options.dry_run {
                    let copy = Arc::clone(&self.copy);
                    self.work(move || copy.begin()).await?;
                }
                self.made.push(Entry {
                    attributes: Attributes::default(),
                    xattrs: Xattrs::default(),
                    ..entry
                });
            }
            Kind::Link if tree.options.links == Links::Skip => {}
            Kind::Link if tree.options.links == Links::Follow => {
                let error = Error::Protocol("a link in place of what it leads to");
                tree.report.fail(shown, error.to_done());
            }
            Kind::Link => {
                if tree.plan(&shown, 0) {
                    self.made.push(entry);
                }
            }
            Kind::Other | Kind::HardLink => {
                let error = Error::NotAFile(rp_transfer::path::printable_path(&shown));
                tree.report.fail(shown, error.to_done());
            }
            Kind::File if tree.options.hard_links && self.links.keep(&entry) => {
                tree.plan(&shown, 0);
            }
            Kind::File if !tree.plan(&shown, size) => {}
            Kind::File if self.is_known(&entry).await => tree.on_there(size),
            // One by one, too, if it is the source itself, which has no path beneath itself.
            Kind::File if size > SMALL || entry.path.is_empty() => {
                let copy = Arc::clone(&self.copy);
                let root = Arc::clone(&self.root);
                let fetching = fetch_file(tree, root, copy, self.base.clone(), entry.path);
                return self.running.spawn(fetching).await;
            }
            Kind::File => self.batch.push(entry, size),
        }
        match self.batch.is_full() || self.made.len() >= MAX_ENTRIES {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    async fn is_known(&mut self, entry: &Entry) -> bool {
        self.known
            .contains(entry.version.as_ref(), &entry.path)
            .await
    }

    /// Notes that the source has this.
    fn note_seen(&mut self, entry: &Entry) {
        let prefix = self.prefix.to_bytes();
        if entry.path.is_empty() && entry.kind == Kind::Folder {
            self.seen.roots.push(prefix.clone());
        }
        self.seen.add(&Entry {
            path: beneath(&prefix, &entry.path),
            is_mount: entry.is_mount,
            ..Entry::default()
        });
    }

    fn store(&self, last: bool) -> Store {
        let options = StoreOptions {
            preserve: self.tree.options.file.preserve,
            durability: self.tree.options.file.durability,
            last,
            sparse: self.tree.options.file.sparse,
            privilege: self.tree.options.file.privilege,
            ..StoreOptions::default()
        };
        let (root, prefix) = (Arc::clone(&self.root), self.prefix.clone());
        Store::new(root, prefix, options, self.tree.report.part())
            .progress(Arc::clone(&self.tree.progress))
    }

    async fn flush(&mut self) -> Result<(), CopyError> {
        let (made, entries) = (std::mem::take(&mut self.made), self.batch.take());
        if self.tree.options.dry_run {
            return Ok(());
        }
        if !made.is_empty() {
            let (tree, store) = (Arc::clone(&self.tree), self.store(false));
            let making = async move { store_made(&tree, store, made).await };
            self.running.spawn(making).await?;
        }
        if entries.is_empty() {
            return Ok(());
        }
        let (tree, base) = (Arc::clone(&self.tree), self.base.clone());
        let prefix = self.prefix.to_bytes();
        let store = self.store(false);
        let store = store.member(Member::new(Arc::clone(&self.copy)));
        self.running
            .spawn(fetch_batch(tree, (base, prefix), entries, store))
            .await
    }
}

/// What is asked of the server: the tree, or what is named of it, so many names at a time.
fn asked(list: List, names: Option<&Vec<Vec<u8>>>) -> Vec<Vec<Message>> {
    let Some(names) = names else {
        return vec![vec![Message::List(list)]];
    };
    let named = |names: &[Vec<u8>]| {
        let list = List {
            count: Some(u32::try_from(names.len()).unwrap_or(u32::MAX)),
            ..list.clone()
        };
        let entries = names.iter().map(|name| Entry {
            path: name.clone(),
            ..Entry::default()
        });
        let entries = entries.map(Message::Entry);
        [Message::List(list)].into_iter().chain(entries).collect()
    };
    names.chunks(MAX_ENTRIES).map(named).collect()
}

/// Makes folders and links.
async fn store_made(tree: &Tree, mut store: Store, made: Vec<Entry>) -> Result<(), CopyError> {
    let report = store.report().clone();
    let storing = tree.requests.worker.run(move || {
        made.iter().for_each(|entry| store.take(entry, &[]));
        store.finish();
    });
    storing
        .await
        .map_err(|error| Error::io("making folders", error))?;
    take_report(tree, &report)
}

/// Fetches many small files.
async fn fetch_batch(
    tree: Arc<Tree>,
    (base, prefix): (Vec<u8>, Vec<u8>),
    entries: Vec<Entry>,
    store: Store,
) -> Result<(), CopyError> {
    let report = store.report().clone();
    let xattrs = tree.options.file.xattrs;
    let streams = tree.requests.connection.open_bi().await?;
    let make =
        Box::new(move || Box::new(BatchReceiver::pull_entries(base, entries, store, xattrs)) as _);
    let fetched = tree.requests.drive(make, streams, None).await;
    take_beneath(&tree, &report, &prefix)?;
    fetched.map(|_| ())
}

/// Adds what became of a batch, whose files are beneath `prefix` here.
fn take_beneath(tree: &Tree, report: &Report, prefix: &[u8]) -> Result<(), CopyError> {
    let mut outcome = report.take();
    for (digest, path) in std::mem::take(&mut outcome.digests) {
        tree.report.add_digest(&beneath(prefix, &path), digest);
    }
    let rest = Report::default();
    rest.add(outcome);
    take_report(tree, &rest)
}

/// Fetches one file by itself.
async fn fetch_file(
    tree: Arc<Tree>,
    root: Arc<Root>,
    copy: Arc<TreeCopy>,
    base: Vec<u8>,
    path: Vec<u8>,
) -> Result<(), CopyError> {
    let remote = beneath(&base, &path);
    let result = fetch_into(&tree, root, copy, remote.clone(), &path).await;
    tree.on_file(&remote, result)
}

async fn fetch_into(
    tree: &Tree,
    root: Arc<Root>,
    copy: Arc<TreeCopy>,
    remote: Vec<u8>,
    path: &[u8],
) -> Result<u64, CopyError> {
    let whole = match path {
        b"" => copy.base().clone(),
        path => copy.base().join(&RemotePath::parse_named(path)?),
    };
    let here = whole.to_bytes();
    let opening = tree
        .requests
        .worker
        .run(move || root.tree_destination(&whole));
    let destination = opening
        .await
        .map_err(|error| Error::io("opening a file", error))??;
    let progress = Progress::named_part(&tree.progress, &remote);
    let target = Target::File(destination);
    let target = match path {
        // The source itself, which is no part of a tree.
        b"" => target,
        path => target.noted(Member::new(copy), path.to_vec()),
    };
    let summary = tree
        .requests
        .pull(remote, target, tree.options.file, progress)
        .await?;
    tree.report.note(summary.note);
    tree.report.add_digest(&here, summary.digest);
    Ok(summary.bytes)
}
