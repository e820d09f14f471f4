//! Checks of the HTTP front end's parsers on any bytes, for [`crate::fuzz`].

use bytes::{Bytes, BytesMut};

use super::{
    body::{Decoder, Piece},
    connect,
    forward::{self, Route},
    framing::{self, Framing},
    head::{BadHead, HeadEnd, Reading, RequestHead, ResponseHead},
    pac,
};

use crate::target::Target;

pub use super::ftp::fuzz::ftp_fetch;

/// Bytes a piece has where data is fed in pieces.
const PIECE: usize = 3;

/// Heads and bodies of HTTP: what is understood is the same in pieces, and what is forwarded is understood again.
pub fn http(data: &[u8]) {
    let request = in_pieces(data, RequestHead::take);
    let response = in_pieces(data, ResponseHead::take);
    for framing in [Framing::Chunked, Framing::Sized(7), Framing::UntilClose] {
        for reading in [Reading::Strict, Reading::Tolerant] {
            let whole = decoded(framing, reading, std::iter::once(data));
            let pieces = decoded(framing, reading, data.chunks(PIECE));
            assert_eq!(whole, pieces);
        }
    }
    let _ = connect::target_of(data);
    // A request that is forwarded gets fields of its own, and may have too many then.
    if let Some(head) = request.filter(|head| head.fields.len() < 100) {
        let _ = (forward::check_host(&head), forward::max_forwards(&head));
        if let (Ok(framing), Ok(route)) = (framing::of_request(&head), Route::of(&head.target)) {
            let forwarded = forward::request(&head, &route, framing, None);
            let mut again = BytesMut::from(&forwarded[..]);
            let again = RequestHead::take(&mut again, &mut HeadEnd::default());
            let again = again
                .ok()
                .flatten()
                .expect("what is forwarded is a request");
            assert_eq!(again.fields.all("host").count(), 1);
            assert_eq!(again.fields.all("proxy-authorization").count(), 0);
        }
    }
    if let Some(head) = response
        && let Ok(framing) = framing::of_response(&head, false)
    {
        let forwarded = forward::response(&head, framing, false);
        let mut again = BytesMut::from(&forwarded[..]);
        let again = ResponseHead::take(&mut again, &mut HeadEnd::default());
        assert!(
            matches!(again, Ok(Some(_))),
            "what is forwarded is a response"
        );
    }
}

/// The file for browsers: whoever asks for it, it is the same script with an address in it.
pub fn pac(data: &[u8]) {
    let Ok(Some(head)) = RequestHead::take(&mut BytesMut::from(data), &mut HeadEnd::default())
    else {
        return;
    };
    let _ = pac::is_asked(&head);
    let local = ([192, 0, 2, 1], 1080).into();
    let script = pac::content(&head, local);
    let script = str::from_utf8(&script).expect("it is text");
    let (before, rest) = script.split_once("\"PROXY ").expect("it names a proxy");
    let (proxy, after) = rest.split_once("; SOCKS5 ").expect("in both ways");
    let (again, after) = after.split_once("\";\n}\n").expect("and ends");
    assert_eq!((proxy, after), (again, ""));
    assert!(before.ends_with("return "));
    assert!(Target::parse(proxy, None).is_ok());
    assert!(!proxy.contains(['"', '\\', ';', ' ', '\n', '\r']));
}

/// The head in `data` as a whole, which must be the one that is found in pieces.
fn in_pieces<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    take: impl Fn(&mut BytesMut, &mut HeadEnd) -> Result<Option<T>, BadHead>,
) -> Option<T> {
    let whole = take(&mut BytesMut::from(data), &mut HeadEnd::default());
    let (mut buf, mut end) = (BytesMut::new(), HeadEnd::default());
    for piece in data.chunks(PIECE) {
        buf.extend_from_slice(piece);
        match take(&mut buf, &mut end) {
            Ok(None) => {}
            Ok(found) => {
                assert_eq!(whole, Ok(found));
                return whole.ok().flatten();
            }
            Err(_) => {
                // What is refused early may be refused for a later reason as a whole.
                assert!(whole.is_err(), "{whole:?}");
                return None;
            }
        }
    }
    assert_eq!(whole, Ok(None));
    None
}

/// Data of a body, how it ended, and what was left; `None` if it is none.
fn decoded<'a>(
    framing: Framing,
    reading: Reading,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Option<(Bytes, bool, Bytes)> {
    let mut decoder = Decoder::new(framing, reading);
    let (mut data, mut ended, mut buf) = (BytesMut::new(), false, BytesMut::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buf) {
                Ok(Some(Piece::Data(piece))) => data.extend_from_slice(&piece),
                Ok(Some(Piece::End(_))) => ended = true,
                Ok(None) => break,
                Err(_) => return None,
            }
        }
    }
    Some((data.freeze(), ended, buf.freeze()))
}
