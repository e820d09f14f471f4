//! A file on its way from one machine to another through memory: what the receiver's half writes, the sender's half
//! reads. It ends well only when the receiver has found it right.

use std::{
    fmt,
    io::{self, Read},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use crate::{error::Error, message::Attributes, source::Source, writer::Sink};

/// Pieces that the receiver may be ahead of the sender, each of what it is handed at a time.
const AHEAD: usize = 4;

/// What is put in at one end.
enum Piece {
    Bytes(Vec<u8>),
    /// All was there, and right.
    End,
}

/// The end that a receiver writes to.
pub struct RelaySink {
    pieces: SyncSender<Piece>,
    shown: String,
    written: u64,
}

/// The end that a sender reads.
struct RelayReader {
    pieces: Receiver<Piece>,
    piece: Vec<u8>,
    read: usize,
    has_ended: bool,
}

/// Both ends for a file that is called `shown` in errors and has these attributes; its size is not announced, since a
/// pipe cannot be read again.
pub fn relay(shown: &str, attributes: &Attributes) -> (RelaySink, Source) {
    let (send, pieces) = sync_channel(AHEAD);
    let sink = RelaySink {
        pieces: send,
        shown: shown.to_owned(),
        written: 0,
    };
    let reader = RelayReader {
        pieces,
        piece: Vec::new(),
        read: 0,
        has_ended: false,
    };
    (sink, Source::relayed(reader, shown, attributes))
}

impl fmt::Debug for RelaySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelaySink")
            .field("shown", &self.shown)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl RelaySink {
    fn put(&self, piece: Piece) -> Result<(), Error> {
        let broken = |_| Error::io(&self.shown, io::ErrorKind::BrokenPipe);
        self.pieces.send(piece).map_err(broken)
    }
}

impl Sink for RelaySink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if offset != self.written {
            return Err(Error::Protocol("data out of order"));
        }
        self.written += bytes.len() as u64;
        self.put(Piece::Bytes(bytes.to_vec()))
    }

    fn read_at(&mut self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn commit(self: Box<Self>, _: &Attributes, _: bool) -> Result<String, Error> {
        self.put(Piece::End)?;
        Ok(String::new())
    }

    fn discard(self: Box<Self>) {}
}

impl Read for RelayReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.len() && !self.has_ended {
            match self.pieces.recv() {
                Ok(Piece::Bytes(piece)) => (self.piece, self.read) = (piece, 0),
                Ok(Piece::End) => self.has_ended = true,
                // Wrong, or cut off: it must not look whole at the other end.
                Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = buffer.len().min(self.piece.len() - self.read);
        buffer[..length].copy_from_slice(&self.piece[self.read..self.read + length]);
        self.read += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn pass(pieces: &[&[u8]], ends: bool) -> io::Result<Vec<u8>> {
        let (mut sink, mut source) = relay("file", &Attributes::default());
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut offset = 0;
                for piece in pieces {
                    sink.write_at(offset, piece).unwrap();
                    offset += piece.len() as u64;
                }
                if ends {
                    Box::new(sink)
                        .commit(&Attributes::default(), false)
                        .unwrap();
                }
            });
            let mut bytes = Vec::new();
            loop {
                match source.next(3) {
                    Ok(Some(piece)) => bytes.extend(piece),
                    Ok(None) => return Ok(bytes),
                    Err(Error::Io { source, .. }) => return Err(source),
                    Err(error) => return Err(io::Error::other(error)),
                }
            }
        })
    }

    #[test]
    fn a_file_passes_whole_or_with_an_error() {
        let pieces: [&[u8]; 7] = [b"a", b"bcdefgh", b"", b"ij", b"k", b"l", b"m"];
        assert_eq!(pass(&pieces, true).unwrap(), b"abcdefghijklm");
        assert_eq!(pass(&[], true).unwrap(), b"");
        let cut = pass(&pieces, false).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_reader_that_has_gone_ends_the_writer() {
        let (mut sink, source) = relay("file", &Attributes::default());
        drop(source);
        assert!(sink.write_at(0, b"x").is_err());
        assert!(sink.write_at(5, b"x").is_err(), "out of order");
    }
}
