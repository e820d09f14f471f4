//! Heads, whole and byte by byte, and against `httparse` as the reference.

use proptest::prelude::*;

use super::*;

/// What `take` says of `bytes` in one piece; byte by byte it must say the same.
fn both_ways<T, F>(bytes: &[u8], take: F) -> Result<Option<T>, BadHead>
where
    T: PartialEq + std::fmt::Debug,
    F: Fn(&mut BytesMut, &mut HeadEnd) -> Result<Option<T>, BadHead>,
{
    let whole = take(&mut BytesMut::from(bytes), &mut HeadEnd::default());
    let mut buf = BytesMut::new();
    let mut end = HeadEnd::default();
    for byte in bytes {
        buf.extend_from_slice(&[*byte]);
        match take(&mut buf, &mut end) {
            Ok(None) => {}
            early => {
                // What is refused early may be refused for a later reason as a whole.
                assert_eq!(early.is_ok(), whole.is_ok(), "{early:?} {whole:?}");
                if early.is_ok() {
                    assert_eq!(early, whole);
                }
                return whole;
            }
        }
    }
    assert_eq!(whole, Ok(None));
    whole
}

fn request(bytes: &[u8]) -> Result<RequestHead, BadHead> {
    both_ways(bytes, RequestHead::take).map(|head| head.expect("a whole head"))
}

fn response(bytes: &[u8]) -> Result<ResponseHead, BadHead> {
    both_ways(bytes, ResponseHead::take).map(|head| head.expect("a whole head"))
}

fn response_fields(lines: &[u8]) -> Vec<(String, String)> {
    let head = [b"HTTP/1.1 200 OK\r\n", lines, b"\r\n"].concat();
    pairs(&response(&head).unwrap().fields)
}

fn request_with(lines: &[u8]) -> Result<Vec<(String, String)>, BadHead> {
    let head = [b"GET http://a/ HTTP/1.1\r\n", lines, b"\r\n"].concat();
    request(&head).map(|head| pairs(&head.fields))
}

