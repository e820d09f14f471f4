//! Standard input and output joined with a target, for `connect`: over the connection of an `rpclient` that runs
//! already, or one of our own. What goes over the socket between the two programs is in `through`.

use std::io;

use bytes::{Bytes, BytesMut};
use rp_protocol::{RecvStream, SendStream, error::ReadError};
use rp_proxy::{
    Client,
    error::OpenError,
    relay::{Far, abandon, code, take_reply},
    target::Target,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Stdin, Stdout, stdin, stdout},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};
use tracing::debug;

use super::{
    READ_BYTES,
    through::{Frame, read_frame, write_frame},
};
use crate::{
    control::{CallError, Caller, Command, Place, Route, find},
    exit_code::Failure,
    reach::Reach,
};

/// What a cut by the target is told as.
const RESET: &str = "the target's connection was reset";

/// Joins standard input and output with `target` over a connection of our own.
pub(super) async fn over_own(reach: &Reach, target: &Target) -> Result<(), Failure> {
    let connection = reach.connect().await?;
    let failed = |error| match error {
        OpenError::ConnectionLost(lost) => reach.explain(lost),
        error => Failure::other(format!("{target}: {error}")),
    };
    let stream = Client::open_on(&connection, target).await.map_err(failed)?;
    let Far {
        mut send,
        mut recv,
        early: reply,
        ..
    } = stream.into_far();
    let down = async {
        let early = take_reply(&mut recv, reply).await.map_err(failed)?;
        downward(&mut recv, early).await
    };
    // What is read before the outcome of the dial is known saves a round trip.
    let result = both(down, upward(&mut send)).await;
    if result.is_err() {
        abandon(&mut send, &mut recv, code::RESET);
    }
    result
}

/// The same over the connection of an `rpclient` that runs already; `None` if there is none that goes the same way.
pub(super) async fn over_running(
    place: &Place,
    listen: Option<&str>,
    route: Option<&Route>,
    target: &Target,
) -> Option<Result<(), Failure>> {
    let path = find(place, "rpclient", listen).ok()?;
    let mut caller = Caller::connect(&path).await.ok()?;
    let command = Command::Connect {
        target: target.to_string(),
        route: route.cloned(),
    };
    match caller.call::<()>(&command).await {
        Ok(()) => {}
        Err(error @ (CallError::Refused(_) | CallError::BadAnswer(_))) => {
            debug!(%error, "the running rpclient is not used");
            return None;
        }
        Err(error) => return Some(Err(error.into())),
    }
    let stream = caller.into_stream();
    let early = BytesMut::from(stream.buffer());
    // The half that is written is open to the end: dropping it would look like a death of ours.
    let (from, mut to) = stream.into_inner().into_split();
    Some(both(frames_down(from, early, target), frames_up(&mut to)).await)
}

/// Runs both directions. The target's end is ours, as with nc; our input's end is only passed on.
async fn both(
    down: impl Future<Output = Result<(), Failure>>,
    up: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::pin!(down, up);
    tokio::select! {
        ended = &mut down => ended,
        ended = &mut up => match ended {
            // Also where the target takes no more: what it still says tells how it ended.
            Ok(()) => down.await,
            error => error,
        },
    }
}

/// Some bytes of standard input, none at its end.
async fn input(from: &mut Stdin, buffer: &mut BytesMut) -> Result<Bytes, Failure> {
    buffer.reserve(READ_BYTES);
    let mut limited = from.take(READ_BYTES as u64);
    let read = limited.read_buf(buffer).await;
    read.map_err(|error| Failure::other(format!("standard input: {error}")))?;
    Ok(buffer.split().freeze())
}

/// Writes to standard output, without delay.
async fn output(to: &mut Stdout, bytes: &[u8]) -> Result<(), Failure> {
    let written = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    written
        .await
        .map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::broken_pipe(),
            _ => Failure::other(format!("standard output: {error}")),
        })
}

/// Passes standard input on, to its end or until the target takes no more.
async fn upward(send: &mut SendStream) -> Result<(), Failure> {
    let (mut from, mut buffer) = (stdin(), BytesMut::new());
    loop {
        let bytes = input(&mut from, &mut buffer).await?;
        if bytes.is_empty() {
            let _ = send.finish();
            return Ok(());
        }
        if send.write_bytes(bytes).await.is_err() {
            return Ok(());
        }
    }
}

/// Passes what the target sends to standard output, to its end; fails if the target was cut off.
async fn downward(recv: &mut RecvStream, early: Bytes) -> Result<(), Failure> {
    let (mut to, mut next) = (stdout(), early);
    loop {
        output(&mut to, &next).await?;
        next = match recv.read_bytes(READ_BYTES).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(()),
            Err(ReadError::Reset(_)) => return Err(Failure::other(RESET)),
            Err(error) => return Err(Failure::other(error.to_string())),
        };
    }
}

/// Standard input as frames.
async fn frames_up(to: &mut OwnedWriteHalf) -> Result<(), Failure> {
    let (mut from, mut buffer) = (stdin(), BytesMut::new());
    loop {
        let bytes = input(&mut from, &mut buffer).await?;
        let frame = match bytes.is_empty() {
            true => Frame::End,
            false => Frame::Data(bytes),
        };
        if write_frame(to, &frame).await.is_err() || frame == Frame::End {
            return Ok(());
        }
    }
}

/// Frames to standard output, to the target's end; fails if the target was cut off or never reached.
async fn frames_down(
    mut from: OwnedReadHalf,
    early: BytesMut,
    target: &Target,
) -> Result<(), Failure> {
    let (mut to, mut buffer) = (stdout(), early);
    loop {
        let frame = read_frame(&mut from, &mut buffer).await;
        match frame.map_err(|error| Failure::other(format!("the running rpclient: {error}")))? {
            Some(Frame::Data(bytes)) => output(&mut to, &bytes).await?,
            Some(Frame::End) => return Ok(()),
            Some(Frame::Failed(text)) => return Err(Failure::other(format!("{target}: {text}"))),
            None => return Err(Failure::other(RESET)),
        }
    }
}
