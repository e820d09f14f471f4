//! The control stream of one request: messages in, messages out. What they mean is the halves'.

use bytes::Bytes;
use rp_protocol::{
    RecvStream, SendStream,
    error::{ReadError, WriteError},
};
use rp_transfer::message::{DecodeError, Decoder, Message};
use thiserror::Error;

/// Bytes of a control stream taken at a time.
const PIECE: usize = 16 << 10;

/// Messages go before file bytes.
const PRIORITY: i32 = 1;

/// Why no message came.
#[derive(Debug, Error)]
pub(super) enum ControlError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Messages that come in.
#[derive(Debug)]
pub(super) struct ControlReader {
    stream: RecvStream,
    decoder: Decoder,
}

impl ControlReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        let decoder = Decoder::new();
        Self { stream, decoder }
    }

    /// The next message; `None` at the end of the stream. May be dropped at any await.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, ControlError> {
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(Some(message));
            }
            match self.stream.read_bytes(PIECE).await? {
                Some(bytes) => self.decoder.push(&bytes),
                None => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
            }
        }
    }
}

/// Messages that go out.
#[derive(Debug)]
pub(super) struct ControlWriter {
    stream: SendStream,
}

impl ControlWriter {
    pub(super) fn new(stream: SendStream) -> Self {
        stream.set_priority(PRIORITY);
        Self { stream }
    }

    pub(super) async fn send(&mut self, message: &Message) -> Result<(), WriteError> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.stream.write_bytes(Bytes::from(bytes)).await
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self) -> Result<(), WriteError> {
        self.stream.finish()
    }
}
