//! Tests of cases and of reading samples; sharing itself takes a real link.

use std::collections::BTreeMap;

use super::*;

#[test]
fn a_case_says_who_how_often_and_when() {
    let case: Case = "rpcp~100ms@10+4xtcp-bbr-x16".parse().unwrap();
    let flows = case.flows();
    assert_eq!(flows.len(), 5);
    let member = |peer: &str, start_s, extra_ms| Member {
        peer: peer.to_owned(),
        start: Duration::from_secs(start_s),
        extra: Duration::from_millis(extra_ms),
    };
    assert_eq!(flows[0], member("rpcp", 10, 100));
    assert_eq!(flows[4], member("tcp-bbr-x16", 0, 0));
    assert_eq!(case.to_string(), "rpcp~100ms@10+4xtcp-bbr-x16");
}

#[test]
fn what_is_no_case_is_refused() {
    for text in [
        "",
        "rpcp+",
        "0xrpcp",
        "100xrpcp",
        "rpcp@x",
        "rpcp@-1",
        "rpcp~100",
        "rpcp@1~5ms",
        "rpcp~11s",
        "40xa+40xb",
    ] {
        assert!(text.parse::<Case>().is_err(), "{text}");
    }
}

#[test]
fn bytes_between_two_looks_lie_on_a_line() {
    let at = |time: f64, bytes: u64| {
        let bytes = BTreeMap::from([(7400, bytes)]);
        (
            time,
            Arrivals {
                at: Instant::now(),
                bytes,
            },
        )
    };
    let samples = vec![at(0.0, 0), at(1.0, 1000), at(2.0, 4000)];
    assert_eq!(bytes_at(&samples, 7400, 0.5), 500.0);
    assert_eq!(bytes_at(&samples, 7400, 1.5), 2500.0);
    assert_eq!(bytes_at(&samples, 7400, 3.0), 4000.0);
    assert_eq!(bytes_at(&samples, 7410, 1.5), 0.0);
    assert_eq!(bytes_at(&Vec::new(), 7400, 1.0), 0.0);
}

#[test]
fn flows_have_ports_of_their_own() {
    assert_eq!((port(0), port(7)), (PORT, PORT + 70));
}
