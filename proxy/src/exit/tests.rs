//! What a key's options let it reach.

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
