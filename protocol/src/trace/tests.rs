//! Tests of how events are written, one by one; whole connections are traced in `tests/trace.rs`.

use std::time::{Duration, Instant, SystemTime};

use super::{Close, Event, LossTrigger, Metrics, Qlog, Start, qlog::RECORD_SEPARATOR};
use crate::{
    error::ConnectionError,
    units::{Bandwidth, CloseCode, Side},
    wire::id::ConnectionId,
};

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time has to begin somewhere"
)]
fn start() -> Start {
    Start {
        now: Instant::now(),
        side: Side::Client,
        remote: "192.0.2.1:7377".parse().unwrap(),
        connection: ConnectionId::new([0xab; 8]),
    }
}

/// The records after header and start, without their separators.
fn records(events: &[Event]) -> Vec<String> {
    let start = start();
    let mut qlog = Qlog::begin(Vec::new(), &start, "test", None).unwrap();
    for event in events {
        qlog.write(start.now + Duration::from_micros(1500), event)
            .unwrap();
    }
    let bytes = qlog.into_inner();
    let mut records = bytes.split(|&byte| byte == RECORD_SEPARATOR);
    assert_eq!(records.next(), Some(&[][..]), "a separator comes first");
    records
        .map(|record| {
            let text = String::from_utf8(record.to_vec()).unwrap();
            serde_json::from_str::<serde_json::Value>(&text)
                .unwrap_or_else(|error| panic!("{error}: {text}"));
            text.trim_end().to_owned()
        })
        .skip(2)
        .collect()
}

#[test]
fn a_lost_packet_is_written_with_number_size_and_cause() {
    let lost = |trigger| Event::PacketLost {
        number: 7,
        bytes: 1452,
        is_mtu_probe: false,
        trigger,
    };
    let records = records(&[lost(LossTrigger::Time), lost(LossTrigger::Nak)]);
    assert_eq!(
        records[0],
        r#"{"time":1.500,"name":"quic:packet_lost","data":{"header":{"packet_type":"1RTT","packet_number":7},"raw":{"length":1452},"trigger":"time_threshold"}}"#
    );
    assert!(records[1].contains(r#""trigger":"nak""#));
}

#[test]
fn metrics_are_written_where_they_changed() {
    let first = Metrics {
        smoothed_rtt: Duration::from_millis(200),
        window: 10_000,
        pacing_rate: Bandwidth::MAX,
        ..Metrics::default()
    };
    let second = Metrics {
        window: 20_000,
        ..first
    };
    let events = [first, second, second].map(Event::Metrics);
    let records = records(&events);
    assert_eq!(records.len(), 2);
    assert!(records[0].contains(r#""smoothed_rtt":200.000"#));
    assert!(records[0].contains(r#""pacing_rate":9007199254740991"#));
    assert_eq!(
        records[1],
        r#"{"time":1.500,"name":"quic:recovery_metrics_updated","data":{"congestion_window":20000}}"#
    );
}

#[test]
fn estimates_that_are_no_numbers_leave_the_record_readable() {
    let records = records(&[Event::Controller {
        delivery_rate: Bandwidth::from_bits_per_second(8000),
        queue_delay: Duration::from_millis(2),
        random_loss: f64::NAN,
        estimates: Box::new([("capacity_mbps", f64::INFINITY), ("share", 0.5)]),
    }]);
    assert_eq!(
        records[0],
        r#"{"time":1.500,"name":"rpp:controller_updated","data":{"delivery_rate":8000,"queue_delay":2.000,"random_loss":0.00000,"capacity_mbps":0.000,"share":0.500}}"#
    );
}

#[test]
fn the_peers_words_are_not_written() {
    let error = ConnectionError::PeerClosed {
        code: CloseCode::from_u32(5),
        reason: bytes::Bytes::from_static(b"\"}secret"),
    };
    let records = records(&[Event::Closed(Close::from(&error))]);
    assert_eq!(
        records[0],
        r#"{"time":1.500,"name":"quic:connection_closed","data":{"initiator":"remote","trigger":"application","application_error":"unknown","error_code":5}}"#
    );
}

#[test]
fn a_programs_name_cannot_break_the_header() {
    let start = start();
    let qlog = Qlog::begin(Vec::new(), &start, "a\"b\\c\nd", None).unwrap();
    let bytes = qlog.into_inner();
    let header = bytes.split(|&byte| byte == RECORD_SEPARATOR).nth(1);
    let header: serde_json::Value = serde_json::from_slice(header.unwrap()).unwrap();
    assert_eq!(header["trace"]["vantage_point"]["name"], "abcd");
}

#[test]
fn the_wall_clock_is_written_as_a_date() {
    for (seconds, date) in [
        (0, "1970-01-01T00:00:00.250Z"),
        (951_782_399, "2000-02-28T23:59:59.250Z"),
        (951_782_400, "2000-02-29T00:00:00.250Z"),
        (1_735_689_599, "2024-12-31T23:59:59.250Z"),
        (4_107_542_400, "2100-03-01T00:00:00.250Z"),
    ] {
        let began = SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 250);
        let qlog = Qlog::begin(Vec::new(), &start(), "test", Some(began)).unwrap();
        let text = String::from_utf8(qlog.into_inner()).unwrap();
        assert!(
            text.contains(&format!(r#""wall_clock_time":"{date}""#)),
            "{text}"
        );
    }
}
