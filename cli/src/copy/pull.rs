//! Copying from a server to here: a Get becomes a local file or standard output.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rp_transfer::{
    error::Error,
    message::{Get, Resume},
    path::{Destination, RemotePath},
    receiver::{Announced, OpenSink, Receiver},
    relay::RelaySink,
    session::{Progress, Summary},
    tree_copy::Member,
    writer::{Noted, Sink, StreamSink, Writer},
};

use super::{
    CopyError, FileOptions,
    location::{Location, Remote, printable_path},
    requests::Requests,
};

/// Where the file goes on this side.
#[derive(Debug)]
pub(super) enum Target {
    Standard,
    /// A device or pipe, written to as it is.
    Stream(PathBuf),
    /// Another machine.
    Relay(RelaySink),
    File(Destination),
    /// A file that an interrupted copy left a part of.
    Begun(Box<Writer>),
    /// A file of a tree, and its path there.
    Noted(Box<Self>, Member, Vec<u8>),
}

/// Resolves where the file goes, before anything is connected.
///
/// # Errors
/// The folder is not there, or something is in the way.
pub(super) fn open_target(location: &Location, remote: &Remote) -> Result<Target, Error> {
    let Location::Local(path) = location else {
        return Ok(Target::Standard);
    };
    let in_folder = |folder: &Path| {
        let name = remote.file_name().unwrap_or_default();
        let name = RemotePath::parse_name(name.as_encoded_bytes())?;
        Destination::local(&folder.join(name)).map(Target::File)
    };
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => in_folder(path),
        Ok(metadata) if !metadata.is_file() => Ok(Target::Stream(path.clone())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(printable_path(path), error))
        }
        Err(error) if path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            Err(Error::io(printable_path(path), error))
        }
        _ => Destination::local(path).map(Target::File),
    }
}

impl Target {
    /// The same, and the copy of the tree that `member` is a request of takes note of it.
    pub(super) fn noted(self, member: Member, path: Vec<u8>) -> Self {
        Self::Noted(Box::new(self), member, path)
    }

    /// Looks for what an interrupted copy left, and for an older file, and says in `get` what there is.
    fn begin(self, get: &mut Get, options: FileOptions) -> Result<Self, Error> {
        let destination = match self {
            Self::File(destination) => destination,
            Self::Noted(target, member, path) => {
                return Ok(target.begin(get, options)?.noted(member, path));
            }
            other => return Ok(other),
        };
        // What is taken from an older file would have no holes.
        if options.reduce && !options.sparse {
            get.older = Writer::older_size(&destination);
        }
        if options.resume == Resume::Never || !Writer::is_left(&destination) {
            return Ok(Self::File(destination));
        }
        let writer = Writer::begin(destination, options.resume)?;
        if let Some((version, missing)) = writer.resumable() {
            (get.version, get.missing) = (Some(version), Some(missing));
        }
        Ok(Self::Begun(Box::new(writer)))
    }

    fn open(self, announced: &Announced, options: FileOptions) -> Result<Box<dyn Sink>, Error> {
        Ok(match self {
            Self::Standard => Box::new(StreamSink::new(io::stdout(), "standard output")),
            Self::Relay(sink) => Box::new(sink),
            Self::Stream(path) => {
                let shown = printable_path(&path);
                let file = OpenOptions::new().write(true).open(&path);
                let file = file.map_err(|error| Error::io(&shown, error))?;
                Box::new(StreamSink::new(file, &shown))
            }
            Self::Noted(target, member, path) => match target.writer(announced, options)? {
                Ok(writer) => Box::new(Noted::new(writer, member, path, announced.version)),
                Err(other) => other.open(announced, options)?,
            },
            file => match file.writer(announced, options)? {
                Ok(writer) => Box::new(writer),
                Err(_) => return Err(Error::Protocol("a target that is no file")),
            },
        })
    }

    /// What writes the file; what is none comes back.
    fn writer(
        self,
        announced: &Announced,
        options: FileOptions,
    ) -> Result<Result<Writer, Self>, Error> {
        let writer = match self {
            Self::File(destination) => Writer::begin(destination, options.resume)?,
            Self::Begun(writer) => *writer,
            other => return Ok(Err(other)),
        };
        let size = announced.attributes.size;
        let writer = writer.announce(size, announced.version)?;
        let writer = writer
            .durability(options.durability)
            .sparse(options.sparse)
            .privilege(options.privilege)
            .xattrs(announced.xattrs.clone());
        Ok(Ok(writer))
    }
}

impl Requests {
    /// Fetches the file at `path` into `target`.
    ///
    /// # Errors
    /// See [`CopyError`].
    pub(super) async fn pull(
        &self,
        path: Vec<u8>,
        target: Target,
        options: FileOptions,
        progress: Arc<Progress>,
    ) -> Result<Summary, CopyError> {
        if let Target::File(destination) = &target {
            self.threads.allow(destination, true);
        }
        let streams = self.connection.open_bi().await?;
        let beginning = self.worker.run(move || {
            let mut get = Get {
                path,
                xattrs: options.xattrs,
                sparse: options.sparse && matches!(target, Target::File(_) | Target::Noted(..)),
                ..Get::default()
            };
            let target = target.begin(&mut get, options)?;
            Ok::<_, Error>((get, target))
        });
        let begun = beginning.await;
        let (get, target) = begun.map_err(|error| Error::io("opening the file", error))??;
        let open: OpenSink = Box::new(move |announced| target.open(announced, options));
        let make =
            Box::new(move || Box::new(Receiver::pull(get, options.preserve, open, progress)) as _);
        self.drive(make, streams, None).await
    }
}
