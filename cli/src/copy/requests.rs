//! What the requests of one client's connection share, and how one is made.

use std::{future, sync::Arc, time::Duration};

use rp_protocol::{Connection, RecvStream, SendStream, units::Side};
use rp_transfer::{
    error::Error,
    message::{Entry, Mark, Message, Status},
    session::Summary,
};
use tokio::{sync::watch, time::timeout};

use super::{
    CopyError,
    activity::Patience,
    arrivals::Arrivals,
    control::{ControlError, ControlReader, ControlWriter},
    drive::{MakeHalf, Streams, drive},
    keys,
};
use crate::{
    exit_code::{ExitCode, Failure},
    file_threads::{FileThreads, User, Worker},
    run,
};

/// Whether the user wants an end.
#[derive(Clone, Debug, Default)]
pub(super) enum Stop {
    #[default]
    No,
    Yes,
    /// Signals cannot be waited for.
    Unknown(Failure),
}

/// Tells of the first signal that wants an end; a second one has it at once.
pub(super) fn watch_signals() -> watch::Receiver<Stop> {
    let (told, stop) = watch::channel(Stop::No);
    tokio::spawn(async move {
        let mut stops = match run::Stops::new() {
            Ok(stops) => stops,
            Err(failure) => {
                told.send_replace(Stop::Unknown(failure));
                return;
            }
        };
        stops.next().await;
        told.send_replace(Stop::Yes);
        stops.next().await;
        keys::restore_terminal();
        std::process::exit(ExitCode::Interrupted.number().into());
    });
    stop
}

/// Makes requests on one connection.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) connection: Connection,
    arrivals: Arrivals,
    pub(super) threads: FileThreads,
    pub(super) worker: Worker,
    silence: Duration,
    stop: watch::Receiver<Stop>,
}

impl Requests {
    /// On `connection`, whose server may do nothing for `silence` while it is its turn, until `stop`.
    pub(super) fn new(
        connection: &Connection,
        silence: Duration,
        stop: watch::Receiver<Stop>,
    ) -> Arc<Self> {
        let threads = FileThreads::new();
        Arc::new(Self {
            connection: connection.clone(),
            arrivals: Arrivals::new(connection, Side::Server),
            worker: threads.connection(User::Ourselves),
            threads,
            silence,
            stop,
        })
    }

    /// Done when the user wants an end.
    async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // Without signal handlers the copy goes on, and a signal simply ends it.
        if stop
            .wait_for(|stop| matches!(stop, Stop::Yes))
            .await
            .is_err()
        {
            future::pending::<()>().await;
        }
    }

    /// Has a half copy over the streams of a request of its own.
    pub(super) async fn drive(
        &self,
        make: MakeHalf,
        (writer, reader): (SendStream, RecvStream),
        data: Option<SendStream>,
    ) -> Result<Summary, CopyError> {
        let streams = Streams {
            reader: ControlReader::new(reader),
            writer: ControlWriter::new(writer),
            data,
            connection: &self.connection,
            arrivals: &self.arrivals,
            patience: Patience {
                silence: self.silence,
                working: Duration::MAX,
            },
            worker: &self.worker,
        };
        drive(make, streams, self.stopped()).await
    }

    /// Asks something, in one or more messages, that is answered without data.
    pub(super) async fn ask(&self, question: &[Message]) -> Result<Answers<'_>, CopyError> {
        let (writer, reader) = self.connection.open_bi().await?;
        let mut writer = ControlWriter::new(writer);
        for message in question {
            // A refusal may come before all was said.
            if writer.send(message).await.is_err() {
                break;
            }
        }
        Ok(Answers {
            requests: self,
            reader: ControlReader::new(reader),
            _writer: writer,
        })
    }

    /// Asks for something that is done or not.
    pub(super) async fn ask_for(&self, wish: Message) -> Result<(), CopyError> {
        let mut answers = self.ask(&[wish]).await?;
        while answers.next().await?.is_some() {}
        Ok(())
    }
}

/// What comes for an answer.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    requests: &'a Requests,
    reader: ControlReader,
    /// Ended by its drop, which tells the server that no more is wanted.
    _writer: ControlWriter,
}

impl Answers<'_> {
    /// The next entry; `None` when all is said, and an error if that was a refusal.
    pub(super) async fn next(&mut self) -> Result<Option<Entry>, CopyError> {
        match self.next_message().await? {
            Some(Message::Entry(entry)) => Ok(Some(entry)),
            Some(_) => Err(Error::Protocol("a message out of turn").into()),
            None => Ok(None),
        }
    }

    /// The next marks of what an interrupted copy finished, in the same way.
    pub(super) async fn next_marks(&mut self) -> Result<Option<Vec<Mark>>, CopyError> {
        match self.next_message().await? {
            Some(Message::There(there)) => Ok(Some(there.marks)),
            Some(_) => Err(Error::Protocol("a message out of turn").into()),
            None => Ok(None),
        }
    }

    async fn next_message(&mut self) -> Result<Option<Message>, CopyError> {
        loop {
            let silence = self.requests.silence;
            let next = tokio::select! {
                next = timeout(silence, self.reader.next()) => next,
                () = self.requests.stopped() => return Err(Error::Interrupted.into()),
            };
            let next = next.map_err(|_| CopyError::Stalled(silence))?;
            return match next {
                Ok(Some(Message::Working)) => continue,
                Ok(Some(Message::Done(done))) if done.status == Status::Ok => Ok(None),
                Ok(Some(Message::Done(done))) => Err(Error::Peer(done).into()),
                Ok(Some(message)) => Ok(Some(message)),
                Ok(None) => Err(Error::Protocol("the stream ended without Done").into()),
                Err(ControlError::Decode(error)) => Err(Error::Decode(error).into()),
                Err(ControlError::Read(error)) => Err(lost(error)),
            };
        }
    }
}

fn lost(error: rp_protocol::error::ReadError) -> CopyError {
    match error {
        rp_protocol::error::ReadError::ConnectionLost(error) => CopyError::Lost(error),
        _ => Error::Protocol("the stream ended without Done").into(),
    }
}
