//! Requests and replies fed byte by byte.

use proptest::prelude::*;

use super::*;
use crate::target::Host;

fn request(text: &str) -> Request {
    Request::Connect(Target::parse(text, None).unwrap().into())
}

fn encoded(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut out);
    out
}

#[test]
fn request_is_complete_with_its_last_byte_and_not_before() {
    let connects = ["example.com:443", "192.0.2.1:1", "[2001:db8::1]:65535"].map(request);
    for request in connects.into_iter().chain([Request::Associate]) {
        let mut bytes = encoded(&request);
        assert!(bytes.len() <= MAX_REQUEST_BYTES);
        for cut in 0..bytes.len() {
            assert_eq!(
                Request::decode(&bytes[..cut]),
                Ok(None),
                "{request:?} cut at {cut}"
            );
        }
        let len = bytes.len();
        bytes.extend_from_slice(b"first data");
        assert_eq!(Request::decode(&bytes), Ok(Some((request, len))));
    }
}

/// One request of each kind beside those that dial a host.
fn others() -> [Request; 5] {
    let localhost = Host::parse("localhost").unwrap();
    [
        Request::Connect(Destination::Unix("/run/db.sock".parse().unwrap())),
        Request::Listen(ListenAt::Tcp(localhost, 0)),
        Request::Listen(ListenAt::Tcp(Host::parse("::").unwrap(), 8080)),
        Request::Listen(ListenAt::Unix("/run/x.sock".parse().unwrap())),
        Request::Bind(Target::parse("ftp.example:21", None).unwrap()),
    ]
}

#[test]
fn requests_to_listen_and_for_sockets_are_complete_with_their_last_byte_and_not_before() {
    for request in others() {
        let bytes = encoded(&request);
        assert!(bytes.len() <= MAX_REQUEST_BYTES);
        for cut in 0..bytes.len() {
            assert_eq!(Request::decode(&bytes[..cut]), Ok(None), "{request:?}");
        }
        assert_eq!(Request::decode(&bytes), Ok(Some((request, bytes.len()))));
    }
}

#[test]
fn only_what_a_command_is_about_can_stand_in_its_address() {
    let kind = |bytes: &[u8]| Request::decode(bytes).unwrap_err().kind;
    // A socket with a port, one beside the file system's root, and a socket that dials us.
    assert_eq!(kind(b"\x01\x02\x02/a\0\x50"), FailureKind::Malformed);
    assert_eq!(kind(b"\x01\x02\x01a"), FailureKind::Malformed);
    assert_eq!(kind(b"\x04\x02\x02/a\0\0"), FailureKind::AddressUnsupported);
    // Port 0 can be listened at, and not dialled.
    assert_eq!(kind(&[4, 1, 1, 2, 3, 4, 0, 0]), FailureKind::Malformed);
}

#[test]
fn an_arrival_is_complete_with_its_last_byte_and_not_before() {
    //= spec/10-proxy.md#listening
    //= type=test
    //# A client MUST ignore options of an arrival that it does not know.
    for peer in ["192.0.2.7:4242", "[2001:db8::7]:1", "0.0.0.0:0"] {
        let peer = peer.parse().unwrap();
        let arrival = Arrival {
            listener: 1 << 61,
            peer,
        };
        let mut bytes = Vec::new();
        arrival.encode(&mut bytes);
        bytes.pop();
        bytes.extend_from_slice(&[2, 9, 9]);
        assert!(bytes.len() <= MAX_ARRIVAL_BYTES);
        for cut in 0..bytes.len() {
            assert_eq!(Arrival::decode(&bytes[..cut]), Ok(None));
        }
        let len = bytes.len();
        bytes.push(b'x');
        assert_eq!(Arrival::decode(&bytes), Ok(Some((arrival, len))));
    }
    assert_eq!(Arrival::decode(&[2]), Err(BadReply));
}

