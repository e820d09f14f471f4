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
    //# Without a rule that allows them, loopback, link-local, private, shared, multicast,
    //# broadcast, reserved and unassigned addresses MUST be refused.
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
        // Most clouds.
        "169.254.169.254",
        "169.254.169.253",
        "169.254.169.123",
        "169.254.169.250",
        "169.254.169.252",
        "169.254.170.2",
        "169.254.170.23",
        "169.254.129.2",
        "169.254.131.7",
        "169.254.42.42",
        "169.254.0.23",
        "169.254.10.10",
        "100.100.100.200",
        "100.100.2.136",
        "100.100.2.138",
        "100.96.0.96",
        "100.80.80.80",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::253",
        "fd00:ec2::123",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
        "fe80::a9fe:a9fe",
        // One address in the forms that carry it.
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "2002:a9fe:a9fe:1:2:3:4:5",
        "2001:0:1:2:3:4:5601:5601",
        "2001:0:4136:e378:8000:63bf:5601:5601",
        "2606:4700::5efe:169.254.169.254",
        "2606:4700::200:5efe:169.254.169.254",
        "fe80::5efe:169.254.169.254",
    ] {
        assert_eq!(check(&policy, ip), Err(Denial::Metadata), "{ip}");
    }
    for ip in [
        "169.254.1.1",
        "169.254.42.43",
        "100.100.100.199",
        "168.63.129.17",
        "192.0.0.193",
        "fd00:42::43",
        "fe80::1",
        "fd20:ce::253",
    ] {
        assert_eq!(check(&policy, ip), Ok(()), "{ip}");
    }
}

#[test]
fn metadata_is_refused_in_every_form_of_a_translator_under_any_prefix() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# An address that has a metadata address in a form of RFC 6052 MUST be refused, whatever its
    //# prefix.
    let policy = policy(&["0.0.0.0/0", "::/0"], &[]);
    for ip in [
        // The table of RFC 6052 section 2.4 with another address in it.
        "2001:db8:a9fe:a9fe::",
        "2001:db8:1a9:fea9:fe::",
        "2001:db8:122:a9fe:a9:fe00::",
        "2001:db8:122:3a9:fe:a9fe::",
        "2001:db8:122:344:a9:fea9:fe00::",
        "2001:db8:122:344::169.254.169.254",
        // The same in the prefix for local use.
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:22a9:fe:a9fe::",
        "64:ff9b:1:2:a9:fea9:fe00:0",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:2:3:4:169.254.169.254",
        "64:ff9b:1:6464:64:c800::",
        "64:ff9b:1::100.100.100.200",
        "64:ff9b:1::192.0.0.192",
        "64:ff9b:1::169.254.42.42",
        "64:ff9b:a9fe:a9fe::",
        "fd64:ff9b::a9fe:a9fe",
        "2606:4700::a9fe:a9fe",
    ] {
        assert_eq!(check(&policy, ip), Err(Denial::Metadata), "{ip}");
    }
    for ip in [
        "2001:db8:a9fe:a9fe::1",
        "2001:db8:122:a9fe:a9:fe00:0:1",
        "2001:db8:122:a9fe:1a9:fe00::",
        "64:ff9b:1::1.1.1.1",
    ] {
        assert_eq!(check(&policy, ip), Ok(()), "{ip}");
    }
}

#[test]
fn prefix_for_local_use_reaches_what_all_its_readings_may_reach() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# Where the prefix does not tell which address is carried, the refusal of any address it may
    //# carry MUST count; that of a multicast or reserved one only if all are refused.
    let closed = Policy::default();
    let open = policy(&["64:ff9b:1::/48"], &["10.0.0.0/8", "1.1.1.1"])
        .listener("127.0.0.1:443".parse().unwrap());
    let wider = policy(&["64:ff9b:1::/48", "172.16.0.0/12", "127.0.0.0/8"], &[]);
    let free_bytes = "64:ff9b:1:808:8:800:a9fe:a9fe";
    for (ip, by_open, by_wider) in [
        ("64:ff9b:1::8.8.8.8", Ok(()), Ok(())),
        ("64:ff9b:1:808:8:800::", Ok(()), Ok(())),
        ("64:ff9b:1:208:8:808::", Ok(()), Ok(())),
        ("64:ff9b:1:2:8:808:800:0", Ok(()), Ok(())),
        ("64:ff9b:1:fffe::8.8.8.8", Ok(()), Ok(())),
        (
            "64:ff9b:1::240.0.0.1",
            Err(Denial::Reserved),
            Err(Denial::Reserved),
        ),
        (
            "64:ff9b:1:a01:2:300:808:808",
            Err(Denial::Rule),
            Err(Denial::Private),
        ),
        ("64:ff9b:1::1.1.1.1", Err(Denial::Rule), Ok(())),
        ("64:ff9b:1:101:1:100::", Err(Denial::Rule), Ok(())),
        (
            "64:ff9b:1::10.1.2.3",
            Err(Denial::Rule),
            Err(Denial::Private),
        ),
        (
            "64:ff9b:1:a01:2:300::",
            Err(Denial::Rule),
            Err(Denial::Private),
        ),
        (
            "64:ff9b:1:20a:1:203::",
            Err(Denial::Rule),
            Err(Denial::Private),
        ),
        (
            "64:ff9b:1:2:a:102:300:0",
            Err(Denial::Rule),
            Err(Denial::Private),
        ),
        ("64:ff9b:1::172.16.0.1", Err(Denial::Private), Ok(())),
        ("64:ff9b:1:ac10:0:100::", Err(Denial::Private), Ok(())),
        ("64:ff9b:1::127.0.0.1", Err(Denial::OwnListener), Ok(())),
        ("64:ff9b:1:7f00:0:100::", Err(Denial::OwnListener), Ok(())),
        (
            "64:ff9b:1::169.254.169.254",
            Err(Denial::Metadata),
            Err(Denial::Metadata),
        ),
        (free_bytes, Err(Denial::Metadata), Err(Denial::Metadata)),
    ] {
        assert!(check(&closed, ip).is_err(), "{ip}");
        assert_eq!(check(&open, ip), by_open, "{ip}");
        assert_eq!(check(&wider, ip), by_wider, "{ip}");
    }
}

