//! `--transparent`: what REDIRECT brings, by rules of the tests' own.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use crate::{
    lab::{Lab, TARGETS, echo, skipped},
    world::Running,
};

/// Has everything in `near` that goes to the targets' addresses diverted to port 1081.
fn redirect(lab: &Lab) {
    lab.near.sh("nft -f - <<'END'
         table inet by_hand {
             chain output {
                 type nat hook output priority -100;
                 ip daddr { 203.0.113.0/24, 198.51.100.2 } meta l4proto tcp redirect to :1081
                 ip6 daddr 2001:db8:113::/64 meta l4proto tcp redirect to :1081
             }
         }
END");
}

#[test]
fn a_diverted_connection_goes_to_its_original_destination() {
    if skipped("a_diverted_connection_goes_to_its_original_destination") {
        return;
    }
    let lab = Lab::new();
    let mut client = Running::start(lab.client(&["--transparent", "127.0.0.1:1081,[::1]:1081"]));
    client.said("transparent on 127.0.0.1:1081");
    client.said("transparent on [::1]:1081");
    redirect(&lab);
    for (ip, exit) in TARGETS.into_iter().zip(TARGETS) {
        let target = lab.target(ip, echo);
        let mut tcp = lab.near.connect(target).unwrap();
        tcp.write_all(b"through").unwrap();
        tcp.shutdown(Shutdown::Write).unwrap();
        let mut answer = BufReader::new(tcp);
        let mut from = String::new();
        answer.read_line(&mut from).unwrap();
        // The exit shares the target's machine: without it the connection would come from `near`.
        assert_eq!(from.trim(), exit);
        let mut rest = String::new();
        answer.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "through");
    }
}

#[test]
fn a_target_that_is_not_there_is_a_reset_and_loops_are_refused() {
    if skipped("a_target_that_is_not_there_is_a_reset_and_loops_are_refused") {
        return;
    }
    let lab = Lab::new();
    let mut client = Running::start(lab.client(&["--transparent", "127.0.0.1:1081"]));
    client.said("transparent on 127.0.0.1:1081");
    redirect(&lab);
    // The reset may come while the client still connects.
    let is_reset = |tcp: std::io::Result<TcpStream>| match tcp {
        Ok(mut tcp) => tcp.read(&mut [0]).is_err(),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    for nowhere in ["203.0.113.10:9", "198.51.100.2:7377", "127.0.0.1:1081"] {
        let tcp = lab.near.connect(nowhere.parse().unwrap());
        assert!(is_reset(tcp), "{nowhere}");
    }
    // It goes on with others.
    let target = lab.target(TARGETS[0], echo);
    let mut line = String::new();
    let tcp = lab.near.connect(target).unwrap();
    BufReader::new(tcp).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), TARGETS[0]);
}
