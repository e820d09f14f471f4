//! Copying from here to a server: standard input or a local file becomes a Put.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, sync::Arc};

use rp_transfer::{
    error::Error,
    message::Put,
    sender::Sender,
    session::{Progress, Summary},
    source::Source,
};

use super::{
    CopyError,
    location::{Location, printable_path},
    requests::Requests,
};

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

impl Requests {
    /// Sends `source` to where `put` says; with `reduce`, no more of it than an older file there has not.
    ///
    /// # Errors
    /// See [`CopyError`].
    pub(super) async fn push(
        &self,
        source: Source,
        put: Put,
        reduce: bool,
        progress: Arc<Progress>,
    ) -> Result<Summary, CopyError> {
        self.threads.allow_reading();
        let streams = self.connection.open_bi().await?;
        let data = self.connection.open_uni().await?;
        let put = Put {
            stream: data.id().into_inner(),
            ..put
        };
        let make = Box::new(move || {
            let sender = Sender::push(put, source, progress);
            Box::new(if reduce { sender } else { sender.no_reduce() }) as _
        });
        self.drive(make, streams, Some(data)).await
    }
}
