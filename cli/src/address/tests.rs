//! What can be typed for an address.

use super::*;

#[test]
fn hosts_and_ports_are_taken_apart() {
    for (text, parts) in [
        ("host", ("host", None)),
        ("host:1", ("host", Some("1"))),
        ("host:", ("host", Some(""))),
        (":1", ("", Some("1"))),
        ("::1", ("::1", None)),
        ("[::1]", ("::1", None)),
        ("[::1]:1", ("::1", Some("1"))),
        ("fe80::1%eth0", ("fe80::1%eth0", None)),
        ("[fe80::1%eth0.7]:7377", ("fe80::1%eth0.7", Some("7377"))),
        ("[fe80::1%2]:7377", ("fe80::1%2", Some("7377"))),
    ] {
        assert_eq!(split(text), Some(parts), "{text}");
    }
    for text in [
        "[::1",
        "[::1]1",
        "[host]:1",
        "[10.0.0.1]:1",
        "[fe80::1%]:1",
        "[fe80::1%a b]",
        "[fe80::1%a%b]",
        "[%eth0]:1",
    ] {
        assert_eq!(split(text), None, "{text}");
    }
}

#[test]
fn what_is_no_host_is_told() {
    for host in ["host", "10.0.0.1", "::1", "fe80::1%eth0", "a-b_c.d"] {
        assert!(is_host(host), "{host}");
    }
    for host in ["", "a b", "a/b", "a@b", "[a]", "a%b", "a:b", "a\n"] {
        assert!(!is_host(host), "{host:?}");
    }
}

#[tokio::test]
async fn address_of_the_local_link_is_reached_by_its_interface() {
    let lo = resolve("fe80::1%lo", 7377).await.unwrap();
    let wanted = SocketAddrV6::new("fe80::1".parse().unwrap(), 7377, 0, 1);
    assert_eq!(lo, [SocketAddr::from(wanted)]);
    let third = resolve("fe80::1%3", 7377).await.unwrap();
    assert!(matches!(third[..], [SocketAddr::V6(addr)] if addr.scope_id() == 3));
    for (host, wanted) in [
        ("fe80::1", "[fe80::1%eth0]"),
        ("fe80::1%nowhere9", "no network interface nowhere9"),
        ("2001:db8::1%lo", "write 2001:db8::1"),
    ] {
        let error = resolve(host, 1).await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{host}: {error}");
    }
}

#[tokio::test]
async fn addresses_to_listen_on_may_be_short() {
    for (text, wanted) in [
        ("127.0.0.1:1080", "127.0.0.1:1080"),
        ("[::1]:1080", "[::1]:1080"),
        ("[::]:0", "[::]:0"),
        (":1080", "[::]:1080 0.0.0.0:1080"),
        ("*:1080", "[::]:1080 0.0.0.0:1080"),
        ("1080", "192.0.2.1:1080"),
        ("[fe80::1%7]:1080", "[fe80::1%7]:1080"),
    ] {
        let address: ListenAddress = text.parse().unwrap();
        let found = address.resolve("192.0.2.1".parse().unwrap()).await.unwrap();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), wanted, "{text}");
        assert_eq!(address.to_string().parse(), Ok(address), "{text}");
    }
    let localhost: ListenAddress = "localhost:1080".parse().unwrap();
    let found = localhost.resolve(Ipv4Addr::UNSPECIFIED.into()).await;
    let found = found.unwrap();
    assert!(
        found.iter().all(|addr| addr.ip().is_loopback()),
        "{found:?}"
    );
    assert!(found[0].is_ipv4() || found.iter().all(SocketAddr::is_ipv6));
}

#[test]
fn what_is_no_address_to_listen_on_is_refused() {
    for text in [
        "",
        ":",
        "*",
        "localhost",
        "127.0.0.1",
        "::1",
        "host:",
        "host:65536",
        "host:+1",
        "host:x",
        "-1",
        "65536",
        "http://127.0.0.1:1080",
        "127.0.0.1:1080/",
        "a b:1",
        "[::1]1080",
    ] {
        assert_eq!(
            text.parse::<ListenAddress>(),
            Err(ListenAddressError),
            "{text}"
        );
    }
}
