//! Tests of where traces go, and of disks that do not take them.

use std::{net::SocketAddr, time::Instant};

use rp_protocol::{
    trace::{Close, Event},
    units::Side,
    wire::id::ConnectionId,
};

use super::*;

fn start(number: u8) -> Start {
    Start {
        now: Instant::now(),
        side: Side::Server,
        remote: SocketAddr::from(([192, 0, 2, 1], 7377)),
        connection: ConnectionId::new([number; 8]),
    }
}

fn sent(number: u64) -> Event {
    Event::PacketSent {
        number,
        bytes: 1200,
        in_flight: true,
        is_mtu_probe: false,
    }
}

/// A connection that comes up, sends `packets` and ends.
fn live(files: &TraceFiles, number: u8, packets: u64) {
    let start = start(number);
    let mut sink = files.tracer().begin(&start).unwrap();
    sink.record(start.now, Event::Established);
    for packet in 0..packets {
        sink.record(start.now, sent(packet));
    }
    sink.record(
        start.now,
        Event::Closed(Close {
            trigger: "application",
            is_remote: false,
            transport_code: None,
            application_code: None,
        }),
    );
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Records of a file: header and start among them.
fn records(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes.last(), Some(&b'\n'));
    bytes
        .iter()
        .filter(|&&byte| byte == qlog::RECORD_SEPARATOR)
        .count()
}

#[test]
fn in_a_folder_every_connection_has_a_file_that_only_the_user_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/");
    let files = TraceFiles::new(&path, "test").unwrap();
    live(&files, 0xa1, 1000);
    live(&files, 0xb2, 3);
    let report = files.finish();
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.files, report.events), (2, 1007));
    let names = names(&path);
    assert_eq!(names.len(), 2);
    for (name, id, events) in [
        (&names[0], "a1a1a1a1a1a1a1a1", 1002),
        (&names[1], "b2b2b2b2b2b2b2b2", 5),
    ] {
        assert!(name.ends_with(&format!("-{id}-server.sqlog")), "{name}");
        assert_eq!(records(&path.join(name)), events + 2);
        let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn further_connections_do_not_overwrite_the_file_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.sqlog");
    let files = TraceFiles::new(&path, "test").unwrap();
    live(&files, 1, 10);
    live(&files, 2, 20);
    assert!(files.finish().is_complete());
    assert_eq!(names(folder.path()), ["trace-2.sqlog", "trace.sqlog"]);
    assert_eq!(records(&path), 14);
    assert_eq!(records(&folder.path().join("trace-2.sqlog")), 24);
}

#[test]
fn a_connection_that_never_comes_up_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = TraceFiles::new(folder.path(), "test").unwrap();
    let mut sink = files.tracer().begin(&start(1)).unwrap();
    for packet in 0..10_000 {
        sink.record(Instant::now(), sent(packet));
    }
    drop(sink);
    let report = files.finish();
    assert_eq!((report.files, report.events, report.dropped), (0, 0, 0));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn events_are_in_the_file_when_the_connection_closed_though_it_still_exists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let files = TraceFiles::new(&path, "test").unwrap();
    let start = start(1);
    let mut sink = files.tracer().begin(&start).unwrap();
    sink.record(start.now, Event::Established);
    sink.record(start.now, sent(0));
    sink.record(
        start.now,
        Event::Closed((&rp_protocol::error::ConnectionError::Reset).into()),
    );
    let report = files.finish();
    assert!(report.is_complete(), "{report}");
    assert_eq!(records(&path), 5);
    drop(sink);
}

#[test]
fn a_full_disk_costs_events_and_says_so() {
    let files = TraceFiles::new(Path::new("/dev/full"), "test").unwrap();
    live(&files, 1, 100_000);
    live(&files, 2, 5);
    let report = files.finish();
    assert!(!report.is_complete());
    assert!(report.dropped > 0);
    let text = report.to_string();
    assert!(text.contains("No space left"), "{text}");
    assert!(text.contains("were not written"), "{text}");
}

#[test]
fn a_writer_that_falls_behind_costs_events_and_never_memory() {
    let (queue, messages) = Queue::new();
    let mut sink = Sink::new(7, start(1), Arc::clone(&queue));
    let now = Instant::now();
    sink.record(now, Event::Established);
    for packet in 0..1_000_000 {
        sink.record(now, sent(packet));
    }
    assert!(queue.waiting() <= 1 << 16);
    drop(sink);
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path()).unwrap();
    queue.send(Message::Finish);
    let report = Writer::new(place, "test", Arc::clone(&queue)).run(&messages);
    assert_eq!(report.events + report.dropped, 1_000_001);
    assert!(report.dropped > 900_000, "{report}");
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn a_path_that_cannot_be_written_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/trace.sqlog");
    let failure = TraceFiles::start(Some(&path), "test").unwrap_err();
    assert!(
        failure.text.contains("missing/trace.sqlog"),
        "{}",
        failure.text
    );
    assert!(TraceFiles::start(None, "test").unwrap().is_none());
}