fn pairs(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect();
    fields
        .iter()
        .map(|field| (text(&field.name), text(&field.value)))
        .collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_request_is_kept_as_it_came() {
    let head =
        request(b"\r\n\nget http://A.example/%41?x=\xff HTTP/1.0\r\nX-a:  b  c\t\r\nx-A:\r\n\r\n");
    let head = head.unwrap();
    assert_eq!(head.method, "get");
    assert_eq!(head.target, &b"http://A.example/%41?x=\xff"[..]);
    assert_eq!(head.version, Minor(0));
    assert_eq!(pairs(&head.fields), [pair("X-a", "b  c"), pair("x-A", "")]);
}

#[test]
fn every_printable_byte_of_a_target_passes() {
    for byte in (0x21..=0x7e).chain(0x80..=0xff) {
        let head = [b"GET http://a/?".as_slice(), &[byte], b" HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(request(&head).unwrap().target.last(), Some(&byte));
    }
}

#[test]
fn blanks_and_controls_in_a_target_are_refused() {
    for byte in (0..=0x20).chain([0x7f]) {
        let head = [b"GET http://a/?".as_slice(), &[byte], b"x HTTP/1.1\r\n\r\n"].concat();
        assert!(request(&head).is_err(), "{byte:#x}");
    }
}

#[test]
fn every_minor_version_is_taken_and_no_other_major() {
    let version = |version: &str| {
        request(format!("GET http://a/ {version}\r\n\r\n").as_bytes()).map(|head| head.version)
    };
    for minor in 0..=9 {
        assert_eq!(version(&format!("HTTP/1.{minor}")), Ok(Minor(minor)));
    }
    for major in ["HTTP/0.9", "HTTP/2.0", "HTTP/3.0"] {
        assert_eq!(version(major), Err(BadHead::Version));
    }
    for other in [
        "HTTP/1.10",
        "HTTP/1",
        "http/1.1",
        "HTTP/1.x",
        "",
        "HTTPS/1.1",
    ] {
        assert_eq!(version(other), Err(BadHead::RequestLine), "{other}");
    }
}

#[test]
fn what_two_readers_may_disagree_about_is_refused_in_requests() {
    let cases: [(&[u8], BadHead); 13] = [
        (b"X : y\r\n", BadHead::BlankBeforeColon),
        (b"X\t: y\r\n", BadHead::BlankBeforeColon),
        (b" X: y\r\n", BadHead::BlankBeforeFirst),
        (b"X: y\r\n z\r\n", BadHead::Folded),
        (b"X: y\r\n\tz\r\n", BadHead::Folded),
        (b"X: y\rZ: 1\r\n", BadHead::BareCr),
        (b"X: y\r\r\n", BadHead::BareCr),
        (b"X: y\0\r\n", BadHead::Value),
        (b"X: \x0bchunked\r\n", BadHead::Value),
        (b": y\r\n", BadHead::Name),
        (b"X\r\n", BadHead::Name),
        (b"X Y: z\r\n", BadHead::Name),
        (b"X\xe9: z\r\n", BadHead::Name),
    ];
    for (lines, bad) in cases {
        let after = [b"A: b\r\n".as_slice(), lines].concat();
        let after = if bad == BadHead::BlankBeforeFirst {
            lines
        } else {
            &after
        };
        assert_eq!(request_with(after), Err(bad), "{lines:?}");
    }
}

#[test]
fn bare_line_feeds_end_lines() {
    assert_eq!(
        request(b"GET http://a/ HTTP/1.1\nA: b\nC: d\r\n\n").map(|head| pairs(&head.fields)),
        Ok(vec![pair("A", "b"), pair("C", "d")])
    );
    let head = response(b"HTTP/1.1 200 OK\nA: b\n\n").unwrap();
    assert_eq!(pairs(&head.fields), [pair("A", "b")]);
}

#[test]
fn what_clients_bear_is_repaired_in_responses() {
    type Case = (&'static [u8], &'static [(&'static str, &'static str)]);
    let cases: [Case; 15] = [
        (b"X-Foo : bar\r\n", &[("X-Foo", "bar")]),
        (b"X-Foo \t : bar\r\n", &[("X-Foo", "bar")]),
        (b"X: a\r\n b\r\n\tc\r\n", &[("X", "a b c")]),
        (b"X:\r\n b\r\n", &[("X", "b")]),
        (b"X: a\r\n \r\nY: b\r\n", &[("X", "a"), ("Y", "b")]),
        (b" X: a\r\n Y: b\r\nZ: c\r\n", &[("Z", "c")]),
        (b": nameless\r\nX: a\r\n", &[("X", "a")]),
        (b"no colon\r\nX: a\r\n", &[("X", "a")]),
        (b"no colon\r\n fold of it\r\nX: a\r\n", &[("X", "a")]),
        (b"b a d: 1\r\n fold of it\r\nX: a\r\n", &[("X", "a")]),
        (b"X: a\rb\0c\r\n", &[("X", "a b c")]),
        (b"X: a\r\r\nY: b\r\r\n", &[("X", "a"), ("Y", "b")]),
        (b"X: \x80\xe9\xff\r\n", &[("X", "\u{80}\u{e9}\u{ff}")]),
        (b"X: a\x01\x7fb\r\n", &[("X", "a\u{1}\u{7f}b")]),
        (b"X: a\nY: b\n", &[("X", "a"), ("Y", "b")]),
    ];
    for (lines, fields) in cases {
        let fields: Vec<_> = fields.iter().map(|(n, v)| pair(n, v)).collect();
        assert_eq!(response_fields(lines), fields, "{lines:?}");
    }
}

#[test]
fn status_lines_may_be_sloppy() {
    type Case = (&'static [u8], (u8, u16, &'static [u8]));
    let line = |line: &[u8]| {
        let head = [line, b"\r\n\r\n"].concat();
        response(&head).map(|head| (head.version.0, head.status, head.reason.to_vec()))
    };
    let cases: [Case; 9] = [
        (b"HTTP/1.1 200 OK", (1, 200, b"OK")),
        (b"HTTP/1.0 404 Not  Found ", (0, 404, b"Not  Found")),
        (b"HTTP/1.1 200 ", (1, 200, b"")),
        (b"HTTP/1.1 200", (1, 200, b"")),
        (b"HTTP/1.1  200  Fine", (1, 200, b"Fine")),
        (b"HTTP/1.7 299 \xe9\xff", (7, 299, b"\xe9\xff")),
        (b"http/1.1 999 x", (1, 999, b"x")),
        (b"ICY 200 OK", (0, 200, b"OK")),
        (b"\r\nHTTP/1.1 103 a\0b\rc", (1, 103, b"a b c")),
    ];
    for (bytes, (version, status, reason)) in cases {
        assert_eq!(
            line(bytes),
            Ok((version, status, reason.to_vec())),
            "{bytes:?}"
        );
    }
    let nonsense: [&[u8]; 9] = [
        b"SSH-2.0-OpenSSH_9.9",
        b"220 mail.example ESMTP",
        b"<html>",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.1 2x0 OK",
    ];
    for bytes in nonsense {
        assert_eq!(line(bytes), Err(BadHead::StatusLine), "{bytes:?}");
    }
}

#[test]
fn nonsense_is_refused_before_its_head_is_whole() {
    let mut buf = BytesMut::from(&b"EHLO client.example\r\n"[..]);
    let taken = RequestHead::take(&mut buf, &mut HeadEnd::default());
    assert_eq!(taken, Err(BadHead::RequestLine));
    let mut buf = BytesMut::from(&b"SSH"[..]);
    let taken = ResponseHead::take(&mut buf, &mut HeadEnd::default());
    assert_eq!(taken, Err(BadHead::StatusLine));
}

#[test]
fn heads_have_limits() {
    let take = |bytes: &[u8]| {
        RequestHead::take(&mut BytesMut::from(bytes), &mut HeadEnd::default()).map(|_| ())
    };
    let long = "x".repeat(MAX_REQUEST_HEAD);
    assert_eq!(
        take(format!("GET http://a/{long}").as_bytes()),
        Err(BadHead::TargetTooLong)
    );
    let whole = format!("GET http://a/{long} HTTP/1.1\r\n\r\n");
    assert_eq!(take(whole.as_bytes()), Err(BadHead::TargetTooLong));
    let field = format!("GET http://a/ HTTP/1.1\r\nX: {long}");
    assert_eq!(take(field.as_bytes()), Err(BadHead::TooLarge));
    assert_eq!(
        take(format!("{field}\r\n\r\n").as_bytes()),
        Err(BadHead::TooLarge)
    );
    let head = |lines: usize| {
        let lines = "X: y\r\n".repeat(lines);
        format!("GET http://a/ HTTP/1.1\r\n{lines}\r\n")
    };
    assert_eq!(take(head(MAX_REQUEST_FIELDS).as_bytes()), Ok(()));
    assert_eq!(
        take(head(MAX_REQUEST_FIELDS + 1).as_bytes()),
        Err(BadHead::TooLarge)
    );

    let lines = "X: y\r\n".repeat(MAX_RESPONSE_FIELDS + 1);
    let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
    let taken = ResponseHead::take(
        &mut BytesMut::from(head.as_bytes()),
        &mut HeadEnd::default(),
    );
    assert_eq!(taken, Err(BadHead::TooLarge));
    let endless = vec![b'x'; MAX_RESPONSE_HEAD + 1];
    let head = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &endless].concat();
    let taken = ResponseHead::take(&mut BytesMut::from(&head[..]), &mut HeadEnd::default());
    assert_eq!(taken, Err(BadHead::TooLarge));
}

