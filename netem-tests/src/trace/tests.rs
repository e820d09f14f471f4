//! Tests of reading and drawing, most of them on a transfer that is traced in virtual time.

use std::{path::Path, sync::Arc, time::Duration};

use rp_protocol::{
    config::TransportConfig, stats::PathStats, trace::qlog::RECORD_SEPARATOR, units::Bandwidth,
};

use super::{Recorder, plot, read::Trace};
use crate::{link::LinkConfig, loss::Loss, world::World};

/// Traces 3 MB over 20 Mbit/s, 40 ms and 2 % loss, seed 7; also what the sender counted.
fn transfer(path: &Path) -> PathStats {
    let rate = Bandwidth::from_bits_per_second(20_000_000);
    let link = LinkConfig::new(rate, Duration::from_millis(20)).loss(Loss::bernoulli(0.02));
    let mut world = World::new(link.clone(), link, 7);
    let recorder = Arc::new(Recorder::new(path).unwrap());
    let transport = TransportConfig::default().tracer(Some(recorder.clone()));
    let pair = world.add_transfer(3_000_000, transport).unwrap();
    world.run(Duration::from_secs(30), |world| {
        world.completed_after(pair).is_some()
    });
    assert!(world.completed_after(pair).is_some(), "seed 7");
    let stats = world.sender_stats(pair).unwrap().paths[0].clone();
    drop(world);
    assert!(!recorder.finish().unwrap().is_empty());
    stats
}

#[test]
fn a_trace_read_back_is_what_was_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.sqlog");
    let stats = transfer(&path);
    let trace = Trace::load(&path).unwrap();
    assert_eq!(trace.side, "client");
    assert!(trace.is_sender());
    // What held only reports and got lost is counted, and not drawn.
    let lost = trace.lost.len() as u64;
    assert!((stats.lost_packets - 2..=stats.lost_packets).contains(&lost));
    assert_eq!(trace.spurious.len() as u64, stats.spurious_losses);
    assert!(trace.sent.len() as u64 <= stats.sent_packets);
    let sent: f64 = trace.sent.iter().map(|(_, bytes)| bytes).sum();
    assert!(sent <= stats.sent_bytes as f64 && sent > 3e6);
    assert_eq!(trace.states[0].1, "start");
    let (_, smallest) = trace.min_rtt.last().unwrap();
    assert!((40.0..41.5).contains(smallest), "{smallest} ms");
    for name in [
        "delivery_rate",
        "queue_delay",
        "random_loss",
        "queue_target_ms",
    ] {
        assert!(trace.estimates[name].len() > 5, "{name}");
    }
}

#[test]
fn the_same_seed_is_traced_and_drawn_alike() {
    let folder = tempfile::tempdir().unwrap();
    let both: Vec<_> = ["a", "b"]
        .iter()
        .map(|name| {
            let path = folder.path().join(name);
            transfer(&path);
            let drawn = plot::svg(&Trace::load(&path).unwrap(), 0.0..1e9).unwrap();
            (std::fs::read(path).unwrap(), drawn)
        })
        .collect();
    assert!(both[0] == both[1], "two runs of seed 7 differ");
}

#[test]
fn a_picture_names_what_it_shows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.sqlog");
    transfer(&path);
    let svg = plot::svg(&Trace::load(&path).unwrap(), 0.0..f64::INFINITY).unwrap();
    assert!(svg.starts_with("<svg"));
    for text in [
        "pacing rate",
        "acknowledged",
        "smallest",
        "in flight",
        "believed no congestion",
        "queue target",
        "start",
        "Mbit/s",
    ] {
        assert!(svg.contains(text), "{text} is missing");
    }
    assert!(svg.len() < 300_000, "{} bytes", svg.len());
}

#[test]
fn a_folder_gets_both_ends_of_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("both/");
    transfer(&path);
    let mut sides: Vec<_> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| Trace::load(&entry.unwrap().path()).unwrap())
        .map(|trace| (trace.side.clone(), trace.is_sender()))
        .collect();
    sides.sort();
    let expected = [("client", true), ("server", false)];
    assert_eq!(
        sides,
        expected.map(|(side, sends)| (side.to_owned(), sends))
    );
    // The receiver's view can be drawn as well.
    for entry in std::fs::read_dir(&path).unwrap() {
        let trace = Trace::load(&entry.unwrap().path()).unwrap();
        plot::svg(&trace, 0.0..1e9).unwrap();
    }
}

const HEADER: &str = r#"{"title":"x","trace":{"vantage_point":{"type":"client"}}}"#;

fn text(records: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        bytes.push(RECORD_SEPARATOR);
        bytes.extend_from_slice(record.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

#[test]
fn what_a_killed_program_left_unfinished_is_no_error() {
    let sent = r#"{"time":1,"name":"quic:packet_sent","data":{"raw":{"length":9}}}"#;
    let mut bytes = text(&[HEADER, sent, sent]);
    bytes.truncate(bytes.len() - 20);
    let trace = Trace::parse(&bytes).unwrap();
    assert_eq!(trace.sent, [(0.001, 9.0)]);
}

#[test]
fn a_broken_record_is_named_by_its_number() {
    let sent = r#"{"time":1,"name":"quic:packet_sent","data":{}}"#;
    let error = Trace::parse(&text(&[HEADER, sent, "{\"time\":", sent])).unwrap_err();
    assert!(error.to_string().starts_with("record 3:"), "{error}");
    let error = Trace::parse(b"{\"qlog_version\":\"0.3\"}").unwrap_err();
    assert!(error.to_string().contains("JSON text sequences"), "{error}");
    assert!(Trace::parse(b"").is_err());
}

#[test]
fn a_span_without_events_is_an_error_and_not_an_empty_picture() {
    let trace = Trace::parse(&text(&[HEADER])).unwrap();
    assert!(plot::svg(&trace, 0.0..10.0).is_err());
}
