//! The sending and the receiving half of an association, for both sides: frames where they can carry a datagram,
//! the stream where they cannot.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use rp_protocol::{
    RecvStream, SendStream,
    error::{ReadError, SendDatagramError, WriteError},
};
use tokio::sync::Mutex;

use super::{message::Datagram, router::Route};
use crate::relay::code;

/// Bytes one read of a stream takes at most.
const READ_BYTES: usize = 64 << 10;

/// Sends datagrams of one association. All methods may be given up at any time.
#[derive(Debug)]
pub(crate) struct Carrier {
    route: Route,
    /// Frames may be used: the peer knows the association.
    uses_frames: AtomicBool,
    stream: Mutex<Writer>,
}

/// Why an association's stream carries nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// Its other end finished it.
    Finished,
    /// It is malformed.
    Malformed,
    /// It was reset, or its connection was lost.
    Failed(ReadError),
}

#[derive(Debug)]
struct Writer {
    stream: SendStream,
    /// What is left of a datagram whose sender was given up halfway.
    unsent: Bytes,
}

impl Writer {
    async fn flush(&mut self) -> Result<(), WriteError> {
        while !self.unsent.is_empty() {
            self.stream.write_some(&mut self.unsent).await?;
        }
        Ok(())
    }
}

impl Carrier {
    pub(crate) fn new(route: Route, stream: SendStream, uses_frames: bool) -> Self {
        Self {
            route,
            uses_frames: AtomicBool::new(uses_frames),
            stream: Mutex::new(Writer {
                stream,
                unsent: Bytes::new(),
            }),
        }
    }

    /// What arrived for the association.
    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// The peer has said that it knows the association.
    pub(crate) fn use_frames(&self) {
        self.uses_frames.store(true, Ordering::Release);
    }

    //= spec/10-proxy.md#udp
    //# A sender MUST use the stream where a DATAGRAM frame cannot carry a datagram: where the peer's
    //# max_datagram is 0, or the packets of the path are too small.
    /// Sends `datagram` when it is its turn; `false` when the association is over.
    pub(crate) async fn send(&self, datagram: &Datagram) -> bool {
        if self.uses_frames.load(Ordering::Acquire) {
            match self.route.send(datagram).await {
                Ok(()) => return true,
                Err(SendDatagramError::TooLarge | SendDatagramError::Unsupported) => {}
                Err(_lost) => return false,
            }
        }
        let mut writer = self.stream.lock().await;
        if writer.flush().await.is_err() {
            return false;
        }
        writer.unsent = datagram.encode_in_stream();
        writer.flush().await.is_ok()
    }

    /// Resets the stream, at either side's wish.
    pub(crate) async fn reset(&self, code: rp_protocol::units::CloseCode) {
        self.stream.lock().await.stream.reset(code);
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // What was written is still delivered.
        let _ = self.stream.get_mut().stream.finish();
    }
}

/// Takes datagrams off `recv`, `early` first, and puts them where the association's wait, to the stream's end.
pub(crate) async fn receive(recv: &mut RecvStream, early: Bytes, route: &Route) -> StreamEnd {
    let mut read = BytesMut::from(&early[..]);
    loop {
        loop {
            match Datagram::take_from_stream(&mut read) {
                Ok(Some(datagram)) => route.queue().push(datagram),
                Ok(None) => break,
                //= spec/10-proxy.md#udp
                //# A receiver MUST reset a stream that brings a malformed datagram, with code 3.
                Err(_malformed) => {
                    recv.stop(code::MALFORMED);
                    return StreamEnd::Malformed;
                }
            }
        }
        if read.is_empty() {
            // An association that sends frames only holds no buffer.
            read = BytesMut::new();
        }
        match recv.read_bytes(READ_BYTES).await {
            Ok(Some(bytes)) => read.extend_from_slice(&bytes),
            Ok(None) => return StreamEnd::Finished,
            Err(error) => return StreamEnd::Failed(error),
        }
    }
}
