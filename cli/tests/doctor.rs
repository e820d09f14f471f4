//! `rpclient doctor` on machines and ways that are not as they should be: it names what is wrong.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers outside of test functions fail the test that calls them, or say that it was skipped"
)]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "transparent/lab.rs"]
mod lab;
mod world;

use std::process::Command;

use lab::{Lab, skipped};
use world::has;

/// Where the kernel says how large socket buffers may be.
const LIMITS: [&str; 2] = ["rmem_max", "wmem_max"];

/// What the doctor says, and how it ends.
fn diagnosis(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text)
}

/// The line of the finding `what`.
fn finding<'a>(text: &'a str, what: &str) -> &'a str {
    let of = |line: &&str| line.get(6..).is_some_and(|rest| rest.starts_with(what));
    text.lines()
        .find(of)
        .unwrap_or_else(|| panic!("no {what} in {text}"))
}

#[test]
fn small_socket_buffers_are_named_with_lines_to_paste() {
    let name = "small_socket_buffers_are_named_with_lines_to_paste";
    if skipped(name) {
        return;
    }
    if !has("strace") {
        println!("SKIPPED {name}: strace is missing");
        return;
    }
    let lab = Lab::new();
    for limit in LIMITS {
        std::fs::write(lab.folder.path().join(limit), "212992\n").unwrap();
    }
    // A kernel that grants no more than its default: asking changes nothing.
    let script = format!(
        "for limit in {}; do mount --bind $HOME/$limit /proc/sys/net/core/$limit; done
         exec strace -qq -o /dev/null -e inject=setsockopt:retval=0 {} \"$@\"",
        LIMITS.join(" "),
        env!("CARGO_BIN_EXE_rpclient")
    );
    let unshared = ["--mount", "sh", "-ec", &script, "sh", "doctor"];
    let (code, text) = diagnosis(lab.client_in(&lab.near, "unshare", &unshared));
    let buffers = finding(&text, "socket buffers");
    assert!(buffers.starts_with("note "), "{text}");
    assert!(
        buffers.contains("fast transfers lose packets in this machine"),
        "{text}"
    );
    assert!(
        text.contains("-> sysctl -w net.core.rmem_max=8388608"),
        "{text}"
    );
    assert!(
        text.ends_with("could be better: socket buffers\n"),
        "{text}"
    );
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn blocked_udp_is_named() {
    if skipped("blocked_udp_is_named") {
        return;
    }
    let lab = Lab::new();
    for (how, told) in [
        ("drop", "blocks UDP"),
        ("reject with icmp type admin-prohibited", "blocks UDP"),
    ] {
        lab.far.sh(&format!(
            "nft 'table inet wall {{ chain input {{ type filter hook input priority 0; udp dport 7377 {how}; }}; }}'"
        ));
        let (code, text) = diagnosis(lab.client(&["doctor"]));
        lab.far.sh("nft delete table inet wall");
        let server = finding(&text, "server");
        assert!(
            server.starts_with("BAD ") && server.contains(told),
            "{how}: {text}"
        );
        assert!(text.ends_with("does not work: server\n"), "{how}: {text}");
        assert_eq!(code, Some(3), "{how}: {text}");
    }
}

#[test]
fn a_low_mtu_here_is_named_with_its_interface() {
    if skipped("a_low_mtu_here_is_named_with_its_interface") {
        return;
    }
    let lab = Lab::new();
    lab.near.sh("ip link set wan0 mtu 1280");
    let (code, text) = diagnosis(lab.client(&["doctor"]));
    let mtu = finding(&text, "MTU");
    assert!(
        mtu.starts_with("note ") && mtu.contains("1280 on wan0"),
        "{text}"
    );
    assert!(finding(&text, "server").starts_with("ok "), "{text}");
    assert_eq!(code, Some(0), "{text}");

    lab.near.sh("ip link set wan0 mtu 1100");
    let (code, text) = diagnosis(lab.client(&["doctor"]));
    let mtu = finding(&text, "MTU");
    assert!(
        mtu.starts_with("BAD ") && mtu.contains("1100 on wan0"),
        "{text}"
    );
    assert!(text.contains("-> ip link set dev wan0 mtu 1500"), "{text}");
    assert!(text.contains("does not work: MTU"), "{text}");
    assert_eq!(code, Some(3), "{text}");
}

#[test]
fn a_low_mtu_on_the_way_is_named() {
    if skipped("a_low_mtu_on_the_way_is_named") {
        return;
    }
    let lab = Lab::new();
    // A tunnel behind the first router that says nothing about what it throws away.
    lab.near.sh(
        "echo 1 >/proc/sys/net/ipv4/ip_forward; ip link set wan0 mtu 1340
         nft 'table inet mute { chain output { type filter hook output priority 0; icmp type destination-unreachable drop; }; }'",
    );
    lab.far.sh("ip route add 10.77.0.0/24 via 198.51.100.1");
    let program = env!("CARGO_BIN_EXE_rpclient");
    let (code, text) = diagnosis(lab.client_in(&lab.lan, program, &["doctor"]));
    assert!(finding(&text, "MTU").contains("1500 on eth0"), "{text}");
    let path = finding(&text, "path MTU");
    assert!(
        path.starts_with("note ") && path.contains("interface's 1500 do not"),
        "{text}"
    );
    assert!(text.ends_with("could be better: path MTU\n"), "{text}");
    assert_eq!(code, Some(0), "{text}");
}
