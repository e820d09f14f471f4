//! What a key's options let it reach, and how much of it.

use super::*;

fn target(text: &str) -> Target {
    Target::parse(text, None).unwrap()
}

#[test]
fn permitopen_names_hosts_as_typed_and_ports() {
    let access = TargetAccess::Only(vec![
        ("db.example".into(), Some(5432)),
        ("2001:db8::1".into(), Some(22)),
        ("web.example".into(), None),
    ]);
    for allowed in ["DB.example:5432", "[2001:db8::1]:22", "web.example:1"] {
        assert!(access.allows(&target(allowed)), "{allowed}");
    }
    for refused in ["db.example:5433", "other.example:5432", "[2001:db8::1]:23"] {
        assert!(!access.allows(&target(refused)), "{refused}");
    }
    let any_host = TargetAccess::Only(vec![("*".to_owned(), Some(80))]);
    assert!(any_host.allows(&target("a.example:80")) && any_host.allows(&target("[::1]:80")));
    assert!(!any_host.allows(&target("a.example:81")));
    assert!(TargetAccess::All.allows(&target("a.example:1")));
    assert!(!TargetAccess::Nothing.allows(&target("a.example:80")));
}

#[test]
fn one_client_may_have_ten_thousand_targets_by_default_and_leaves_as_many_to_others() {
    let config = ExitConfig::default();
    assert!(config.max_targets_per_connection() >= 10_000);
    assert!(config.max_targets_per_connection() < config.max_targets_per_key);
    assert!(config.max_targets_per_key * 2 <= config.max_targets);
}

#[test]
fn a_port_that_the_system_forbids_is_told_with_the_capability_and_is_no_denial() {
    let failure = listen::port_failure(&std::io::ErrorKind::PermissionDenied.into());
    assert_ne!(failure.kind, FailureKind::Denied);
    assert!(
        failure.reason.contains("CAP_NET_BIND_SERVICE"),
        "{failure:?}"
    );
    let taken = listen::port_failure(&std::io::ErrorKind::AddrInUse.into());
    assert!(!taken.reason.contains("CAP_"), "{taken:?}");
}
