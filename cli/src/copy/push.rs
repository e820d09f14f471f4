//! Copying from here to a server: standard input or a local file becomes a Put.

use std::{
    fs::OpenOptions, future::Future, os::unix::fs::OpenOptionsExt, sync::Arc, time::Duration,
};

use rp_protocol::{Connection, units::Side};
use rp_transfer::{
    error::Error,
    message::Put,
    sender::Sender,
    session::{Progress, Summary},
    source::Source,
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

/// Opens what is to be sent, before anything is connected: a missing file needs no network.
///
/// # Errors
/// It is not there, may not be read, or is a folder.
pub(super) fn open_source(location: &Location) -> Result<Source, Error> {
    match location {
        Location::Local(path) => {
            let shown = printable_path(path);
            let mut options = OpenOptions::new();
            // Opening the user's terminal must not make it ours; O_NONBLOCK is not wanted, because
            // a pipe named on the command line is meant to be waited for.
            options.custom_flags(i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap_or(0));
            let file = options.read(true).open(path);
            let file = file.map_err(|error| Error::io(&shown, error))?;
            Source::file(file, &shown)
        }
        _ => Ok(Source::pipe(std::io::stdin(), "standard input")),
    }
}

/// Where a file goes, and what it keeps.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub(super) to: &'a Remote,
    /// The source's name, for a folder to keep; empty for standard input.
    pub(super) name: Vec<u8>,
    pub(super) preserve: bool,
}

/// Sends `source`.
///
/// # Errors
/// See [`CopyError`].
pub(super) async fn push(
    connection: &Connection,
    source: Source,
    offer: Offer<'_>,
    progress: Arc<Progress>,
    limits: Limits<impl Future<Output = ()>>,
) -> Result<Summary, CopyError> {
    let (writer, reader) = connection.open_bi().await?;
    let data = connection.open_uni().await?;
    let put = Put {
        stream: data.id().into_inner(),
        path: offer.to.path.clone(),
        name: offer.name,
        preserve: offer.preserve,
        ..Put::default()
    };
    let arrivals = Arrivals::new(connection, Side::Server);
    let streams = Streams {
        reader: ControlReader::new(reader),
        writer: ControlWriter::new(writer),
        data: Some(data),
        connection,
        arrivals: &arrivals,
        patience: Patience {
            silence: limits.silence,
            working: Duration::MAX,
        },
        worker: &FileThreads::new().connection(User::Ourselves),
    };
    let make = Box::new(move || Box::new(Sender::push(put, source, progress)) as _);
    drive(make, streams, limits.stop).await
}
