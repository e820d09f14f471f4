//! Checks of the data stream of a batch on any bytes, for [`crate::fuzz`].

use super::{MAX_FILE, parser::Parser};
use crate::message::Entry;

/// Bytes a piece has where data is fed in pieces.
const PIECE: usize = 5;

/// What came of a stream: entries with their content, and whether it was understood to its end.
type Parsed = (Vec<(Entry, Vec<u8>)>, bool);

/// The data stream of a batch: the entries are the same in pieces, and none is larger than a batch may hold.
pub fn batch(data: &[u8]) {
    let whole = parsed(std::iter::once(data));
    assert_eq!(parsed(data.chunks(PIECE)), whole);
    let content: usize = whole.0.iter().map(|(_, content)| content.len()).sum();
    assert!(content <= data.len());
    for (_, content) in &whole.0 {
        assert!(content.len() as u64 <= MAX_FILE);
    }
}

fn parsed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Parsed {
    let (mut parser, mut entries) = (Parser::default(), Vec::new());
    for piece in pieces {
        parser.push(piece);
        loop {
            match parser.next(|entry, content| (entry, content.to_vec())) {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => break,
                Err(_) => return (entries, false),
            }
        }
    }
    let is_whole = parser.finish().is_ok();
    (entries, is_whole)
}
