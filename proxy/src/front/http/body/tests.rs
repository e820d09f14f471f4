//! Bodies, whole and byte by byte.

use proptest::prelude::*;

use super::*;

/// The data, whether the end was reached and with which trailers, and what was left.
type Decoded = Result<(Vec<u8>, Option<Vec<(String, String)>>, Vec<u8>), BadBody>;

fn decode_pieces<'a>(
    framing: Framing,
    reading: Reading,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Decoded {
    let mut decoder = Decoder::new(framing, reading);
    let (mut data, mut end, mut buf) = (Vec::new(), None, BytesMut::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        while let Some(piece) = decoder.next(&mut buf)? {
            match piece {
                Piece::Data(piece) => data.extend_from_slice(&piece),
                Piece::End(trailers) => {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let pairs = trailers.iter().map(|f| (text(&f.name), text(&f.value)));
                    end = Some(pairs.collect());
                }
            }
        }
    }
    Ok((data, end, buf.to_vec()))
}

/// What `bytes` decode to in one piece; byte by byte they must decode to the same.
fn decode(framing: Framing, reading: Reading, bytes: &[u8]) -> Decoded {
    let whole = decode_pieces(framing, reading, std::iter::once(bytes));
    assert_eq!(decode_pieces(framing, reading, bytes.chunks(1)), whole);
    whole
}

fn strict(bytes: &[u8]) -> Decoded {
    decode(Framing::Chunked, Reading::Strict, bytes)
}

fn tolerant(bytes: &[u8]) -> Decoded {
    decode(Framing::Chunked, Reading::Tolerant, bytes)
}

fn whole(data: &[u8], rest: &[u8]) -> Decoded {
    Ok((data.to_vec(), Some(Vec::new()), rest.to_vec()))
}

#[test]
fn a_sized_body_ends_at_its_size() {
    assert_eq!(
        decode(Framing::Sized(5), Reading::Strict, b"hellomore"),
        whole(b"hello", b"more")
    );
    assert_eq!(
        decode(Framing::Sized(0), Reading::Strict, b"more"),
        whole(b"", b"more")
    );
    assert_eq!(
        decode(Framing::None, Reading::Strict, b"more"),
        whole(b"", b"more")
    );
}

#[test]
fn chunks_end_with_their_trailers() {
    assert_eq!(
        strict(b"5\r\nhello\r\n0\r\n\r\nmore"),
        whole(b"hello", b"more")
    );
    assert_eq!(strict(b"05\r\nhello\r\n000\r\n\r\n"), whole(b"hello", b""));
    let trailers = vec![
        ("A".to_owned(), "b".to_owned()),
        ("C".to_owned(), String::new()),
    ];
    assert_eq!(
        strict(b"A\r\n0123456789\r\n0\r\nA: b\r\nC:\r\n\r\nmore"),
        Ok((b"0123456789".to_vec(), Some(trailers), b"more".to_vec()))
    );
}

#[test]
fn chunk_extensions_are_ignored() {
    let body = b"5;a=1;b=\"x y\" ; c\r\nhello\r\n1 \t;x\r\n!\r\n0;last\r\n\r\n";
    assert_eq!(strict(body), whole(b"hello!", b""));
    let long = format!("1;{}\r\nx\r\n", "x".repeat(MAX_CHUNK_LINE));
    assert_eq!(strict(long.as_bytes()), Err(BadBody::ChunkSize));
}

#[test]
fn requests_with_doubtful_chunks_are_refused() {
    let cases: [(&[u8], BadBody); 14] = [
        (b"5\nhello\r\n0\r\n\r\n", BadBody::ChunkSize),
        (b"5;a\nb\r\nhello\r\n", BadBody::ChunkSize),
        (b"5;a\rb\r\nhello\r\n", BadBody::ChunkSize),
        (b"5 \r\nhello\r\n", BadBody::ChunkSize),
        (b" 5\r\nhello\r\n", BadBody::ChunkSize),
        (b"0x5\r\nhello\r\n", BadBody::ChunkSize),
        (b"-1\r\nhello\r\n", BadBody::ChunkSize),
        (b"+5\r\nhello\r\n", BadBody::ChunkSize),
        (b"\r\nhello\r\n", BadBody::ChunkSize),
        (b"5_0\r\nhello\r\n", BadBody::ChunkSize),
        (b"5\r\nhello!\r\n", BadBody::ChunkEnd),
        (b"5\r\nhello\n0\r\n\r\n", BadBody::ChunkEnd),
        (b"ffffffffffffffff1\r\n", BadBody::ChunkOverflow),
        (
            b"0\r\nA : b\r\n\r\n",
            BadBody::Trailers(BadHead::BlankBeforeColon),
        ),
    ];
    for (bytes, bad) in cases {
        assert_eq!(strict(bytes), Err(bad), "{bytes:?}");
    }
}

#[test]
fn the_largest_chunk_size_does_not_overflow() {
    let (data, end, _) = strict(b"ffffffffffffffff\r\nhello").unwrap();
    assert_eq!((data.as_slice(), end), (&b"hello"[..], None));
}

#[test]
fn sloppy_chunks_of_origins_pass() {
    for body in [
        &b"5 \r\nhello\r\n0 \r\n\r\n"[..],
        b"5\nhello\n0\n\n",
        b"5\r\nhello\n0\r\n\n",
    ] {
        assert_eq!(tolerant(body), whole(b"hello", b""), "{body:?}");
    }
    assert_eq!(tolerant(b"x\r\n"), Err(BadBody::ChunkSize));
    assert_eq!(tolerant(b"5\r\nhello!\r\n"), Err(BadBody::ChunkEnd));
}

#[test]
fn trailers_have_a_limit() {
    let body = format!("0\r\nX: {}\r\n\r\n", "x".repeat(MAX_TRAILERS));
    assert_eq!(
        strict(body.as_bytes()),
        Err(BadBody::Trailers(BadHead::TooLarge))
    );
}

#[test]
fn only_a_body_without_an_end_of_its_own_ends_with_the_connection() {
    let mut decoder = Decoder::new(Framing::UntilClose, Reading::Tolerant);
    let mut buf = BytesMut::from(&b"hello"[..]);
    assert_eq!(
        decoder.next(&mut buf),
        Ok(Some(Piece::Data("hello".into())))
    );
    assert_eq!(decoder.on_close(), Ok(Piece::End(Fields::default())));
    for framing in [Framing::Sized(1), Framing::Chunked] {
        let mut decoder = Decoder::new(framing, Reading::Tolerant);
        assert_eq!(decoder.on_close(), Err(BadBody::CutShort));
    }
}

proptest! {
    #[test]
    fn chunks_we_write_are_read_back(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
    ) {
        let mut body = Vec::new();
        for part in &parts {
            let mut framed = chunk(part.clone().into());
            body.extend_from_slice(&framed.copy_to_bytes(framed.remaining()));
        }
        body.extend_from_slice(&last_chunk(&Fields::default()));
        prop_assert_eq!(strict(&body), whole(&parts.concat(), b""));
    }

    #[test]
    fn pieces_do_not_matter(
        bytes in proptest::collection::vec(proptest::sample::select(&b"05af;\r\n :x"[..]), 0..40),
    ) {
        let _ = strict(&bytes);
        let _ = tolerant(&bytes);
    }
}
