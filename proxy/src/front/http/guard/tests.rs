//! The scanner, fed whole and byte by byte.

use proptest::prelude::*;

use super::*;

/// What the scanner says of `bytes` in one piece; byte by byte it must say the same.
fn scan(bytes: &[u8]) -> Option<u64> {
    let whole = Scan::default().push(bytes);
    let mut scan = Scan::default();
    let pieces = bytes.iter().find_map(|b| scan.push(&[*b]));
    assert_eq!(whole, pieces);
    whole
}

const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
const SIZED: &str = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab\r\n\r";
const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
                       5;ext=1\r\nContent-Length: 9\r\n\r\n";

#[test]
fn a_conflict_is_found_in_either_order_and_case() {
    assert_eq!(scan(BOTH.as_bytes()), Some(0));
    let swapped = "\r\nPOST / HTTP/1.1\ntransfer-encoding:chunked\nCONTENT-LENGTH:3\n\n";
    assert_eq!(scan(swapped.as_bytes()), Some(0));
}

#[test]
fn either_header_alone_is_fine() {
    assert_eq!(scan(SIZED.as_bytes()), None);
    assert_eq!(
        scan(b"GET / HTTP/1.1\r\nContent-Length-X: 1\r\nX: transfer-encoding: a\r\n\r\n"),
        None
    );
}

#[test]
fn a_conflict_behind_a_sized_body_is_found() {
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{SIZED}{BOTH}");
    assert_eq!(scan(bytes.as_bytes()), Some(2));
}

#[test]
fn a_conflict_behind_a_chunked_body_with_trailers_is_found() {
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;ext=1\r\nhello\r\nA\r\n0123456789\r\n0\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(scan(format!("{chunked}{BOTH}").as_bytes()), Some(1));
}

#[test]
fn bytes_inside_bodies_are_not_heads() {
    assert_eq!(scan(CHUNKED.as_bytes()), None);
    let body = format!(
        "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{BOTH}",
        BOTH.len()
    );
    assert_eq!(scan(body.as_bytes()), None);
}

#[test]
fn absurd_lengths_end_the_scan() {
    assert_eq!(
        scan(format!("POST / HTTP/1.1\r\nContent-Length: 1a\r\n\r\n{BOTH}").as_bytes()),
        None
    );
    let huge = format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n{BOTH}",
        "f".repeat(17)
    );
    assert_eq!(scan(huge.as_bytes()), None);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        scan(&bytes);
    }
}
