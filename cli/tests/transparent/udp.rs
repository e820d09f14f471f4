//! Datagrams that TPROXY diverts, and the answers to them.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use crate::{
    lab::{Lab, Namespace, TARGETS, skipped},
    setup::{By, set_up},
};

/// Longest wait for an answer that should come, and time between questions.
const PATIENCE: Duration = Duration::from_millis(500);

/// Answers each datagram in `far` with the address it came from and what it said.
fn target(lab: &Lab, ip: &str) -> SocketAddr {
    let address = SocketAddr::new(ip.parse().unwrap(), 0);
    let socket = lab.far.run(|| UdpSocket::bind(address).unwrap());
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let question = String::from_utf8_lossy(&buffer[..len]);
            let _ = socket.send_to(format!("{} {question}", from.ip()).as_bytes(), from);
        }
    });
    address
}

/// The answer to a question asked from a port of its own, perhaps more than once. A connected socket
/// takes it only from where it asked.
fn ask(from: &Namespace, target: SocketAddr) -> String {
    let any = if target.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = from.run(|| UdpSocket::bind(any).unwrap());
    from.run(|| socket.connect(target).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 2048];
    for _ in 0..20 {
        socket.send(b"what").unwrap();
        if let Ok(len) = socket.recv(&mut buffer) {
            return String::from_utf8_lossy(&buffer[..len]).into_owned();
        }
    }
    String::from("no answer")
}

#[test]
fn datagrams_of_a_host_and_of_a_network_are_answered_by_their_targets() {
    if skipped("datagrams_of_a_host_and_of_a_network_are_answered_by_their_targets") {
        return;
    }
    let lab = Lab::new();
    let _client = By::Tproxy.client(&lab);
    set_up(&lab, By::Tproxy, &["--lan", "lan0", "--host"]);
    for ip in TARGETS {
        let target = target(&lab, ip);
        for from in [&lab.near, &lab.lan] {
            // The exit shares the target's machine.
            assert_eq!(ask(from, target), format!("{ip} what"));
        }
    }
    set_up(&lab, By::Tproxy, &["--tcp-only"]);
    let target = target(&lab, TARGETS[0]);
    assert_eq!(ask(&lab.near, target), "198.51.100.1 what");
}