#[test]
fn what_follows_a_head_stays() {
    let mut buf = BytesMut::from(&b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n\r\nbody"[..]);
    RequestHead::take(&mut buf, &mut HeadEnd::default())
        .unwrap()
        .unwrap();
    assert_eq!(buf, &b"\r\nbody"[..]);
}

/// Pieces of heads, put together at random: near the grammar and beyond it.
fn scraps() -> impl Strategy<Value = Vec<u8>> {
    const SCRAPS: [&[u8]; 20] = [
        b"GET",
        b" ",
        b"http://a/",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"200",
        b"OK",
        b"\r\n",
        b"\n",
        b"\r",
        b":",
        b"Host",
        b"a",
        b"\t",
        b"\0",
        b"\xff",
        b"Transfer-Encoding",
        b"chunked",
        b"5",
        b",",
    ];
    let scrap = proptest::sample::select(&SCRAPS[..]);
    proptest::collection::vec(scrap, 0..24).prop_map(|scraps| scraps.concat())
}

fn with_start(start: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), scraps()).prop_map(move |(starts, scraps)| {
        let start = if starts { start } else { b"" };
        [start, &scraps].concat()
    })
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        request in with_start(b"GET http://a/ HTTP/1.1\r\n"),
        response in with_start(b"HTTP/1.1 200 OK\r\n"),
    ) {
        let _ = both_ways(&request, RequestHead::take);
        let _ = both_ways(&response, ResponseHead::take);
    }

    #[test]
    fn fields_never_hold_what_splits_a_message(
        lines in scraps(),
    ) {
        for reading in [Reading::Strict, Reading::Tolerant] {
            let Ok(fields) = fields(&Bytes::from(lines.clone()), reading) else { continue };
            for field in fields.iter() {
                prop_assert!(is_token(&field.name));
                prop_assert!(!field.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
                prop_assert_eq!(trim_blanks(&field.value), &field.value[..]);
            }
        }
    }

    #[test]
    fn requests_we_take_are_read_alike_by_the_reference(
        bytes in with_start(b"GET http://a/ HTTP/1.1\r\n"),
    ) {
        let ours = RequestHead::take(&mut BytesMut::from(&bytes[..]), &mut HeadEnd::default());
        let Ok(Some(ours)) = ours else { return Ok(()) };
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let mut reference = httparse::Request::new(&mut slots);
        prop_assert!(reference.parse(&bytes).is_ok_and(|status| status.is_complete()));
        prop_assert_eq!(reference.method.map(str::as_bytes), Some(&ours.method[..]));
        let fields: Vec<_> = ours.fields.iter().map(|f| (&f.name[..], &f.value[..])).collect();
        let theirs: Vec<_> = reference.headers.iter().map(|h| (h.name.as_bytes(), h.value)).collect();
        prop_assert_eq!(fields, theirs);
    }

    #[test]
    fn responses_the_reference_takes_are_read_alike(
        bytes in with_start(b"HTTP/1.1 200 OK\r\n"),
    ) {
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let mut reference = httparse::Response::new(&mut slots);
        if !reference.parse(&bytes).is_ok_and(|status| status.is_complete()) {
            return Ok(());
        }
        let ours = ResponseHead::take(&mut BytesMut::from(&bytes[..]), &mut HeadEnd::default());
        let ours = ours.unwrap().expect("a whole head");
        prop_assert_eq!(reference.code, Some(ours.status));
        let fields: Vec<_> = ours.fields.iter().map(|f| (&f.name[..], &f.value[..])).collect();
        let theirs: Vec<_> = reference.headers.iter().map(|h| (h.name.as_bytes(), h.value)).collect();
        prop_assert_eq!(fields, theirs);
    }
}
