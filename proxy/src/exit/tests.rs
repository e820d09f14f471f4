//! What a key's options permit.

use super::*;

fn target(text: &str) -> Target {
    Target::parse(text, None).unwrap()
}

#[test]
fn permitopen_names_hosts_as_typed_and_ports() {
    let permit = Permit::Only(vec![
        ("db.example".into(), Some(5432)),
        ("2001:db8::1".into(), Some(22)),
        ("web.example".into(), None),
    ]);
    for allowed in ["DB.example:5432", "[2001:db8::1]:22", "web.example:1"] {
        assert!(permit.allows(&target(allowed)), "{allowed}");
    }
    for refused in ["db.example:5433", "other.example:5432", "[2001:db8::1]:23"] {
        assert!(!permit.allows(&target(refused)), "{refused}");
    }
    assert!(Permit::All.allows(&target("a.example:1")));
    assert!(!Permit::Nothing.allows(&target("a.example:80")));
}