#[test]
fn longest_name_fits() {
    let name = "a".repeat(255);
    let request = request(&format!("{name}:80"));
    let bytes = encoded(&request);
    assert_eq!(Request::decode(&bytes).unwrap().unwrap().0, request);
}

#[test]
fn unknown_options_are_ignored() {
    //= spec/10-proxy.md#request
    //= type=test
    //# An exit MUST ignore options it does not know.
    let request = request("a.example:80");
    let mut bytes = encoded(&request);
    bytes.pop();
    bytes.extend_from_slice(&[3, 9, 9, 9]);
    let len = bytes.len();
    assert_eq!(Request::decode(&bytes), Ok(Some((request, len))));
}

#[test]
fn unknown_commands_and_addresses_have_their_own_status() {
    //= spec/10-proxy.md#request
    //= type=test
    //# An exit MUST answer an address type it does not know with status 8.
    //= spec/10-proxy.md#request
    //= type=test
    //# An exit MUST answer a command it does not know with status 7.
    let kind = |bytes: &[u8]| Request::decode(bytes).unwrap_err().kind;
    assert_eq!(kind(&[200]), FailureKind::CommandUnsupported);
    assert_eq!(kind(&[0]), FailureKind::CommandUnsupported);
    assert_eq!(kind(&[1, 7]), FailureKind::AddressUnsupported);
    assert_eq!(kind(&[1, 3, 1, b' ']), FailureKind::Malformed);
    assert_eq!(kind(&[1, 3, 0]), FailureKind::Malformed);
    assert_eq!(kind(&[1, 1, 1, 2, 3, 4, 0, 0]), FailureKind::Malformed);
}

#[test]
fn reply_is_complete_with_its_last_byte_and_not_before() {
    let replies = [
        Ok("192.0.2.7:4242".parse().unwrap()),
        Ok("[2001:db8::7]:1".parse().unwrap()),
        Err(DialFailure::new(FailureKind::Refused)),
        Err(DialFailure::because(FailureKind::Denied, "loopback")),
    ];
    for reply in replies {
        let mut bytes = Vec::new();
        encode_reply(&reply, &mut bytes);
        assert!(bytes.len() <= MAX_REPLY_BYTES);
        for cut in 0..bytes.len() {
            assert_eq!(decode_reply(&bytes[..cut]), Ok(None));
        }
        let len = bytes.len();
        bytes.push(b'x');
        assert_eq!(decode_reply(&bytes), Ok(Some((reply, len))));
    }
}

#[test]
fn a_reasons_control_bytes_never_reach_a_terminal() {
    //= spec/10-proxy.md#reply
    //= type=test
    //# A client MUST NOT show a reason's bytes outside printable ASCII.
    let bytes = [5, 4, 0x1b, b'[', 0xff, b'm'];
    let (reply, _) = decode_reply(&bytes).unwrap().unwrap();
    assert_eq!(reply.unwrap_err().reason, "?[?m");
}

#[test]
fn every_failure_kind_survives_the_wire() {
    //= spec/10-proxy.md#reply
    //= type=test
    //# A client MUST treat a status it does not know as status 1.
    for code in 1..=11 {
        assert_eq!(FailureKind::from_wire(code).into_wire(), code);
    }
    assert_eq!(FailureKind::from_wire(200), FailureKind::General);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(Some((request, len))) = Request::decode(&bytes) {
            prop_assert!(len <= MAX_REQUEST_BYTES);
            let again = encoded(&request);
            prop_assert_eq!(Request::decode(&again).unwrap().unwrap().0, request);
        }
        if let Ok(Some((arrival, len))) = Arrival::decode(&bytes) {
            prop_assert!(len <= MAX_ARRIVAL_BYTES);
            let mut again = Vec::new();
            arrival.encode(&mut again);
            prop_assert_eq!(Arrival::decode(&again).unwrap().unwrap().0, arrival);
        }
        if let Ok(Some((_, len))) = decode_reply(&bytes) {
            prop_assert!(len <= MAX_REPLY_BYTES);
        }
    }
}
