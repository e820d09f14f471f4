//! Which destinations are loops.

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn is_ours(ip: IpAddr) -> bool {
    ip == addr("192.168.1.1:0").ip() || ip.is_loopback()
}

//= spec/10-proxy.md#transparent
//= type=test
//# A transparent front end MUST refuse what was to go to one of its own listeners or to the server
//# it is connected to.
#[test]
fn the_listener_and_the_server_are_loops_whatever_family_they_are_spelt_in() {
    let find = |original: &str, listener: &str, server: &str| {
        let (listener, server) = (Some(addr(listener)), Some(addr(server)));
        find_loop(canonical(addr(original)), listener, server, is_ours)
    };
    let server = "203.0.113.9:7377";
    for (original, listener, expected) in [
        ("203.0.113.9:7377", "127.0.0.1:1081", Some(Loop::Server)),
        (
            "[::ffff:203.0.113.9]:7377",
            "127.0.0.1:1081",
            Some(Loop::Server),
        ),
        ("203.0.113.9:443", "127.0.0.1:1081", None),
        ("203.0.113.8:7377", "127.0.0.1:1081", None),
        ("127.0.0.1:1081", "127.0.0.1:1081", Some(Loop::Listener)),
        ("127.0.0.1:1081", "0.0.0.0:1081", Some(Loop::Listener)),
        ("192.168.1.1:1081", "[::]:1081", Some(Loop::Listener)),
        (
            "[::ffff:192.168.1.1]:1081",
            "[::]:1081",
            Some(Loop::Listener),
        ),
        ("[::1]:1081", "[::1]:1081", Some(Loop::Listener)),
        ("0.0.0.0:1081", "127.0.0.1:1081", Some(Loop::Listener)),
        ("192.168.1.1:1080", "[::]:1081", None),
        ("198.51.100.7:1081", "[::]:1081", None),
    ] {
        assert_eq!(
            find(original, listener, server),
            expected,
            "{original} {listener}"
        );
    }
}

#[test]
fn a_loop_is_refused_and_counted() {
    let counters = Arc::<TransparentCounters>::default();
    let guard = LoopGuard::at(Some(addr("127.0.0.1:1081")), counters.clone());
    let server = Some(addr("203.0.113.9:7377"));
    assert!(guard.permit(addr("203.0.113.9:7377"), server).is_none());
    assert!(guard.permit(addr("127.0.0.1:1081"), server).is_none());
    assert_eq!(counters.loops(), 2);
    let target = guard.permit(addr("203.0.113.9:80"), server);
    assert_eq!(target.unwrap().to_string(), "203.0.113.9:80");
    assert!(guard.permit(addr("203.0.113.9:0"), server).is_none());
    assert_eq!(counters.loops(), 2);
}
