//! The SOCKS4 parser, fed byte by byte.

use proptest::prelude::*;

use super::*;

fn incremental(bytes: &[u8], expected: &str) {
    for cut in 0..bytes.len() {
        assert_eq!(parse_request(&bytes[..cut]), Ok(None), "cut at {cut}");
    }
    let target = Target::parse(expected, None).unwrap();
    let expected = match bytes[1] {
        1 => Request::Connect(target),
        _ => Request::Bind(target),
    };
    assert_eq!(
        parse_request(&[bytes, b"pipelined"].concat()),
        Ok(Some((expected, bytes.len())))
    );
}

#[test]
fn addresses_and_names_in_pieces() {
    incremental(b"\x04\x01\x00\x50\xc0\x00\x02\x01\x00", "192.0.2.1:80");
    incremental(b"\x04\x01\x00\x50\xc0\x00\x02\x01alice\x00", "192.0.2.1:80");
    incremental(b"\x04\x02\x00\x15\xc0\x00\x02\x01\x00", "192.0.2.1:21");
    incremental(
        b"\x04\x01\x01\xbb\x00\x00\x00\x07alice\x00a.example\x00",
        "a.example:443",
    );
}

#[test]
fn zero_address_is_an_address_and_not_a_name() {
    incremental(b"\x04\x01\x00\x50\x00\x00\x00\x00\x00", "0.0.0.0:80");
}

#[test]
fn what_cannot_be_served_is_rejected() {
    for bytes in [
        &b"\x04\x03\x00\x50\xc0\x00\x02\x01\x00"[..],
        b"\x04\x01\x00\x00\xc0\x00\x02\x01\x00",
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x00bad name\x00",
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00",
    ] {
        assert_eq!(parse_request(bytes), Err(Rejected));
    }
}

#[test]
fn a_reply_to_bind_has_the_address_and_one_that_does_not_fit_is_rejected() {
    let addr = |text: &str| Ok(text.parse().unwrap());
    assert_eq!(
        bind_reply(addr("192.0.2.1:258")),
        [0, GRANTED, 1, 2, 192, 0, 2, 1]
    );
    assert_eq!(bind_reply(addr("[::1]:1")), reply(REJECTED));
}

#[test]
fn endless_fields_are_rejected() {
    let user = [&b"\x04\x01\x00\x50\xc0\x00\x02\x01"[..], &[b'a'; 256]].concat();
    assert_eq!(parse_request(&user), Err(Rejected));
    let name = [&b"\x04\x01\x00\x50\x00\x00\x00\x01\x00"[..], &[b'a'; 256]].concat();
    assert_eq!(parse_request(&name), Err(Rejected));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(Some((_, len))) = parse_request(&bytes) {
            prop_assert!(len <= bytes.len());
        }
    }
}
