//! `connect` over the connection of an `rpclient` that runs already: frames over its control socket, both sides of them.
//! Finding that program is `control`'s, standard input and output are `standard`'s.
//!
//! A Unix socket has one kind of end, and a connection has two: cut data must not look whole. So every piece is a frame
//! of a kind (1 byte), a length (4 bytes, big-endian) and so many bytes, the end in order is a frame too, and what ends
//! without it was cut off.

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use rp_protocol::{RecvStream, SendStream};
use rp_proxy::{
    client::{ClientCounters, TargetStream},
    error::OpenError,
    relay::{Far, abandon, code, take_reply},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::UnixStream,
};

use super::READ_BYTES;

const DATA: u8 = 0;
const END: u8 = 1;
const FAILED: u8 = 2;

/// Bytes of a frame's kind and length.
const HEAD_BYTES: usize = 5;

/// A piece of what is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// These bytes.
    Data(Bytes),
    /// The direction ended in order.
    End,
    /// There is no connection to the target, and why.
    Failed(String),
}

/// Reads the next frame into `buffer`; `None` if its writer is gone.
pub(super) async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Option<Frame>> {
    loop {
        if let Some(frame) = take_frame(buffer)? {
            return Ok(Some(frame));
        }
        buffer.reserve(HEAD_BYTES + READ_BYTES);
        if from.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Takes a frame off the front of `buffer`, if it is there.
fn take_frame(buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
    let Some((&[kind, a, b, c, d], _)) = buffer.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a frame of connect");
    if len > READ_BYTES {
        return Err(bad());
    }
    if buffer.len() < HEAD_BYTES + len {
        return Ok(None);
    }
    let bytes = buffer
        .split_to(HEAD_BYTES + len)
        .split_off(HEAD_BYTES)
        .freeze();
    match kind {
        DATA => Ok(Some(Frame::Data(bytes))),
        END => Ok(Some(Frame::End)),
        FAILED => Ok(Some(Frame::Failed(
            String::from_utf8_lossy(&bytes).into_owned(),
        ))),
        _ => Err(bad()),
    }
}

/// Writes `frame`, whose bytes are [`READ_BYTES`] at most.
pub(super) async fn write_frame(
    to: &mut (impl AsyncWrite + Unpin),
    frame: &Frame,
) -> io::Result<()> {
    let (kind, bytes): (u8, &[u8]) = match frame {
        Frame::Data(bytes) => (DATA, bytes),
        Frame::End => (END, &[]),
        Frame::Failed(text) => (FAILED, text.as_bytes()),
    };
    let bytes = &bytes[..bytes.len().min(READ_BYTES)];
    let mut whole = Vec::with_capacity(HEAD_BYTES + bytes.len());
    whole.put_u8(kind);
    whole.put_u32(u32::try_from(bytes.len()).expect("a frame is 64 KiB at most"));
    whole.extend_from_slice(bytes);
    to.write_all(&whole).await
}

/// Carries a caller's connection over `stream` until the target's direction has ended or either side is gone.
pub(super) async fn carry(
    mut stream: TargetStream,
    caller: UnixStream,
    early: Bytes,
    counters: &ClientCounters,
) {
    let _guard = stream.take_guard();
    let Far {
        mut send,
        mut recv,
        early: reply,
        ..
    } = stream.into_far();
    let (mut from, mut to) = caller.into_split();
    tokio::select! {
        // The target's end is the caller's, as with nc; after a cut there is nothing to wait for either.
        _ = downward(&mut recv, reply, &mut to, counters) => {}
        _gone = upward(&mut from, early, &mut send) => {}
    }
    abandon(&mut send, &mut recv, code::RESET);
}

/// Passes the caller's bytes on, until it is gone. What the target takes no more is discarded.
async fn upward(
    from: &mut (impl AsyncRead + Unpin),
    early: Bytes,
    send: &mut SendStream,
) -> io::Result<()> {
    let mut buffer = BytesMut::from(early);
    loop {
        match read_frame(from, &mut buffer).await? {
            Some(Frame::Data(bytes)) => {
                let _ = send.write_bytes(bytes).await;
            }
            Some(Frame::End) => {
                let _ = send.finish();
            }
            Some(Frame::Failed(_)) | None => return Ok(()),
        }
    }
}

/// Passes the target's bytes on, to their end; an error is a cut.
async fn downward(
    recv: &mut RecvStream,
    reply: Bytes,
    to: &mut (impl AsyncWrite + Unpin),
    counters: &ClientCounters,
) -> io::Result<()> {
    let replied = take_reply(recv, reply).await;
    counters.on_outcome(replied.as_ref().map(|_| ()));
    let mut next = match replied {
        Ok(early) => early,
        Err(failure) => return write_frame(to, &Frame::Failed(failure.to_string())).await,
    };
    loop {
        if !next.is_empty() {
            write_frame(to, &Frame::Data(next)).await?;
        }
        let read = recv.read_bytes(READ_BYTES).await;
        next = match read.map_err(|error| io::Error::other(OpenError::from(error)))? {
            Some(bytes) => bytes,
            None => return write_frame(to, &Frame::End).await,
        };
    }
}

#[cfg(test)]
mod tests;
