//! The header byte for byte, and which targets a rule means.

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_header_over_ipv4_has_28_bytes() {
    let header = encode(addr("192.0.2.7:40000"), addr("198.51.100.9:443"));
    let expected = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
        &[192, 0, 2, 7, 198, 51, 100, 9],
        &[0x9c, 0x40, 0x01, 0xbb],
    ];
    assert_eq!(header, expected.concat());
}

#[test]
fn a_header_over_ipv6_has_52_bytes() {
    let header = encode(addr("[2001:db8::7]:1"), addr("[2001:db8::9]:2"));
    assert_eq!(header[12..16], [0x21, 0x21, 0, 36]);
    assert_eq!(header.len(), 52);
    assert_eq!(header[16..18], [0x20, 0x01]);
    assert_eq!(header[31], 7);
    assert_eq!(header[47], 9);
    assert_eq!(header[48..], [0, 1, 0, 2]);
}

#[test]
fn addresses_of_two_families_are_written_as_ipv6() {
    let header = encode(addr("192.0.2.7:1"), addr("[2001:db8::9]:2"));
    assert_eq!(header[13], 0x21);
    let mapped = Ipv6Addr::from_bits(u128::from_be_bytes(header[16..32].try_into().unwrap()));
    assert_eq!(mapped.to_string(), "::ffff:192.0.2.7");
    // One that is mapped already is what it is.
    let header = encode(addr("[::ffff:192.0.2.7]:1"), addr("198.51.100.9:2"));
    assert_eq!(header[13], 0x11);
}

#[test]
fn a_pattern_means_hosts_as_typed_and_ports() {
    let fits = |pattern: &str, target: &str| {
        let pattern: TargetPattern = pattern.parse().unwrap();
        pattern.fits(&Target::parse(target, None).unwrap())
    };
    assert!(fits("web.example:80", "WEB.example:80"));
    assert!(!fits("web.example:80", "web.example:81"));
    assert!(!fits("web.example:80", "192.0.2.1:80"));
    assert!(fits("*:80", "[::1]:80") && fits("web.example:*", "web.example:9"));
    assert!(fits("[0:0::1]:80", "[::1]:80"));
    for wrong in [
        "",
        "web.example",
        "web.example:",
        "web.example:0",
        "::1:80",
        "a b:1",
        "h:+1",
    ] {
        assert_eq!(
            wrong.parse::<TargetPattern>(),
            Err(TargetPatternError),
            "{wrong}"
        );
    }
    assert_eq!(
        "[::1]:80".parse::<TargetPattern>().unwrap().to_string(),
        "[::1]:80"
    );
    assert_eq!("*:*".parse::<TargetPattern>().unwrap().to_string(), "*:*");
}
