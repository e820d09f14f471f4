//! What is written from front to back and cannot be read again.

use std::io::{self, Write};

use super::Sink;
use crate::{error::Error, message::Attributes};

/// Standard output and the like: bytes are gone once written.
#[derive(Debug)]
pub struct StreamSink<W> {
    to: W,
    name: String,
    written: u64,
}

impl<W: Write + Send> StreamSink<W> {
    /// Writes to `to`, called `name` in errors.
    pub fn new(to: W, name: &str) -> Self {
        let name = name.to_owned();
        Self {
            to,
            name,
            written: 0,
        }
    }
}

impl<W: Write + Send> Sink for StreamSink<W> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if offset != self.written {
            return Err(Error::Protocol("data out of order"));
        }
        self.written += bytes.len() as u64;
        let written = self.to.write_all(bytes);
        written.map_err(|error| Error::io(&self.name, error))
    }

    fn read_at(&mut self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn commit(mut self: Box<Self>, _: &Attributes, _: bool) -> Result<String, Error> {
        let flushed = self.to.flush();
        flushed.map_err(|error| Error::io(&self.name, error))?;
        Ok(String::new())
    }

    fn discard(self: Box<Self>) {}
}
