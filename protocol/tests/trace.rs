//! A connection that is traced: what it tells is true, complete and readable.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Instant,
};

use pair::{Fate, Pair, Setup, transfer::pattern};
use rp_protocol::{
    config::TransportConfig,
    stats::PathStats,
    trace::{Event, Qlog, Start, TraceSink, Tracer, qlog::RECORD_SEPARATOR},
    units::CloseCode,
};
use serde_json::Value;

/// One connection's trace, in memory.
#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no test panics with the lock held")
            .write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Sink(Qlog<Written>);

impl TraceSink for Sink {
    fn record(&mut self, now: Instant, event: Event) {
        self.0.write(now, &event).expect("a trace is well formed");
    }
}

/// Writes the trace of one end's only connection.
#[derive(Debug, Default)]
struct Memory(Written);

impl Tracer for Memory {
    fn begin(&self, start: &Start) -> Option<Box<dyn TraceSink>> {
        Some(Box::new(Sink(
            Qlog::begin(self.0.clone(), start, "test", None).expect("a trace is well formed"),
        )))
    }
}

/// A record: name and data.
type Records = Vec<(String, Value)>;

/// Checks the frame of a trace: separators, a header, times that never go back.
fn parse(written: &Written) -> (Value, Records) {
    let bytes = written.0.lock().expect("no test panics with the lock held");
    assert_eq!(bytes.first(), Some(&RECORD_SEPARATOR));
    let mut records = bytes[1..].split(|&byte| byte == RECORD_SEPARATOR);
    let header: Value = serde_json::from_slice(records.next().expect("a trace is well formed"))
        .expect("a trace is well formed");
    let mut last = 0.0;
    let records = records.map(|record| {
        assert_eq!(record.last(), Some(&b'\n'));
        let mut record: Value = serde_json::from_slice(record).expect("a trace is well formed");
        let time = record["time"].as_f64().expect("a trace is well formed");
        assert!(time >= last, "{time} after {last}");
        last = time;
        let name = record["name"]
            .as_str()
            .expect("a trace is well formed")
            .to_owned();
        (name, record["data"].take())
    });
    (header, records.collect())
}

fn named<'a>(records: &'a Records, name: &str) -> impl Iterator<Item = &'a Value> {
    let name = name.to_owned();
    records
        .iter()
        .filter(move |record| record.0 == name)
        .map(|record| &record.1)
}

fn number(data: &Value) -> u64 {
    data["header"]["packet_number"]
        .as_u64()
        .expect("a trace is well formed")
}

fn length(data: &Value) -> u64 {
    data["raw"]["length"]
        .as_u64()
        .expect("a trace is well formed")
}

/// What client and server told of a transfer until its end, and what they had counted before they
/// closed.
struct Traced {
    client: Written,
    server: Written,
    sent: PathStats,
    received: PathStats,
}

fn transfer(script: pair::Script) -> Traced {
    let (client, server) = (Memory::default(), Memory::default());
    let (told_client, told_server) = (client.0.clone(), server.0.clone());
    let traced = |memory| TransportConfig::default().tracer(Some(Arc::new(memory)));
    let mut pair = Setup {
        client: traced(client),
        server: traced(server),
        ..Setup::default()
    }
    .build();
    pair.connect();
    pair.client.script = script;
    assert_eq!(pair.transfer(2_000_000), pattern(2_000_000));
    pair.run(std::time::Duration::from_secs(1));
    let path = |stats: rp_protocol::engine::Stats| stats.paths[0].clone();
    let (sent, received) = (path(pair.client().stats()), path(pair.server().stats()));
    let now = pair.now;
    pair.client()
        .close(now, CloseCode::from_u32(3), "secret words".into());
    pair.drive();
    Traced {
        client: told_client,
        server: told_server,
        sent,
        received,
    }
}

fn every_fiftieth() -> pair::Script {
    Box::new(|count, _| match count % 50 {
        17 => Fate::Drop,
        _ => Fate::Deliver,
    })
}

#[test]
fn bytes_told_as_sent_and_received_are_the_bytes_counted() {
    let traced = transfer(every_fiftieth());
    let (_, client) = parse(&traced.client);
    let sent: Vec<_> = named(&client, "quic:packet_sent").collect();
    assert_eq!(sent.len() as u64, traced.sent.sent_packets);
    let bytes: u64 = sent.iter().map(|data| length(data)).sum();
    assert_eq!(bytes, traced.sent.sent_bytes);
    let (_, server) = parse(&traced.server);
    let received: Vec<_> = named(&server, "quic:packet_received").collect();
    // The packet with CLOSE came when the counters had been read.
    let (_, counted) = received.split_last().unwrap();
    assert_eq!(counted.len() as u64, traced.received.received_packets);
    let bytes: u64 = counted.iter().map(|data| length(data)).sum();
    assert_eq!(bytes, traced.received.received_bytes);
}

