//! The SOCKS5 parsers, fed byte by byte.

use std::fmt::Debug;

use proptest::prelude::*;

use super::*;

/// Feeds `bytes` one more at a time: nothing before the last, then the value and the full length,
/// and the same with pipelined data behind.
fn incremental<T: PartialEq + Debug>(
    parse: impl Fn(&[u8]) -> Parsed<T, Invalid>,
    bytes: &[u8],
    expected: T,
) {
    for cut in 0..bytes.len() {
        assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
    }
    assert_eq!(
        parse(&[bytes, b"pipelined"].concat()),
        Ok(Some((expected, bytes.len())))
    );
}

impl Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}:{:?}", self.user, self.password)
    }
}

fn target(text: &str) -> Target {
    Target::parse(text, None).unwrap()
}

#[test]
fn greeting_in_pieces() {
    let greeting = |none, password| Greeting { none, password };
    incremental(parse_greeting, &[5, 1, 0], greeting(true, false));
    incremental(parse_greeting, &[5, 2, 0, 2], greeting(true, true));
    incremental(parse_greeting, &[5, 0], greeting(false, false));
    let mut all = vec![5, 255];
    all.extend(0..255);
    incremental(parse_greeting, &all, greeting(true, true));
    assert_eq!(parse_greeting(&[4, 1]), Err(Invalid::Close));
}

#[test]
fn login_in_pieces() {
    let login = |user: &[u8], password: &[u8]| Login {
        user: user.to_vec(),
        password: password.to_vec(),
    };
    incremental(
        parse_login,
        b"\x01\x05alice\x06secret",
        login(b"alice", b"secret"),
    );
    incremental(parse_login, b"\x01\x00\x00", login(b"", b""));
    assert_eq!(parse_login(&[5]), Err(Invalid::Close));
}

#[test]
fn request_in_pieces() {
    incremental(
        parse_request,
        &[5, 1, 0, 1, 192, 0, 2, 1, 0x01, 0xbb],
        Request::Connect(target("192.0.2.1:443")),
    );
    let mut v6 = vec![5, 1, 0, 4];
    v6.extend([0; 15]);
    v6.extend([1, 0, 80]);
    incremental(parse_request, &v6, Request::Connect(target("[::1]:80")));
    incremental(
        parse_request,
        b"\x05\x01\x00\x03\x09a.example\x00\x50",
        Request::Connect(target("a.example:80")),
    );
}

#[test]
fn a_client_may_ask_to_exchange_datagrams_and_say_from_where() {
    let associate = |address: &str| Request::Associate(address.parse().unwrap());
    let unknown = [5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
    incremental(parse_request, &unknown, associate("0.0.0.0:0"));
    let known = [5, 3, 0, 1, 192, 0, 2, 1, 1, 2];
    incremental(parse_request, &known, associate("192.0.2.1:258"));
    let mut v6 = vec![5, 3, 0, 4];
    v6.extend([0; 18]);
    incremental(parse_request, &v6, associate("[::]:0"));
    // A name says nothing of use, and does not hurt.
    let name = b"\x05\x03\x00\x03\x02me\x00\x50";
    incremental(parse_request, name, associate("0.0.0.0:80"));
}

#[test]
fn bind_names_whom_it_waits_for() {
    incremental(
        parse_request,
        &[5, 2, 0, 1, 192, 0, 2, 1, 0, 21],
        Request::Bind(Target::parse("192.0.2.1:21", None).unwrap()),
    );
}

#[test]
fn names_of_255_bytes_are_taken() {
    let name = "a".repeat(255);
    let bytes = [b"\x05\x01\x00\x03\xff", name.as_bytes(), b"\x00\x50"].concat();
    let request = Request::Connect(target(&format!("{name}:80")));
    incremental(parse_request, &bytes, request);
}

#[test]
fn requests_we_cannot_serve_have_their_own_code() {
    let refused = |bytes: &[u8]| parse_request(bytes).unwrap_err();
    let unknown = [5, 9, 0, 1, 192, 0, 2, 1, 0, 80];
    assert_eq!(refused(&unknown), Invalid::Reply(7));
    assert_eq!(refused(&[5, 1, 0, 2]), Invalid::Reply(8));
    assert_eq!(refused(&[5, 1, 0, 3, 0, 0, 80]), Invalid::Reply(1));
    assert_eq!(
        refused(b"\x05\x01\x00\x03\x03a b\x00\x50"),
        Invalid::Reply(1)
    );
    assert_eq!(
        refused(&[5, 1, 0, 1, 192, 0, 2, 1, 0, 0]),
        Invalid::Reply(1)
    );
    assert_eq!(refused(&[4]), Invalid::Close);
}

#[test]
fn reply_names_the_bound_address() {
    assert_eq!(
        reply(0, Some("192.0.2.1:258".parse().unwrap())),
        [5, 0, 0, 1, 192, 0, 2, 1, 1, 2]
    );
    assert_eq!(reply(5, None), [5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(reply(0, Some("[::1]:1".parse().unwrap())).len(), 22);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for len in [
            parse_greeting(&bytes).ok().flatten().map(|(_, len)| len),
            parse_login(&bytes).ok().flatten().map(|(_, len)| len),
            parse_request(&bytes).ok().flatten().map(|(_, len)| len),
        ].into_iter().flatten() {
            prop_assert!(len <= bytes.len());
        }
    }
}