#[test]
fn deny_rule_on_ipv4_binds_every_form_that_carries_it() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# A rule that denies MUST win over a rule that allows.
    let all = ["0.0.0.0/0", "::/0"];
    for rule in ["93.184.0.0/16", "::ffff:93.184.0.0/112", "93.184.215.14"] {
        let policy = policy(&all, &[rule]);
        for ip in [
            "93.184.215.14",
            "::ffff:93.184.215.14",
            "::93.184.215.14",
            "::ffff:0:93.184.215.14",
            "64:ff9b::93.184.215.14",
            "64:ff9b:1::93.184.215.14",
            "64:ff9b:1:5db8:d7:e00::",
            "64:ff9b:1:25d:b8:d70e::",
            "64:ff9b:1:2:5d:b8d7:e00:0",
            "2002:5db8:d70e::1",
            "2001:0:1:2:3:4:a247:28f1",
            "2606:4700::5efe:93.184.215.14",
            "2606:4700::200:5efe:93.184.215.14",
        ] {
            assert_eq!(check(&policy, ip), Err(Denial::Rule), "{rule} {ip}");
        }
        assert_eq!(check(&policy, "64:ff9b:1::93.185.0.1"), Ok(()), "{rule}");
    }
}

#[test]
fn allow_opens_the_ipv6_loopback() {
    for rule in ["::1/128", "::1", "[::1]:443", "::/127", "::/0"] {
        assert_eq!(check(&policy(&[rule], &[]), "::1"), Ok(()), "{rule}");
    }
    let policy = policy(&["::1/128"], &[]);
    for ip in ["127.0.0.1", "::127.0.0.1", "::2", "::"] {
        assert!(check(&policy, ip).is_err(), "{ip}");
    }
}

#[test]
fn unspecified_address_is_this_host() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# An unspecified address MUST also be judged as the loopback address it leads to.
    let all = ["0.0.0.0/0", "::/0"];
    let open = policy(&all, &[]);
    assert_eq!(check(&open, "0.0.0.0"), Ok(()));
    assert_eq!(
        check(&policy(&["0.0.0.0/8"], &[]), "0.0.0.0"),
        Err(Denial::Loopback)
    );
    let closed = policy(&all, &["127.0.0.0/8", "::1"]);
    let busy = open
        .listener("127.0.0.1:443".parse().unwrap())
        .listener("[::1]:443".parse().unwrap());
    for ip in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
        assert_eq!(check(&closed, ip), Err(Denial::Rule), "{ip}");
        assert_eq!(check(&busy, ip), Err(Denial::OwnListener), "{ip}");
    }
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
        "10.0.0.0/8:0",
        "10.0.0.0/8:+443",
        "10.0.0.0/8:0-99",
        "[::1",
        "[::1]80",
    ] {
        assert!(text.parse::<Rule>().is_err(), "{text}");
    }
}

#[test]
fn replaced_rules_hold_in_all_clones_and_not_in_what_was_built_from_them() {
    let address = "10.0.0.1:80".parse().unwrap();
    let open = Policy::default().allow("10.0.0.0/8".parse().unwrap());
    let shared = Policy::default();
    let clone = shared.clone();
    let own = shared.clone().deny("10.0.0.0/9".parse().unwrap());
    assert_eq!(clone.check(address), Err(Denial::Private));
    shared.replace(&open);
    assert_eq!(clone.check(address), Ok(address));
    assert_eq!(own.check(address), Err(Denial::Rule));
}
