//! A control stream cut into messages. What a message means is said in `message`.

use super::{DecodeError, LENGTH_PREFIX, MAX_MESSAGE, Message};

impl Message {
    /// How many bytes follow a length prefix.
    pub(crate) fn checked_length(length: u32) -> Result<usize, DecodeError> {
        //= spec/20-copy.md#messages
        //# A length below 2 or above 65536 MUST be refused before any memory is set aside for it.
        match usize::try_from(length) {
            Ok(bytes) if (2..=MAX_MESSAGE).contains(&bytes) => Ok(bytes),
            _ => Err(DecodeError::Length(length)),
        }
    }
}

/// Takes a control stream in pieces and gives its messages back one by one.
///
/// Holds at most one incomplete message: [`MAX_MESSAGE`] bytes and what one piece adds.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next piece of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    pub fn next_message(&mut self) -> Result<Option<Message>, DecodeError> {
        let rest = &self.buffer[self.start..];
        let Some((prefix, rest)) = rest.split_first_chunk::<LENGTH_PREFIX>() else {
            return Ok(None);
        };
        let bytes = Message::checked_length(u32::from_be_bytes(*prefix))?;
        let Some(body) = rest.get(..bytes) else {
            return Ok(None);
        };
        let message = Message::decode(body)?;
        self.start += LENGTH_PREFIX + bytes;
        Ok(Some(message))
    }

    /// What the end of the stream means: an error inside a message.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.start == self.buffer.len() {
            Ok(())
        } else {
            Err(DecodeError::Incomplete)
        }
    }
}
