//! What a person is shown, and what is made of two looks.

use super::*;

fn status() -> Status {
    Status {
        process: Process {
            program: "rpserver".into(),
            version: "1.0".into(),
            pid: 7,
            uptime_seconds: 3723.4,
        },
        state: "serving".into(),
        listen: vec!["0.0.0.0:7377".into()],
        total: Usage {
            streams: 2,
            connected: 10,
            denied: 3,
            failed: 1,
            down_bytes: 1_500_000_000,
            up_bytes: 999,
        },
        refusals: Refusals {
            clients: 4,
            too_many: 5,
            front_end: 0,
        },
        datagrams: Datagrams {
            associations: 2,
            down: 40,
            up: 30,
            denied: 1,
            discarded: 6,
        },
        connection_count: 12,
        connections: vec![ConnectionStatus {
            remote: "203.0.113.9:50000".into(),
            key: "SHA256:abcdefghijklmnopqrstuvwxyz".into(),
            rtt_ms: 101.26,
            queue_ms: 1.5,
            loss: 0.0123,
            pacing_bps: 999_960_000,
            sent_bytes: 12_345,
            ..ConnectionStatus::default()
        }],
        targets: vec![NamedUsage {
            name: "evil\x1b[2Jname:80".into(),
            usage: Usage::default(),
        }],
        ..Status::default()
    }
}

#[test]
fn a_servers_status_is_a_page_for_people() {
    let rates = Rates {
        down_bps: 94_250_000.0,
        up_bps: 0.0,
    };
    let text = render(&status(), Some(&rates));
    insta::assert_snapshot!(text, @"
    rpserver 1.0, process 7, running for 1 h 2 min
    state     serving
    listening 0.0.0.0:7377
    rate      down 94.2 Mbit/s, up 0 bit/s
    bytes     down 1.5 GB, up 999 B
    streams   2 open; 10 connected, 3 denied, 1 failed so far
    refused   4 not let in, 5 too many
    datagrams down 40, up 30; 1 denied, 6 discarded, 2 associations so far

    CLIENTS 12
    address                  key                    RTT     queue    loss     may send      sent  received
    203.0.113.9:50000        SHA256:abcdefgh…  101.3 ms    1.5 ms  1.23 %   1.0 Gbit/s   12.3 kB       0 B
    and 11 more (--json lists up to 100)

    TARGETS                                              open connected  denied  failed      down        up
    evil?[2Jname:80                                         0         0       0       0       0 B       0 B
    ");
}

#[test]
fn names_cannot_change_the_terminal() {
    let text = render(&status(), None);
    assert!(text.contains("evil?[2Jname:80"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn rates_are_bits_between_two_looks_at_one_process() {
    let before = status();
    let mut after = status();
    after.process.uptime_seconds += 0.5;
    after.total.down_bytes += 1000;
    let rates = Rates::between(&before, &after).unwrap();
    assert!((rates.down_bps - 16_000.0).abs() < 1.0, "{rates:?}");
    assert!(rates.up_bps.abs() < 1.0, "{rates:?}");
    assert_eq!(Rates::between(&before, &before), None);
    // It was started again, and its numbers with it.
    after.process.pid += 1;
    assert_eq!(Rates::between(&before, &after), None);
}

#[test]
fn json_comes_back_as_it_went() {
    let status = status();
    let text = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    assert!(text.contains("\"down-bytes\":1500000000"), "{text}");
}
