//! What the fuzz test runs: each function takes any bytes, must not panic and checks what must hold whatever they
//! are. `cli/tests/fuzz` feeds them.
//!
//! Public, because an integration test is another crate; not part of the API. It is no feature of the crate, as that
//! would have everything built twice for the tests; a program that does not call it has nothing of it.

use bytes::{Bytes, BytesMut};

use crate::{
    datagram::Datagram,
    exit::{ListenRule, TargetPattern, policy::Rule},
    open::{Arrival, Request, decode_reply, encode_reply},
    ports::PortSet,
    socket_path::SocketPath,
    target::{Host, Target},
};

pub use crate::front::fuzz::{ftp_fetch, ftp_follower, http, pac, socks};

/// The messages of client and exit: what decodes means the same when it is encoded, and nothing shorter decodes.
pub fn wire(data: &[u8]) {
    if let Ok(Some((request, len))) = Request::decode(data) {
        let mut out = Vec::new();
        request.encode(&mut out);
        assert_eq!(Request::decode(&out), Ok(Some((request, out.len()))));
        is_incomplete(data, len, |cut| matches!(Request::decode(cut), Ok(None)));
    }
    if let Ok(Some((reply, len))) = decode_reply(data) {
        let mut out = Vec::new();
        encode_reply(&reply, &mut out);
        assert_eq!(decode_reply(&out), Ok(Some((reply, out.len()))));
        is_incomplete(data, len, |cut| matches!(decode_reply(cut), Ok(None)));
    }
    if let Ok(Some((arrival, len))) = Arrival::decode(data) {
        let mut out = Vec::new();
        arrival.encode(&mut out);
        assert_eq!(Arrival::decode(&out), Ok(Some((arrival, out.len()))));
        is_incomplete(data, len, |cut| matches!(Arrival::decode(cut), Ok(None)));
    }
    let frame = Bytes::copy_from_slice(data);
    if let Ok((association, datagram)) = Datagram::decode_frame(&frame) {
        let again = Datagram::decode_frame(&datagram.encode_frame(association));
        assert_eq!(again, Ok((association, datagram)));
    }
    let mut stream = BytesMut::from(data);
    while let Ok(Some(datagram)) = Datagram::take_from_stream(&mut stream) {
        let mut again = BytesMut::from(&datagram.encode_in_stream()[..]);
        assert_eq!(Datagram::take_from_stream(&mut again), Ok(Some(datagram)));
        assert!(again.is_empty());
    }
}

/// What a person types: what is understood means the same when it is printed.
pub fn text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(rule) = text.parse::<Rule>() {
        assert_eq!(rule.to_string().parse(), Ok(rule));
    }
    if let Ok(rule) = text.parse::<ListenRule>() {
        assert_eq!(rule.to_string().parse(), Ok(rule));
    }
    if let Ok(path) = text.parse::<SocketPath>() {
        assert_eq!(path.to_string(), text);
    }
    if let Ok(host) = Host::parse(text) {
        assert_eq!(Host::parse(&host.to_string()), Ok(host));
    }
    if let Ok(target) = Target::parse(text, Some(80)) {
        assert_eq!(Target::parse(&target.to_string(), None), Ok(target));
    }
    let _ = text.parse::<TargetPattern>();
    let _ = text.parse::<PortSet>();
}

/// Checks that no prefix of the first `len` bytes of `data` is complete.
fn is_incomplete(data: &[u8], len: usize, is_incomplete: impl Fn(&[u8]) -> bool) {
    assert!(len <= data.len());
    for cut in 0..len {
        assert!(is_incomplete(&data[..cut]), "{cut} of {len} bytes");
    }
}
