//! Copying from a server to here: a Get becomes a local file or standard output.

use std::{
    fs::OpenOptions,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rp_protocol::{Connection, units::Side};
use rp_transfer::{
    error::Error,
    message::Get,
    path::{Destination, RemotePath},
    receiver::{OpenSink, Receiver},
    session::{Progress, Summary},
    writer::{Sink, StreamSink, Writer},
};

use super::{
    CopyError, Limits,
    activity::Patience,
    arrivals::Arrivals,
    control::{ControlReader, ControlWriter},
    drive::{Streams, drive},
    location::{Location, Remote, printable_path},
};
use crate::file_threads::{FileThreads, User};

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
    fn open(self, size: Option<u64>) -> Result<Box<dyn Sink>, Error> {
        Ok(match self {
            Self::Standard => Box::new(StreamSink::new(io::stdout(), "standard output")),
            Self::Stream(path) => {
                let shown = printable_path(&path);
                let file = OpenOptions::new().write(true).open(&path);
                let file = file.map_err(|error| Error::io(&shown, error))?;
                Box::new(StreamSink::new(file, &shown))
            }
            Self::File(destination) => Box::new(Writer::create(destination, size)?),
        })
    }
}

/// Fetches `remote` into `target`.
///
/// # Errors
/// See [`CopyError`].
pub(super) async fn pull(
    connection: &Connection,
    remote: &Remote,
    target: Target,
    preserve: bool,
    progress: Arc<Progress>,
    limits: Limits<impl Future<Output = ()>>,
) -> Result<Summary, CopyError> {
    let arrivals = Arrivals::new(connection, Side::Server);
    let (writer, reader) = connection.open_bi().await?;
    let get = Get {
        path: remote.path.clone(),
    };
    let streams = Streams {
        reader: ControlReader::new(reader),
        writer: ControlWriter::new(writer),
        data: None,
        connection,
        arrivals: &arrivals,
        patience: Patience {
            silence: limits.silence,
            working: Duration::MAX,
        },
        worker: &FileThreads::new().connection(User::Ourselves),
    };
    let open: OpenSink = Box::new(move |attributes| target.open(attributes.size));
    let make = Box::new(move || Box::new(Receiver::pull(get, preserve, open, progress)) as _);
    drive(make, streams, limits.stop).await
}