#[test]
fn every_packet_told_as_lost_was_told_as_sent() {
    let traced = transfer(every_fiftieth());
    let (_, client) = parse(&traced.client);
    let sent: BTreeMap<u64, u64> = named(&client, "quic:packet_sent")
        .map(|data| (number(data), length(data)))
        .collect();
    let lost: Vec<_> = named(&client, "quic:packet_lost").collect();
    for data in &lost {
        assert_eq!(sent.get(&number(data)), Some(&length(data)), "{data}");
    }
    let counted = lost
        .iter()
        .filter(|data| data["is_mtu_probe_packet"].is_null());
    assert_eq!(counted.count() as u64, traced.sent.lost_packets);
    assert!(traced.sent.lost_packets > 10);
}

#[test]
fn packets_that_arrive_after_they_were_declared_lost_are_traced_as_spurious_losses() {
    let late = std::time::Duration::from_millis(400);
    let traced = transfer(Box::new(move |count, _| match count % 200 {
        50..60 => Fate::Delay(late),
        _ => Fate::Deliver,
    }));
    let (_, client) = parse(&traced.client);
    let lost: Vec<u64> = named(&client, "quic:packet_lost").map(number).collect();
    let spurious: Vec<u64> = named(&client, "rpp:spurious_loss").map(number).collect();
    assert_eq!(spurious.len() as u64, traced.sent.spurious_losses);
    assert!(!spurious.is_empty());
    assert!(spurious.iter().all(|number| lost.contains(number)));
}

#[test]
fn both_ends_name_the_connection_alike_and_tell_its_course() {
    let traced = transfer(every_fiftieth());
    let (client_header, client) = parse(&traced.client);
    let (server_header, server) = parse(&traced.server);
    let group = |header: &Value| header["trace"]["common_fields"]["group_id"].clone();
    assert_eq!(group(&client_header), group(&server_header));
    assert_eq!(client_header["trace"]["vantage_point"]["type"], "client");
    assert_eq!(server_header["trace"]["vantage_point"]["type"], "server");
    for records in [&client, &server] {
        for name in [
            "quic:connection_started",
            "quic:connection_state_updated",
            "quic:connection_closed",
        ] {
            assert_eq!(named(records, name).count(), 1, "{name}");
        }
    }
    let close = |records| named(records, "quic:connection_closed").next().cloned();
    assert_eq!(close(&client).unwrap()["initiator"], "local");
    let seen = close(&server).unwrap();
    assert_eq!(
        (&seen["initiator"], &seen["error_code"]),
        (&"remote".into(), &3.into())
    );
    let states: Vec<_> = named(&client, "quic:congestion_state_updated")
        .map(|data| data["new"].as_str().unwrap())
        .collect();
    assert_eq!(states.first(), Some(&"start"));
    assert!(named(&client, "rpp:controller_updated").count() > 3);
    let acked = named(&client, "quic:recovery_metrics_updated")
        .filter_map(|data| data["bytes_acked"].as_u64())
        .last();
    assert!(acked.unwrap() > 2_000_000, "{acked:?}");
    assert!(!String::from_utf8_lossy(&traced.server.0.lock().unwrap()).contains("secret"));
}

#[test]
fn a_tracer_that_declines_is_not_asked_again() {
    #[derive(Debug, Default)]
    struct Declines(Mutex<u32>);
    impl Tracer for Declines {
        fn begin(&self, _: &Start) -> Option<Box<dyn TraceSink>> {
            *self.0.lock().unwrap() += 1;
            None
        }
    }
    let tracer = Arc::new(Declines::default());
    let mut pair = Setup {
        client: TransportConfig::default().tracer(Some(tracer.clone())),
        ..Setup::default()
    }
    .build();
    pair.connect();
    assert_eq!(pair.transfer(100_000), pattern(100_000));
    assert_eq!(*tracer.0.lock().unwrap(), 1);
}

#[test]
fn being_traced_changes_nothing_that_is_sent() {
    let run = |tracer: Option<Arc<dyn Tracer>>| {
        let mut pair = Setup {
            client: TransportConfig::default().tracer(tracer),
            ..Setup::default()
        }
        .build();
        pair.client.captured = Some(Vec::new());
        pair.connect();
        pair.client.script = every_fiftieth();
        pair.transfer(500_000);
        let took: std::time::Duration = pair.now - pair.start;
        let sent = |pair: &mut Pair| pair.client.captured.take().unwrap();
        // Keys are new in every run, so only sizes can be compared.
        let sizes: Vec<usize> = sent(&mut pair).iter().map(Vec::len).collect();
        (took, sizes)
    };
    assert_eq!(run(None), run(Some(Arc::new(Memory::default()))));
}

//= spec/02-handshake.md#sealing
//= type=test
//# An endpoint MUST NOT seal two packets under the same key, path id and packet number.
#[test]
fn every_packet_has_a_number_above_those_before_it() {
    let traced = transfer(every_fiftieth());
    for written in [&traced.client, &traced.server] {
        let (_, records) = parse(written);
        let numbers: Vec<u64> = named(&records, "quic:packet_sent").map(number).collect();
        assert!(numbers.len() > 100);
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
