//! The rules of some plans. That the kernel takes them and that they do what they should is tested
//! in namespaces, in `cli/tests/transparent`.

use super::*;

fn plan(capture: Capture) -> Plan {
    Plan {
        capture,
        listeners: vec![addr("127.0.0.1:1082"), addr("[::1]:1082")],
        host: true,
        lans: Vec::new(),
        servers: vec![addr("198.51.100.2:0").ip()],
        exclude: Vec::new(),
        exclude_ports: Vec::new(),
        ports: Vec::new(),
        private: false,
        user: None,
        tcp_only: false,
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The networks excluded for `family`.
fn excluded(plan: &Plan, family: &str) -> Vec<IpNet> {
    let rules = plan.rules();
    let (_, set) = rules.split_once(&format!("set not_{family} {{")).unwrap();
    let (_, elements) = set.split_once("elements = { ").unwrap();
    let (elements, _) = elements.split_once(" }").unwrap();
    elements
        .split(", ")
        .map(|net| net.parse().unwrap())
        .collect()
}

fn is_excluded(plan: &Plan, ip: &str) -> bool {
    let ip: IpAddr = ip.parse().unwrap();
    let family = if ip.is_ipv4() { "ip" } else { "ip6" };
    excluded(plan, family).iter().any(|net| net.contains(&ip))
}

#[test]
fn the_server_and_what_is_no_destination_is_never_diverted() {
    for capture in [Capture::Redirect, Capture::Tproxy] {
        let mut plan = plan(capture);
        plan.private = true;
        plan.exclude = vec!["203.0.113.0/24".parse().unwrap()];
        for ip in [
            "127.0.0.1",
            "::1",
            "198.51.100.2",
            "169.254.1.1",
            "fe80::1",
            "224.0.0.251",
            "ff02::fb",
            "255.255.255.255",
            "0.0.0.0",
            "::",
            "203.0.113.77",
        ] {
            assert!(is_excluded(&plan, ip), "{ip}");
        }
        for ip in [
            "198.51.100.3",
            "10.0.0.1",
            "192.168.1.1",
            "2001:db8::1",
            "fd00::1",
        ] {
            assert!(!is_excluded(&plan, ip), "{ip}");
        }
        plan.private = false;
        for ip in [
            "10.0.0.1",
            "172.31.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "fd00::1",
        ] {
            assert!(is_excluded(&plan, ip), "{ip}");
        }
    }
}

#[test]
fn the_test_comes_before_the_exclusions_and_they_before_the_mark() {
    let plan = plan(Capture::Tproxy);
    let rules = plan.rules();
    let output = &rules[rules.find("chain output").unwrap()..];
    let at = |text: &str| {
        output
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {output}"))
    };
    let order = [
        "ct direction reply return",
        "ip daddr 192.0.2.1 th dport 53 ct mark set 0x7270",
        "fib daddr type { local,",
        "ip daddr @not_ip return",
        "udp dport { 67, 68, 546, 547 } return",
        "\t\tct mark set 0x7270 meta mark set 0x7270",
    ];
    assert!(
        order.windows(2).all(|pair| at(pair[0]) < at(pair[1])),
        "{output}"
    );
}

#[test]
fn a_family_without_a_listener_is_left_alone() {
    for capture in [Capture::Redirect, Capture::Tproxy] {
        let mut plan = plan(capture);
        plan.listeners.truncate(1);
        assert_eq!(plan.families().collect::<Vec<_>>(), [Family::V4]);
        let rules = plan.rules();
        assert!(rules.contains("meta nfproto ipv6 return"), "{rules}");
        assert!(!rules.contains("[::1]"), "{rules}");
        // The unspecified IPv6 address takes both.
        plan.listeners = vec![addr("[::]:1082")];
        assert_eq!(plan.families().count(), 2);
        assert!(!plan.rules().contains("nfproto ipv4 return"));
    }
}

#[test]
fn what_the_user_narrows_stands_in_the_rules() {
    for capture in [Capture::Redirect, Capture::Tproxy] {
        let mut plan = plan(capture);
        plan.user = Some(118);
        plan.ports = vec!["80".parse().unwrap(), "1000-2000".parse().unwrap()];
        plan.exclude_ports = vec!["25".parse().unwrap()];
        plan.lans = vec!["lan0".to_owned(), "lan1".to_owned()];
        let rules = plan.rules();
        for line in [
            "meta skuid 118 return",
            "th dport != { 80, 1000-2000 } return",
            "th dport { 25 } return",
            "iifname != { \"lan0\", \"lan1\" } return",
        ] {
            assert!(rules.contains(line), "{line}: {rules}");
        }
    }
}

#[test]
fn a_gateway_alone_diverts_nothing_of_its_own_but_the_test() {
    for capture in [Capture::Redirect, Capture::Tproxy] {
        let mut plan = plan(capture);
        plan.host = false;
        plan.lans = vec!["lan0".to_owned()];
        let rules = plan.rules();
        let output = &rules[rules.find("chain output").unwrap()..];
        let (output, _) = output.split_once("\t}").unwrap();
        assert!(output.contains("192.0.2.1"), "{output}");
        assert!(!output.contains("@not_ip"), "{output}");
    }
}

#[test]
fn plans_that_cannot_work_are_refused() {
    let good = plan(Capture::Redirect);
    assert_eq!(good.problem(), None);
    let refused = |change: fn(&mut Plan)| {
        let mut plan = good.clone();
        change(&mut plan);
        plan.problem().expect("a problem")
    };
    assert!(refused(|plan| plan.listeners.clear()).contains("--tproxy"));
    assert!(refused(|plan| plan.lans = vec!["lan0".into()]).contains("--transparent :PORT"));
    for odd in ["", "eth0\" }", "a b", "0123456789abcdef"] {
        let mut plan = plan(Capture::Tproxy);
        plan.lans = vec![odd.to_owned()];
        assert!(plan.problem().is_some(), "{odd}");
    }
}

#[test]
fn udp_is_left_alone_where_it_is_not_taken() {
    let mut udp = plan(Capture::Tproxy);
    assert!(udp.rules().contains("{ tcp, udp }"));
    udp.tcp_only = true;
    assert!(!udp.rules().contains("udp"), "{}", udp.rules());
    assert!(!plan(Capture::Redirect).rules().contains("udp"));
}

#[test]
fn ports_are_read_and_nonsense_is_refused() {
    let read = |text: &str| text.parse::<Ports>().map(|ports| ports.to_string());
    assert_eq!(read("443").unwrap(), "443");
    assert_eq!(read("6000-6063").unwrap(), "6000-6063");
    for bad in ["", "0", "65536", "-", "9-8", "http", "1-2-3", " 1"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
