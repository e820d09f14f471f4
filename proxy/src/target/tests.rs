//! Parsing of hosts and targets.

use super::*;

fn target(text: &str) -> Result<String, TargetError> {
    Target::parse(text, None).map(|t| t.to_string())
}

#[test]
fn names_and_addresses_are_told_apart() {
    assert!(matches!(Host::parse("example.com"), Ok(Host::Name(_))));
    assert!(matches!(
        Host::parse("xn--bcher-kva.example."),
        Ok(Host::Name(_))
    ));
    assert_eq!(
        Host::parse("192.0.2.1"),
        Ok(Host::Ip([192, 0, 2, 1].into()))
    );
    assert_eq!(Host::parse("::1"), Ok(Host::Ip(Ipv6Addr::LOCALHOST.into())));
    assert_eq!(
        Host::parse("[::1]"),
        Ok(Host::Ip(Ipv6Addr::LOCALHOST.into()))
    );
}

#[test]
fn authority_round_trips() {
    for text in ["example.com:443", "192.0.2.1:1", "[2001:db8::1]:65535"] {
        assert_eq!(target(text).as_deref(), Ok(text));
    }
}

#[test]
fn default_port_stands_in_where_none_is_written() {
    assert_eq!(Target::parse("a.example", Some(80)).unwrap().port(), 80);
    assert_eq!(Target::parse("[::1]", Some(80)).unwrap().port(), 80);
    assert_eq!(Target::parse("a.example:81", Some(80)).unwrap().port(), 81);
    assert_eq!(target("a.example"), Err(TargetError::Port));
}

#[test]
fn nonsense_is_refused() {
    for text in [
        ":80",
        "a b:80",
        "user@host:80",
        "a/b:80",
        "::1:80",
        "[::1:80",
        "[1.2.3.4]:80",
        "h\u{e9}.example:80",
        "a\r\nb:80",
        "a%00:80",
        ".example:80",
        "a\0:80",
    ] {
        assert_eq!(target(text), Err(TargetError::Host), "{text:?}");
    }
    for text in ["", "a:", "a:0", "a:65536", "a:+80", "a:-1", "a:8O"] {
        assert_eq!(target(text), Err(TargetError::Port), "{text:?}");
    }
    assert_eq!(Host::parse(&"a".repeat(256)), Err(TargetError::Host));
    assert!(Host::parse(&"a".repeat(255)).is_ok());
}
