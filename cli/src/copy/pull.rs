//! Copying from a server to here: a Get becomes a local file or standard output.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rp_transfer::{
    error::Error,
    message::{Durability, Get},
    path::{Destination, RemotePath},
    receiver::{OpenSink, Receiver},
    session::{Progress, Summary},
    writer::{Sink, StreamSink, Writer},
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
    File(Destination),
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
    fn open(self, size: Option<u64>, durability: Durability) -> Result<Box<dyn Sink>, Error> {
        Ok(match self {
            Self::Standard => Box::new(StreamSink::new(io::stdout(), "standard output")),
            Self::Stream(path) => {
                let shown = printable_path(&path);
                let file = OpenOptions::new().write(true).open(&path);
                let file = file.map_err(|error| Error::io(&shown, error))?;
                Box::new(StreamSink::new(file, &shown))
            }
            Self::File(destination) => {
                Box::new(Writer::create(destination, size)?.durability(durability))
            }
        })
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
        let streams = self.connection.open_bi().await?;
        let get = Get { path };
        let open: OpenSink =
            Box::new(move |attributes| target.open(attributes.size, options.durability));
        let make =
            Box::new(move || Box::new(Receiver::pull(get, options.preserve, open, progress)) as _);
        self.drive(make, streams, None).await
    }
}
