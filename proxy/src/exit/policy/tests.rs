//! Every spelling of a forbidden address, and the rules that open or close networks.

use super::*;

fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    let mut policy = Policy::default();
    for rule in allow {
        policy = policy.allow(rule.parse().unwrap());
    }
    for rule in deny {
        policy = policy.deny(rule.parse().unwrap());
    }
    policy
}

fn check(policy: &Policy, ip: &str) -> Result<(), Denial> {
    let addr = SocketAddr::new(ip.parse().unwrap(), 443);
    policy.check(addr).map(|_| ())
}

#[test]
fn public_addresses_are_let_out() {
    let policy = Policy::default();
    for ip in [
        "1.1.1.1",
        "93.184.215.14",
        "2606:4700::1111",
        "64:ff9b::1.1.1.1",
        "2002:101:101::1",
    ] {
        assert_eq!(check(&policy, ip), Ok(()), "{ip}");
    }
}

#[test]
fn forbidden_addresses_are_refused_in_every_spelling() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# An IPv6 address that carries an IPv4 address MUST also be judged by the address it carries.
    let policy = Policy::default();
    let expected = [
        ("127.0.0.1", Denial::Loopback),
        ("127.255.0.9", Denial::Loopback),
        ("::1", Denial::Loopback),
        ("::ffff:127.0.0.1", Denial::Loopback),
        ("::127.0.0.1", Denial::Loopback),
        ("::ffff:0:127.0.0.1", Denial::Loopback),
        ("64:ff9b::127.0.0.1", Denial::Loopback),
        ("2002:7f00:1::", Denial::Loopback),
        ("2001:0:1:2:3:4:80ff:fffe", Denial::Loopback),
        ("2606:4700::5efe:127.0.0.1", Denial::Loopback),
        ("2606:4700::200:5efe:10.0.0.1", Denial::Private),
        ("0.0.0.0", Denial::Reserved),
        ("::", Denial::Reserved),
        ("::ffff:0.0.0.0", Denial::Reserved),
        ("10.1.2.3", Denial::Private),
        ("172.31.255.255", Denial::Private),
        ("192.168.0.1", Denial::Private),
        ("100.64.0.1", Denial::Private),
        ("64:ff9b::10.1.2.3", Denial::Private),
        ("64:ff9b:1::1.1.1.1", Denial::Private),
        ("2002:a01:203::", Denial::Private),
        ("fd12::1", Denial::Private),
        ("fec0::1", Denial::Private),
        ("169.254.1.1", Denial::LinkLocal),
        ("fe80::1", Denial::LinkLocal),
        ("224.0.0.1", Denial::Multicast),
        ("255.255.255.255", Denial::Multicast),
        ("ff02::1", Denial::Multicast),
        ("240.0.0.1", Denial::Reserved),
        ("192.0.2.1", Denial::Reserved),
        ("2001:db8::1", Denial::Reserved),
        ("3fff::1", Denial::Reserved),
        ("4000::1", Denial::Reserved),
        ("100::1", Denial::Reserved),
        ("5f00::1", Denial::Reserved),
    ];
    for (ip, denial) in expected {
        assert_eq!(check(&policy, ip), Err(denial), "{ip}");
    }
}

#[test]
fn metadata_is_refused_whatever_the_rules_say() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# Cloud metadata addresses and the server's own listeners MUST be refused whatever the rules say.
    let policy = policy(&["0.0.0.0/0", "::/0"], &[]);
    for ip in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "100.100.100.200",
        "fd00:ec2::254",
    ] {
        assert_eq!(check(&policy, ip), Err(Denial::Metadata), "{ip}");
    }
    assert_eq!(check(&policy, "169.254.1.1"), Ok(()));
}

#[test]
fn own_listeners_are_refused_whatever_the_rules_say() {
    let policy = policy(&["0.0.0.0/0", "::/0"], &[])
        .listener("0.0.0.0:7377".parse().unwrap())
        .listener("127.0.0.1:7378".parse().unwrap());
    let denied = |addr: &str| policy.check(addr.parse().unwrap()) == Err(Denial::OwnListener);
    assert!(denied("127.0.0.1:7377"));
    assert!(denied("[::ffff:127.0.0.1]:7377"));
    assert!(denied("127.0.0.1:7378"));
    assert!(!denied("127.0.0.1:80"));
    assert!(!denied("1.1.1.1:7377"));
}

#[test]
fn allow_opens_a_network_in_all_its_spellings() {
    let policy = policy(&["10.0.0.0/8", "127.0.0.0/8:8000-8100"], &[]);
    for ip in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"] {
        assert_eq!(check(&policy, ip), Ok(()), "{ip}");
    }
    assert_eq!(check(&policy, "192.168.0.1"), Err(Denial::Private));
    assert_eq!(check(&policy, "127.0.0.1"), Err(Denial::Loopback));
    assert!(policy.check("127.0.0.1:8050".parse().unwrap()).is_ok());
    assert!(policy.check("127.0.0.1:8101".parse().unwrap()).is_err());
}

#[test]
fn deny_wins_over_allow() {
    let policy = policy(&["10.0.0.0/8"], &["10.0.0.0/24", "1.1.1.1"]);
    assert_eq!(check(&policy, "10.0.0.5"), Err(Denial::Rule));
    assert_eq!(check(&policy, "10.0.1.5"), Ok(()));
    assert_eq!(check(&policy, "1.1.1.1"), Err(Denial::Rule));
    assert_eq!(check(&policy, "64:ff9b::1.1.1.1"), Err(Denial::Rule));
}

#[test]
fn the_checked_address_is_the_one_to_dial() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# The exit MUST check the resolved address and dial that same address.
    let policy = Policy::default();
    let dialled = policy.check("[::ffff:1.1.1.1]:80".parse().unwrap());
    assert_eq!(dialled, Ok("1.1.1.1:80".parse().unwrap()));
}

#[test]
fn rules_round_trip_as_text() {
    for text in [
        "10.0.0.0/8",
        "10.0.0.0/8:443",
        "fd00::/8",
        "[fd00::/8]:8000-8999",
    ] {
        assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
    }
    assert_eq!(
        "192.0.2.7".parse::<Rule>().unwrap().to_string(),
        "192.0.2.7/32"
    );
    assert_eq!("[::1]".parse::<Rule>().unwrap().to_string(), "::1/128");
    for text in [
        "",
        "10.0.0.0/33",
        "host",
        "10.0.0.0/8:",
        "10.0.0.0/8:9-1",
        "[::1",
        "[::1]80",
    ] {
        assert!(text.parse::<Rule>().is_err(), "{text}");
    }
}
