//! What ends a body, for every combination of fields that origins and attackers send.

use bytes::BytesMut;

use super::{super::head::HeadEnd, *};

fn request(version: &str, lines: &str) -> Result<Framing, BadFraming> {
    let head = format!("POST http://a/ {version}\r\n{lines}\r\n");
    let mut buf = BytesMut::from(head.as_bytes());
    of_request(
        &RequestHead::take(&mut buf, &mut HeadEnd::default())
            .unwrap()
            .unwrap(),
    )
}

fn response_head(start: &str, lines: &str) -> ResponseHead {
    let head = format!("{start}\r\n{lines}\r\n");
    let mut buf = BytesMut::from(head.as_bytes());
    ResponseHead::take(&mut buf, &mut HeadEnd::default())
        .unwrap()
        .unwrap()
}

fn response(lines: &str) -> Result<Framing, BadFraming> {
    of_response(&response_head("HTTP/1.1 200 OK", lines), false)
}

#[test]
fn requests_are_framed_by_one_field() {
    let cases = [
        ("", Ok(Framing::None)),
        ("Content-Length: 5\r\n", Ok(Framing::Sized(5))),
        ("Content-Length: 0\r\n", Ok(Framing::Sized(0))),
        ("Content-Length: 5, 5\r\n", Ok(Framing::Sized(5))),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Ok(Framing::Sized(5)),
        ),
        (
            "Content-Length: 18446744073709551615\r\n",
            Ok(Framing::Sized(u64::MAX)),
        ),
        ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
        ("Transfer-Encoding: , chunked ,\r\n", Ok(Framing::Chunked)),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            Err(BadFraming::Length),
        ),
        ("Content-Length: 5, 6\r\n", Err(BadFraming::Length)),
        ("Content-Length: 5,\r\n", Err(BadFraming::Length)),
        ("Content-Length:\r\n", Err(BadFraming::Length)),
        ("Content-Length: +5\r\n", Err(BadFraming::Length)),
        ("Content-Length: -5\r\n", Err(BadFraming::Length)),
        ("Content-Length: 0x5\r\n", Err(BadFraming::Length)),
        ("Content-Length: 5 5\r\n", Err(BadFraming::Length)),
        (
            "Content-Length: 18446744073709551616\r\n",
            Err(BadFraming::Length),
        ),
    ];
    for (lines, framing) in cases {
        assert_eq!(request("HTTP/1.1", lines), framing, "{lines}");
    }
}

#[test]
fn requests_with_doubtful_codings_are_refused() {
    let cases = [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Err(BadFraming::Both),
        ),
        (
            "Transfer-Encoding: x\r\nContent-Length: 5\r\n",
            Err(BadFraming::Both),
        ),
        (
            "Transfer-Encoding: gzip\r\n",
            Err(BadFraming::NotChunkedLast),
        ),
        (
            "Transfer-Encoding: chunked, gzip\r\n",
            Err(BadFraming::NotChunkedLast),
        ),
        (
            "Transfer-Encoding: identity\r\n",
            Err(BadFraming::NotChunkedLast),
        ),
        (
            "Transfer-Encoding: xchunked\r\n",
            Err(BadFraming::NotChunkedLast),
        ),
        (
            "Transfer-Encoding: chunked;q=1\r\n",
            Err(BadFraming::NotChunkedLast),
        ),
        (
            "Transfer-Encoding: \"chunked\"\r\n",
            Err(BadFraming::NotChunkedLast),
        ),
        ("Transfer-Encoding:\r\n", Err(BadFraming::NotChunkedLast)),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            Err(BadFraming::NotChunkedLast),
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Err(BadFraming::UnknownCoding),
        ),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            Err(BadFraming::UnknownCoding),
        ),
    ];
    for (lines, framing) in cases {
        assert_eq!(request("HTTP/1.1", lines), framing, "{lines}");
    }
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(request("HTTP/1.0", chunked), Err(BadFraming::OldVersion));
    assert_eq!(request("HTTP/1.2", chunked), Ok(Framing::Chunked));
}

#[test]
fn responses_are_framed_as_clients_do() {
    let cases = [
        ("", Ok(Framing::UntilClose)),
        ("Content-Length: 5\r\n", Ok(Framing::Sized(5))),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Ok(Framing::Sized(5)),
        ),
        ("Content-Length : 5\r\n", Ok(Framing::Sized(5))),
        ("Transfer-Encoding : chunked\r\n", Ok(Framing::Chunked)),
        ("Transfer-Encoding:\r\n chunked\r\n", Ok(Framing::Chunked)),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Ok(Framing::Chunked),
        ),
        (
            "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
            Ok(Framing::Chunked),
        ),
        (
            "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            Ok(Framing::Sized(5)),
        ),
        ("Transfer-Encoding:\r\n", Ok(Framing::UntilClose)),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            Err(BadFraming::Length),
        ),
        ("Content-Length: five\r\n", Err(BadFraming::Length)),
        ("Content-Length:\r\n", Err(BadFraming::Length)),
        (
            "Transfer-Encoding: gzip\r\n",
            Err(BadFraming::UnknownCoding),
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Err(BadFraming::UnknownCoding),
        ),
        (
            "Transfer-Encoding: chunked, gzip\r\n",
            Err(BadFraming::UnknownCoding),
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            Err(BadFraming::UnknownCoding),
        ),
    ];
    for (lines, framing) in cases {
        assert_eq!(response(lines), framing, "{lines}");
    }
}

#[test]
fn some_responses_never_have_a_body() {
    let lines = "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n";
    for status in [100, 103, 204, 304] {
        let head = response_head(&format!("HTTP/1.1 {status} x"), lines);
        assert_eq!(of_response(&head, false), Ok(Framing::None), "{status}");
    }
    let head = response_head("HTTP/1.1 200 OK", lines);
    assert_eq!(of_response(&head, true), Ok(Framing::None));
}

#[test]
fn only_an_undoubted_end_keeps_the_connection() {
    let keeps = |start, lines| {
        let head = response_head(start, lines);
        keeps_connection(&head, of_response(&head, false).unwrap())
    };
    assert!(keeps("HTTP/1.1 200 OK", "Content-Length: 5\r\n"));
    assert!(keeps("HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n"));
    assert!(keeps(
        "HTTP/1.0 200 OK",
        "Content-Length: 5\r\nConnection: keep-alive\r\n"
    ));
    assert!(!keeps("HTTP/1.0 200 OK", "Content-Length: 5\r\n"));
    assert!(!keeps(
        "HTTP/1.1 200 OK",
        "Content-Length: 5\r\nConnection: x, Close\r\n"
    ));
    assert!(!keeps("HTTP/1.1 200 OK", ""));
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    assert!(!keeps("HTTP/1.1 200 OK", both));
    let old = "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n";
    assert!(!keeps("HTTP/1.0 200 OK", old));
}
