//! Lines found, skipped and added.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;

fn key(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

fn list() -> (tempfile::TempDir, KnownHosts) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rapidpath/known_hosts");
    (dir, KnownHosts::new(path))
}

fn host() -> HostName {
    HostName::new("Server.Example", 7377)
}

#[test]
fn name_is_the_form_openssh_writes() {
    assert_eq!(host().to_string(), "[server.example]:7377");
    assert_eq!(HostName::new("::1", 7).to_string(), "[::1]:7");
    assert_eq!(HostName::new("[::1]", 7), HostName::new("::1", 7));
}

#[test]
fn without_a_file_nobody_is_known() {
    let (_dir, list) = list();
    assert!(list.lookup(&host()).unwrap().is_empty());
}

#[test]
fn key_added_is_found_again_for_its_host_and_port_only() {
    let (_dir, list) = list();
    list.add(&host(), &key(1)).unwrap();
    list.add(&HostName::new("server.example", 1), &key(2))
        .unwrap();

    let found = list.lookup(&host()).unwrap();
    let wanted = KnownKey {
        key: key(1),
        line: 1,
        is_revoked: false,
    };
    assert_eq!(found, [wanted]);
    assert!(
        list.lookup(&HostName::new("example", 7377))
            .unwrap()
            .is_empty()
    );
    let mode = list.path().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn line_left_open_by_an_editor_is_closed_first() {
    let (_dir, list) = list();
    list.add(&host(), &key(1)).unwrap();
    let text = fs::read_to_string(list.path()).unwrap();
    fs::write(list.path(), text.trim_end()).unwrap();
    list.add(&host(), &key(2)).unwrap();
    let keys: Vec<_> = list
        .lookup(&host())
        .unwrap()
        .into_iter()
        .map(|k| k.key)
        .collect();
    assert_eq!(keys, [key(1), key(2)]);
}

#[test]
fn comments_several_names_and_revoked_keys_are_understood() {
    let (_dir, list) = list();
    list.add(&host(), &key(0)).unwrap();
    let [one, two] = [1, 2].map(|byte| openssh::format_key(&key(byte)));
    let text = format!(
        "# a comment\n\n[old]:1,[SERVER.example]:7377 {one} ada's\n@revoked [server.example]:7377 {two}\n"
    );
    fs::write(list.path(), text).unwrap();
    let found = list.lookup(&host()).unwrap();
    let seen: Vec<_> = found
        .iter()
        .map(|k| (k.key, k.line, k.is_revoked))
        .collect();
    assert_eq!(seen, [(key(1), 3, false), (key(2), 4, true)]);
}

/// The lines of `text` that are for `host`, with whether they revoke.
fn lines(text: &str, host: &HostName) -> Vec<(usize, bool)> {
    let (_dir, list) = list();
    list.add(&HostName::new("other", 1), &key(0)).unwrap();
    fs::write(list.path(), text).unwrap();
    let found = list.lookup(host).unwrap();
    found.iter().map(|k| (k.line, k.is_revoked)).collect()
}

#[test]
fn patterns_name_the_hosts_they_fit() {
    let key = openssh::format_key(&key(1));
    for (names, is_for) in [
        ("[server.example]:7377", true),
        ("*", true),
        ("[*]:7377", true),
        ("[*.example]:7377", true),
        ("[*.EXAMPLE]:7377", true),
        ("[server.?xample]:*", true),
        ("[a]:1,[server.*]:73??", true),
        ("[*.example]:7378", false),
        ("[*.example.org]:7377", false),
        ("*.example", false),
        ("server.example", false),
        ("*,![server.example]:7377", false),
        ("![server.*]:*,[*]:7377", false),
        ("![other]:7377,[*]:7377", true),
        ("![other]:7377", false),
    ] {
        let expected = if is_for { vec![(1, false)] } else { vec![] };
        assert_eq!(
            lines(&format!("{names} {key}\n"), &host()),
            expected,
            "{names}"
        );
    }
}

#[test]
fn revoked_names_may_stand_without_a_port() {
    let key = openssh::format_key(&key(1));
    for names in [
        "*",
        "server.example",
        "*.example",
        "[server.example]:7377",
        "x,SERVER.*",
    ] {
        let text = format!("[server.example]:7377 {key}\n@revoked {names} {key}\n");
        assert_eq!(lines(&text, &host()), [(1, false), (2, true)], "{names}");
    }
    for names in ["*.org", "*,!server.example", "[server.example]:1"] {
        let text = format!("@revoked {names} {key}\n");
        assert_eq!(lines(&text, &host()), [], "{names}");
    }
    let v6 = HostName::new("2001:db8::1", 7377);
    assert_eq!(
        lines(&format!("@revoked 2001:db8::* {key}\n"), &v6),
        [(1, true)]
    );
}

#[test]
fn hashed_names_are_found() {
    // By `ssh-keygen -H` from `[server.example]:7377`.
    let hashed = "|1|V6irV1J0tbo+lSgqXdVXSzlmbQ4=|JJSii5Whl9D4jFYqHRAGqxEbvCg=";
    let key = openssh::format_key(&key(1));
    let text = format!("{hashed} {key}\n@revoked {hashed} {key}\n|1|!|! {key}\n|2|a|b {key}\n");
    assert_eq!(lines(&text, &host()), [(1, false), (2, true)]);
    assert_eq!(lines(&text, &HostName::new("server.example", 7378)), []);
}

#[test]
fn lines_not_understood_are_skipped() {
    let (_dir, list) = list();
    list.add(&host(), &key(0)).unwrap();
    let good = openssh::format_key(&key(7));
    let text = format!(
        "|1|abc=|def= {good}\n@cert-authority [server.example]:7377 {good}\n\
         [server.example]:7377\n[server.example]:7377 ssh-rsa AAAA\n\u{fffd} {good}\n\
         [server.example]:7377 {good}\n"
    );
    fs::write(list.path(), text).unwrap();
    let found = list.lookup(&host()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].key, found[0].line), (key(7), 6));
}

#[test]
fn list_others_can_change_is_not_trusted() {
    let (_dir, list) = list();
    list.add(&host(), &key(1)).unwrap();
    fs::set_permissions(list.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let error = list.lookup(&host()).unwrap_err();
    assert!(error.to_string().contains("chmod go-w"), "{error}");
}

#[test]
fn name_that_would_forge_a_line_is_not_written() {
    let (_dir, list) = list();
    for name in ["a b", "a\nb", "a,b", "#a", "\u{e4}"] {
        let error = list.add(&HostName::new(name, 1), &key(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
    }
    assert!(!list.path().exists());
}
