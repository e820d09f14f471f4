//! What the fuzz test runs for the copy service: each function takes any bytes, must not panic and checks what must
//! hold whatever they are. `cli/tests/fuzz` feeds them.
//!
//! Public, because an integration test is another crate; not part of the API. It is no feature of the crate, as that
//! would have everything built twice for the tests; a program that does not call it has nothing of it.

use crate::{
    error::printable,
    message::{DecodeError, Decoder, Message},
    path::RemotePath,
};

pub use crate::{batch::fuzz::batch, journal::fuzz::journal};

/// Bytes a piece has where data is fed in pieces.
const PIECE: usize = 3;

/// Messages of the copy service: what decodes means the same when it is encoded, and a stream of them is the same in
/// pieces.
pub fn messages(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        let mut out = Vec::new();
        message.encode(&mut out);
        let mut decoder = Decoder::new();
        decoder.push(&out);
        assert_eq!(decoder.next_message(), Ok(Some(message)));
        assert_eq!(decoder.finish(), Ok(()));
    }
    let whole = decoded(std::iter::once(data));
    assert_eq!(decoded(data.chunks(PIECE)), whole);
}

/// The messages of a stream, and how it ended.
fn decoded<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, Result<(), DecodeError>) {
    let (mut decoder, mut messages) = (Decoder::new(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
    }
    let end = decoder.finish();
    (messages, end)
}

/// Paths that a peer names: what is taken cannot leave its folder, and is the same when it is written.
pub fn paths(data: &[u8]) {
    assert!(!printable(data).contains(char::is_control));
    let Ok(path) = RemotePath::parse(data) else {
        return;
    };
    let written = path.to_bytes();
    assert!(!written.starts_with(b"/"));
    let mut names = written.split(|&byte| byte == b'/');
    assert!(names.all(|name| name != b".." && !name.contains(&0)));
    let again = RemotePath::parse(&written).expect("what is written is a path");
    assert_eq!(again.to_bytes(), written);
    assert!(!path.display().contains(char::is_control));
    let _ = (path.parent(), path.file_name());
}
