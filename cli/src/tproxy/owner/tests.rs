//! Reading the kernel's tables.

use std::net::TcpListener;

use super::*;

#[test]
fn our_own_listener_is_found_with_our_user() {
    for any in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        let Ok(own) = TcpListener::bind(any) else {
            println!("SKIPPED our_own_listener_is_found_with_our_user: no {any}");
            continue;
        };
        let address = own.local_addr().unwrap();
        let user = rustix::process::geteuid().as_raw();
        assert_eq!(listener(address), Some(user), "{address}");
        drop(own);
        assert_eq!(listener(address), None);
    }
}

#[test]
fn only_users_of_services_are_a_loop_guard() {
    for (user, expected) in [
        (0, false),
        (101, true),
        (1000, false),
        (61184, true),
        (65534, false),
    ] {
        assert_eq!(is_system_user(user), expected, "{user}");
    }
}

#[test]
fn a_capability_is_read_from_the_status() {
    let status = |set: &str| format!("Name:\tsh\nCapPrm:\t0\nCapEff:\t{set}\nSeccomp:\t0\n");
    assert!(has(&status("000001ffffffffff"), CAP_NET_ADMIN));
    assert!(has(&status("0000000000001000"), CAP_NET_ADMIN));
    assert!(!has(&status("0000000000002000"), CAP_NET_ADMIN));
    assert!(!has(&status("0000000000000000"), CAP_NET_ADMIN));
}
