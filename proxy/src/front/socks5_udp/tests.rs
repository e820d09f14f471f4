//! The datagrams' parser and whose datagrams are a client's.

use proptest::prelude::*;

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Every prefix of a head is malformed; the whole names `target`.
fn whole(head: &[u8], target: &str) {
    for cut in 0..head.len() {
        assert_eq!(parse_datagram(&head[..cut]), Err(Unfit::Malformed), "{cut}");
    }
    let target = Target::parse(target, None).unwrap();
    for payload in [&b""[..], b"payload"] {
        let parsed = parse_datagram(&[head, payload].concat());
        assert_eq!(parsed, Ok((target.clone(), head.len())));
    }
}

#[test]
fn datagrams_name_targets_by_address_and_by_name() {
    whole(&[0, 0, 0, 1, 192, 0, 2, 1, 0, 53], "192.0.2.1:53");
    let mut v6 = vec![0, 0, 0, 4];
    v6.extend([0; 15]);
    v6.extend([1, 0, 53]);
    whole(&v6, "[::1]:53");
    whole(b"\0\0\0\x03\x09a.example\x00\x35", "a.example:53");
}

#[test]
fn fragments_and_datagrams_for_nobody_are_dropped() {
    //= spec/10-proxy.md#socks5-udp
    //= type=test
    //# A front end MUST discard a datagram of a SOCKS5 client whose FRAG is not 0.
    for fragment in [1, 0x7f, 0x80, 0xff] {
        let datagram = [0, 0, fragment, 1, 192, 0, 2, 1, 0, 53, b'x'];
        assert_eq!(parse_datagram(&datagram), Err(Unfit::Fragment));
    }
    for datagram in [
        &[0, 0, 0, 1, 192, 0, 2, 1, 0, 0, b'x'][..],
        &[0, 0, 0, 2, 192, 0, 2, 1, 0, 53],
        &[0, 0, 0, 3, 0, 0, 53],
        b"\0\0\0\x03\x03a b\x00\x35",
    ] {
        assert_eq!(parse_datagram(datagram), Err(Unfit::Malformed));
    }
}

#[test]
fn what_is_sent_to_a_client_reads_back() {
    for sender in ["192.0.2.1:53", "[2001:db8::1]:65535"] {
        let bytes = encode_datagram(addr(sender), b"answer");
        let (target, head) = parse_datagram(&bytes).unwrap();
        assert_eq!(target.to_string(), sender);
        assert_eq!(&bytes[head..], b"answer");
        assert!(head <= MAX_HEAD_BYTES);
    }
}

#[test]
fn datagrams_are_taken_from_the_client_only() {
    //= spec/10-proxy.md#socks5-udp
    //= type=test
    //# A front end MUST discard datagrams to an association's port that do not come from the IP address of
    //# the client's TCP connection.
    //= spec/10-proxy.md#socks5-udp
    //= type=test
    //# A front end MUST discard those from another port than the first datagram, or than the client has
    //# named in its request together with the IP address it is seen to have.
    let tcp = addr("192.0.2.1:4000");
    for expected in [
        "0.0.0.0:0",
        "0.0.0.0:53",
        "10.0.0.9:53",
        "192.0.2.1:0",
        "[::]:0",
    ] {
        let mut source = Source::new(tcp, addr(expected));
        assert_eq!(source.address(), None, "{expected}");
        assert!(!source.admits(addr("192.0.2.2:7")), "{expected}");
        assert!(source.admits(addr("192.0.2.1:7")), "{expected}");
        assert!(!source.admits(addr("192.0.2.1:8")), "{expected}");
        assert!(source.admits(addr("192.0.2.1:7")), "{expected}");
        assert_eq!(source.address(), Some(addr("192.0.2.1:7")), "{expected}");
    }
    let mut source = Source::new(tcp, addr("192.0.2.1:53"));
    assert!(!source.admits(addr("192.0.2.1:7")));
    assert!(source.admits(addr("192.0.2.1:53")));
    let mut mapped = Source::new(tcp, addr("[::ffff:192.0.2.1]:53"));
    assert!(!mapped.admits(addr("192.0.2.1:7")) && mapped.admits(addr("192.0.2.1:53")));
}

proptest! {
    #[test]
    fn arbitrary_datagrams_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok((_, head)) = parse_datagram(&bytes) {
            prop_assert!(head <= bytes.len());
        }
    }
}
