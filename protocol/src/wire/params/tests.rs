//! Tests of `TransportParameters`.

use proptest::prelude::*;

use super::{MAX_STREAMS, TransportParameters, id};
use crate::{
    error::TransportCode,
    testing::proptest_config,
    units::{MAX_VARINT, Side},
    wire::{id::ConnectionId, varint},
};

fn entry(id: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    super::put(&mut out, id, value);
    out
}

fn number(id: u64, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::put(&mut bytes, value);
    entry(id, &bytes)
}

fn assert_refused(bytes: &[u8], sender: Side) {
    let error = TransportParameters::decode(bytes, sender).expect_err("must be refused");
    assert_eq!(error.code, TransportCode::TRANSPORT_PARAMETER_ERROR);
}

#[test]
fn defaults_take_no_bytes() {
    let mut out = Vec::new();
    TransportParameters::default().encode(&mut out);
    assert!(out.is_empty());
    assert_eq!(
        TransportParameters::decode(&[], Side::Client),
        Ok(TransportParameters::default())
    );
}

#[test]
fn unknown_parameters_are_ignored_even_twice() {
    //= spec/01-packet.md#transport-parameters
    //= type=test
    //# A receiver MUST ignore a parameter whose id it does not know.
    let bytes = [
        entry(0x1234, b"??"),
        entry(0x1234, b""),
        number(id::MAX_PATHS, 4),
    ]
    .concat();
    let parameters = TransportParameters::decode(&bytes, Side::Client).unwrap();
    assert_eq!(parameters.max_paths, 4);
}

#[test]
fn a_parameter_given_twice_is_refused() {
    //= spec/01-packet.md#transport-parameters
    //= type=test
    //# A receiver MUST refuse a known parameter that appears twice.
    let bytes = [number(id::MAX_PATHS, 4), number(id::MAX_PATHS, 4)].concat();
    assert_refused(&bytes, Side::Client);
}

#[test]
fn values_out_of_range_or_of_wrong_length_are_refused() {
    //= spec/01-packet.md#transport-parameters
    //= type=test
    //# A receiver MUST refuse a parameter whose value is out of range or of the wrong
    //# length.
    for bytes in [
        number(id::MAX_UDP_PAYLOAD, 1199),
        number(id::INITIAL_MAX_STREAMS_BI, MAX_STREAMS + 1),
        number(id::INITIAL_MAX_STREAMS_UNI, MAX_STREAMS + 1),
        number(id::MAX_PATHS, 0),
        number(id::MAX_PATHS, 1 << 32),
        entry(id::IDLE_TIMEOUT, &[]),
        entry(id::IDLE_TIMEOUT, &[1, 1]),
        entry(id::INITIAL_SOURCE_ID, &[0; 7]),
        entry(id::STATELESS_RESET_TOKEN, &[0; 17]),
    ] {
        assert_refused(&bytes, Side::Server);
    }
}

#[test]
fn a_client_may_not_send_what_is_the_servers() {
    //= spec/01-packet.md#transport-parameters
    //= type=test
    //# A server MUST refuse original_destination_id, retry_source_id and stateless_reset_token from a
    //# client.
    for bytes in [
        entry(id::ORIGINAL_DESTINATION_ID, &[1; 8]),
        entry(id::RETRY_SOURCE_ID, &[1; 8]),
        entry(id::STATELESS_RESET_TOKEN, &[1; 16]),
    ] {
        assert!(TransportParameters::decode(&bytes, Side::Server).is_ok());
        assert_refused(&bytes, Side::Client);
    }
}

fn any_parameters() -> impl Strategy<Value = TransportParameters> {
    let number = || 0..=MAX_VARINT;
    let cid = || prop::option::of(any::<[u8; 8]>().prop_map(ConnectionId::new));
    let limits = (number(), 1200..=MAX_VARINT, number(), number(), number());
    let counts = (0..=MAX_STREAMS, 0..=MAX_STREAMS, 1..=u64::from(u32::MAX));
    let ids = (cid(), cid(), cid(), prop::option::of(any::<[u8; 16]>()));
    (limits, counts, ids).prop_map(|(limits, counts, ids)| TransportParameters {
        idle_timeout_ms: limits.0,
        max_udp_payload: limits.1,
        initial_max_data: limits.2,
        initial_max_stream_data: limits.3,
        max_datagram: limits.4,
        initial_max_streams_bi: counts.0,
        initial_max_streams_uni: counts.1,
        max_paths: counts.2,
        initial_source_id: ids.0,
        original_destination_id: ids.1,
        retry_source_id: ids.2,
        stateless_reset_token: ids.3,
    })
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn what_is_written_is_read(parameters in any_parameters()) {
        let mut out = Vec::new();
        parameters.encode(&mut out);
        prop_assert_eq!(TransportParameters::decode(&out, Side::Server), Ok(parameters));
    }

    #[test]
    fn a_list_cut_inside_an_entry_is_refused(parameters in any_parameters()) {
        let mut out = Vec::new();
        parameters.encode(&mut out);
        for len in 0..out.len() {
            // A cut between entries leaves a shorter list, which says something else.
            if let Ok(cut) = TransportParameters::decode(&out[..len], Side::Server) {
                prop_assert_ne!(&cut, &parameters);
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_survive_a_round_trip(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        if let Ok(parameters) = TransportParameters::decode(&bytes, Side::Server) {
            let mut out = Vec::new();
            parameters.encode(&mut out);
            prop_assert_eq!(TransportParameters::decode(&out, Side::Server), Ok(parameters));
        }
    }
}
