//! `tproxy-setup` and `tproxy-teardown` with a running `rpclient`: this machine's own traffic and a
//! network's behind it.

use std::io::{BufRead as _, BufReader};

use crate::{
    lab::{Lab, Namespace, TARGETS, echo, skipped},
    world::Running,
};

/// How the kernel is to divert.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Redirect,
    Tproxy,
}

impl By {
    fn options(self) -> [&'static str; 2] {
        match self {
            // All addresses, for a network's connections come to the one in it.
            Self::Redirect => ["--transparent", ":1081"],
            Self::Tproxy => ["--tproxy", "127.0.0.1:1082,[::1]:1082"],
        }
    }

    pub(crate) fn client(self, lab: &Lab) -> Running {
        let mut client = Running::start(lab.client(&self.options()));
        client.said(match self {
            Self::Redirect => "transparent on",
            Self::Tproxy => "tproxy on",
        });
        client
    }
}

/// Runs `tproxy-setup`, which must succeed; what it says.
pub(crate) fn set_up(lab: &Lab, by: By, args: &[&str]) -> String {
    let (code, said) = try_set_up(lab, by, args);
    assert_eq!(code, Some(0), "{said}");
    said
}

/// Runs `tproxy-setup`; its exit code, and what it says on both outputs.
fn try_set_up(lab: &Lab, by: By, args: &[&str]) -> (Option<i32>, String) {
    let mut command = lab.client(&["tproxy-setup"]);
    let output = command.args(by.options()).args(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn tear_down(lab: &Lab, args: &[&str]) -> String {
    let mut command = lab.near.command(env!("CARGO_BIN_EXE_rpclient"));
    let output = command.arg("tproxy-teardown").args(args).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// All rules and routes of `near`.
fn kernel(lab: &Lab) -> String {
    lab.near
        .sh("nft list ruleset; for v in -4 -6; do ip $v rule; ip $v route show table all; done")
}

/// From where a target at `ip` sees a connection from `from` come.
fn seen(lab: &Lab, from: &Namespace, ip: &str) -> String {
    let target = lab.target(ip, echo);
    let mut line = String::new();
    let tcp = from.connect(target).unwrap();
    BufReader::new(tcp).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

#[test]
fn a_host_and_a_network_behind_it_go_through_and_teardown_leaves_nothing() {
    if skipped("a_host_and_a_network_behind_it_go_through_and_teardown_leaves_nothing") {
        return;
    }
    let lab = Lab::new();
    for by in [By::Redirect, By::Tproxy] {
        let _client = by.client(&lab);
        let before = kernel(&lab);
        for (args, from) in [
            (&[][..], &lab.near),
            (&["--lan", "lan0"], &lab.lan),
            // Again, over what is there.
            (&["--lan", "lan0", "--host"], &lab.near),
        ] {
            let said = set_up(&lab, by, args);
            assert!(said.contains("diverted to"), "{said}");
            for ip in TARGETS {
                // The exit shares the target's machine.
                assert_eq!(seen(&lab, from, ip), ip);
            }
        }
        assert_eq!(tear_down(&lab, &[]).trim(), "removed");
        assert_eq!(kernel(&lab), before);
        assert_eq!(tear_down(&lab, &[]).trim(), "nothing was set up");
        assert_eq!(seen(&lab, &lab.near, TARGETS[0]), "198.51.100.1");
    }
}

#[test]
fn what_is_excluded_goes_its_own_way() {
    if skipped("what_is_excluded_goes_its_own_way") {
        return;
    }
    let lab = Lab::new();
    for by in [By::Redirect, By::Tproxy] {
        let _client = by.client(&lab);
        for (args, is_diverted) in [
            (&["--exclude", "203.0.113.0/24"][..], false),
            (&["--exclude", "203.0.113.11"], true),
            (&["--ports", "1-9"], false),
            (&["--ports", "1-9,10-65535"], true),
            (&["--exclude-port", "1-65535"], false),
            // The tests' own user.
            (&["--user", "0"], false),
            (&["--user", "4242"], true),
        ] {
            set_up(&lab, by, args);
            let expected = if is_diverted {
                TARGETS[0]
            } else {
                "198.51.100.1"
            };
            assert_eq!(seen(&lab, &lab.near, TARGETS[0]), expected, "{args:?}");
        }
        tear_down(&lab, &[]);
    }
}

#[test]
fn a_failed_test_is_rolled_back() {
    if skipped("a_failed_test_is_rolled_back") {
        return;
    }
    let lab = Lab::new();
    let before = kernel(&lab);
    for by in [By::Redirect, By::Tproxy] {
        // Nobody listens.
        let (code, said) = try_set_up(&lab, by, &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("start rpclient first"), "{said}");
        assert_eq!(kernel(&lab), before);
    }
    // Somebody else listens.
    let other = lab
        .near
        .run(|| std::net::TcpListener::bind("127.0.0.1:1082"));
    let (code, said) = try_set_up(&lab, By::Tproxy, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("everything was removed again"), "{said}");
    assert_eq!(kernel(&lab), before);
    drop(other);
}

#[test]
fn a_dry_run_changes_nothing_and_is_a_script_that_does_it() {
    if skipped("a_dry_run_changes_nothing_and_is_a_script_that_does_it") {
        return;
    }
    let lab = Lab::new();
    for by in [By::Redirect, By::Tproxy] {
        let _client = by.client(&lab);
        let before = kernel(&lab);
        let script = set_up(&lab, by, &["--dry-run"]);
        assert_eq!(kernel(&lab), before);
        lab.near.sh(&script);
        assert_eq!(seen(&lab, &lab.near, TARGETS[0]), TARGETS[0]);
        let by_hand = kernel(&lab);
        set_up(&lab, by, &[]);
        assert_eq!(kernel(&lab), by_hand);
        let script = tear_down(&lab, &["--dry-run"]);
        assert_eq!(kernel(&lab), by_hand);
        lab.near.sh(&script);
        assert_eq!(kernel(&lab), before);
    }
}

#[test]
fn teardown_ends_a_setup_that_was_killed_half_way_and_leaves_others_alone() {
    if skipped("teardown_ends_a_setup_that_was_killed_half_way_and_leaves_others_alone") {
        return;
    }
    let lab = Lab::new();
    lab.near.sh(
        "nft add table inet others; nft add table ip rapidpath
         ip rule add priority 100 fwmark 0x1 lookup 100; ip route add local default dev lo table 100",
    );
    let before = kernel(&lab);
    let mut client = By::Tproxy.client(&lab);
    let script = set_up(&lab, By::Tproxy, &["--dry-run"]);
    let commands = script.lines().filter(|line| line.starts_with("ip "));
    for command in commands {
        lab.near.sh(command);
    }
    client.kill();
    assert_ne!(kernel(&lab), before);
    assert_eq!(tear_down(&lab, &[]).trim(), "removed");
    assert_eq!(kernel(&lab), before);
    // Numbers that somebody else uses are not taken over.
    lab.near
        .sh("ip rule add priority 7270 fwmark 0x1 lookup 100");
    let _client = By::Tproxy.client(&lab);
    let (code, said) = try_set_up(&lab, By::Tproxy, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("used by something else"), "{said}");
}

#[test]
fn nothing_goes_its_own_way_while_rpclient_is_gone() {
    if skipped("nothing_goes_its_own_way_while_rpclient_is_gone") {
        return;
    }
    let lab = Lab::new();
    for by in [By::Redirect, By::Tproxy] {
        let mut client = by.client(&lab);
        set_up(&lab, by, &["--lan", "lan0", "--host"]);
        client.kill();
        for ip in TARGETS {
            let target = lab.target(ip, echo);
            for from in [&lab.near, &lab.lan] {
                let refused = from.connect(target).unwrap_err().kind();
                assert_eq!(refused, std::io::ErrorKind::ConnectionRefused, "{ip}");
            }
        }
        tear_down(&lab, &[]);
    }
}
