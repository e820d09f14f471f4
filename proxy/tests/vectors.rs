//! The requests and replies of `spec/vectors/proxy.json` in both directions.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

use bytes::{Bytes, BytesMut};
use rp_proxy::{
    datagram::Datagram,
    error::{DialFailure, FailureKind},
    open::{Arrival, Options, Request, decode_reply, encode_reply},
    target::{Destination, Host, ListenAt, Target},
};
use serde_json::Value;

fn vectors(list: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/vectors/proxy.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let list = file[list].as_array().expect(list).clone();
    assert!(!list.is_empty());
    list
}

fn hex(case: &Value) -> Vec<u8> {
    bytes(&case["hex"])
}

fn bytes(digits: &Value) -> Vec<u8> {
    let digits = digits.as_str().unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn is_canonical(case: &Value) -> bool {
    case["canonical"] != Value::Bool(false)
}

fn status(case: &Value) -> FailureKind {
    FailureKind::from_wire(case["status"].as_u64().unwrap().try_into().unwrap())
}

/// What `case` names, by its command.
fn request(case: &Value) -> Request {
    if case["command"] == 3 {
        return Request::Associate;
    }
    let text = case["target"].as_str().unwrap();
    let path = text.strip_prefix("unix:").map(|path| path.parse().unwrap());
    let target = || Target::parse(text, None).unwrap();
    match (case["command"].as_u64().unwrap_or(1), path) {
        (1, Some(path)) => Request::Connect(Destination::Unix(path)),
        (1, None) => Request::Connect(target().into()),
        (2, Some(path)) => Request::Listen(ListenAt::Unix(path)),
        (command @ (2 | 5), None) => {
            let (host, port) = text.rsplit_once(':').unwrap();
            let (host, port) = (Host::parse(host).unwrap(), port.parse().unwrap());
            match command {
                2 => Request::Listen(ListenAt::Tcp(host, port)),
                _ => Request::ListenDatagrams(host, port),
            }
        }
        _ => Request::Bind(target()),
    }
}

#[test]
fn arrivals_are_those_of_the_vectors() {
    for case in vectors("arrivals") {
        let bytes = hex(&case);
        let arrival = Arrival {
            listener: case["listener"].as_u64().unwrap(),
            peer: case["peer"].as_str().unwrap().parse().unwrap(),
        };
        assert_eq!(Arrival::decode(&bytes), Ok(Some((arrival, bytes.len()))));
        if is_canonical(&case) {
            let mut out = Vec::new();
            arrival.encode(&mut out);
            assert_eq!(out, bytes, "{case}");
        }
    }
}

//= spec/10-proxy.md#request
//= type=test
//# An exit MUST ignore an option whose value is malformed.
#[test]
fn requests_are_those_of_the_vectors() {
    for case in vectors("requests") {
        let bytes = hex(&case);
        let request = request(&case);
        let source = case["source"].as_str().map(|text| text.parse().unwrap());
        let options = Options { source };
        let decoded = Request::decode_with_options(&bytes);
        let expected = (request.clone(), options, bytes.len());
        assert_eq!(decoded, Ok(Some(expected)), "{case}");
        if is_canonical(&case) {
            let mut out = Vec::new();
            request.encode_with(options, &mut out);
            assert_eq!(out, bytes, "{case}");
        }
    }
}

#[test]
fn requests_the_vectors_refuse_are_refused_with_their_status() {
    for case in vectors("refused_requests") {
        let refusal = Request::decode(&hex(&case)).expect_err("a request that is refused");
        assert_eq!(refusal.kind, status(&case), "{case}");
    }
}

#[test]
fn replies_are_those_of_the_vectors() {
    for case in vectors("replies") {
        let bytes = hex(&case);
        let reply = match case["bound"].as_str() {
            Some(bound) => Ok(bound.parse().unwrap()),
            None => {
                let reason = case["reason"].as_str().unwrap();
                Err(DialFailure::because(status(&case), reason))
            }
        };
        let decoded = decode_reply(&bytes);
        assert_eq!(decoded, Ok(Some((reply.clone(), bytes.len()))), "{case}");
        if is_canonical(&case) {
            let mut out = Vec::new();
            encode_reply(&reply, &mut out);
            assert_eq!(out, bytes, "{case}");
        }
    }
}

#[test]
fn datagrams_are_those_of_the_vectors() {
    for case in vectors("datagrams") {
        let datagram = Datagram {
            address: Target::parse(case["address"].as_str().unwrap(), None).unwrap(),
            payload: bytes(&case["payload"]).into(),
        };
        let association = case["association"].as_u64().unwrap();
        let (frame, stream) = (bytes(&case["frame"]), bytes(&case["stream"]));
        let decoded = Datagram::decode_frame(&frame.clone().into());
        assert_eq!(decoded, Ok((association, datagram.clone())), "{case}");
        let mut read = BytesMut::from(&stream[..]);
        let taken = Datagram::take_from_stream(&mut read);
        assert_eq!(taken, Ok(Some(datagram.clone())), "{case}");
        assert!(read.is_empty(), "{case}");
        if is_canonical(&case) {
            assert_eq!(datagram.encode_frame(association), frame, "{case}");
            assert_eq!(datagram.encode_in_stream(), stream, "{case}");
        }
    }
}

#[test]
fn datagrams_the_vectors_refuse_are_refused() {
    for case in vectors("malformed_datagrams") {
        let frame = Bytes::from(bytes(&case["frame"]));
        Datagram::decode_frame(&frame).expect_err("a malformed frame");
        if case["stream"].is_string() {
            let mut read = BytesMut::from(&bytes(&case["stream"])[..]);
            Datagram::take_from_stream(&mut read).expect_err("a malformed stream");
        }
    }
}
