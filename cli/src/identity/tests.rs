//! Keys made by ssh-keygen, keys others can read, and host keys made twice at once.

use std::{os::unix::fs::PermissionsExt as _, thread};

use super::*;
use crate::{
    agent::testing::{agent, keys},
    prompt::{Nobody, testing::Script},
};

/// Made with `ssh-keygen -t ed25519 -N ''` for these tests; it opens nothing.
const PLAIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
    b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
    QyNTUxOQAAACCpyK2gyHWlsC3A+cUCvPYZtEu6cjyt36aIfqchdTaB4wAAAIgItCnOCLQp\n\
    zgAAAAtzc2gtZWQyNTUxOQAAACCpyK2gyHWlsC3A+cUCvPYZtEu6cjyt36aIfqchdTaB4w\n\
    AAAEBaefJ8Bysx6rRsfWDNxv+zU6cnYZQMlJAW0Nqi1L0pKanIraDIdaWwLcD5xQK89hm0\n\
    S7pyPK3fpoh+pyF1NoHjAAAAA2FkYQEC\n\
    -----END OPENSSH PRIVATE KEY-----\n";
const PLAIN_PRINT: &str = "SHA256:vSd2jjRSeXDO1L1A7ISiHZW4mEw4C8678Cj6UjErTBs";

/// Made with `ssh-keygen -t ed25519 -N secret -a 2` for these tests; it opens nothing.
const LOCKED: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
    b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDukzJSx5\n\
    W7j4HAWxYYZ+p8AAAAAgAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIKPUUgKWGvRUdYdc\n\
    QBt+lRtiSuMCJPN1k7Im+MHAXnjmAAAAkDS4issrK4lmnBjgfw/UeCXUV3EH5BHr4WrWi1\n\
    M5EEnUivN5NWYrzE3SMm1ym5APEG7PVuuSip2r6GWfucRXj7yO8vh9ESch/tJoQdRN/vn5\n\
    F5aw/3/b3yQ9DykS+Sr3mzdS84gT3ZvTIH7TF6qf1nTvOMsZixXH4XPT1Ry0nxT56m4pbW\n\
    iRhcd4NUTmG8XUAQ==\n\
    -----END OPENSSH PRIVATE KEY-----\n";
const LOCKED_PRINT: &str = "SHA256:XMTuScreAerAyTFNWzko75YWez8CPnZbwh8DchbRrEc";

/// Made with `ssh-keygen -t ecdsa -N ''` for these tests; it opens nothing.
const ECDSA: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
    b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS\n\
    1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQQ1B+4hJR4DsHEvrYU0Y9AE2AnYnsbT\n\
    ZVJ3M5u+d15tpt9fy4q6ROYbIEeKGVIhyV9/yLVGmxb0sJYUHwHlW90QAAAAoHrn/VN65/\n\
    1TAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBDUH7iElHgOwcS+t\n\
    hTRj0ATYCdiextNlUnczm753Xm2m31/LirpE5hsgR4oZUiHJX3/ItUabFvSwlhQfAeVb3R\n\
    AAAAAhAPw3hyTf/xHJi5gPQmi2eMKBrR/3PuKcLlPWbBr5zst3AAAAB3Jvb3RAdm0=\n\
    -----END OPENSSH PRIVATE KEY-----\n";

fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    file
}

fn print(identity: &Identity) -> String {
    identity.public_key().fingerprint()
}

/// The one key that was found.
fn only(mut found: Vec<Identity>) -> Identity {
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn key_of_ssh_keygen_is_loaded() {
    let file = file(PLAIN, 0o600);
    let identity = only(load(Some(file.path()), &Nobody).unwrap());
    assert_eq!(print(&identity), PLAIN_PRINT);
}

#[test]
fn encrypted_key_asks_for_its_passphrase() {
    let file = file(LOCKED, 0o600);
    let person = Script::of(&["wrong", "secret"]);
    let identity = only(load(Some(file.path()), &person).unwrap());
    assert_eq!(print(&identity), LOCKED_PRINT);
    let asked = person.questions.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].contains(&file.path().display().to_string()));
}

#[test]
fn three_wrong_passphrases_are_enough() {
    let file = file(LOCKED, 0o600);
    let person = Script::of(&["a", "b", "c", "secret"]);
    let error = load(Some(file.path()), &person).unwrap_err();
    assert!(matches!(error, IdentityError::Passphrase(_)), "{error}");
    assert_eq!(person.questions.lock().unwrap().len(), PASSPHRASE_ATTEMPTS);
}

#[test]
fn encrypted_key_without_a_terminal_is_refused() {
    let file = file(LOCKED, 0o600);
    let error = load(Some(file.path()), &Nobody).unwrap_err();
    assert!(matches!(error, IdentityError::NoTerminal(_)), "{error}");
}

#[test]
fn key_others_can_read_is_refused() {
    for mode in [0o640, 0o644, 0o604] {
        let file = file(PLAIN, mode);
        let error = load(Some(file.path()), &Nobody).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("{mode:04o}")) && text.contains("chmod 600"),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_ed25519_key_is_refused_with_the_reason() {
    let wrong = file(ECDSA, 0o600);
    let error = load(Some(wrong.path()), &Nobody).unwrap_err();
    let IdentityError::Kind { kind, .. } = &error else {
        panic!("{error}");
    };
    assert!(kind.starts_with("ecdsa"), "{kind}");

    for text in [
        "",
        "hello",
        &PLAIN[..200],
        &PLAIN.replace("b3BlbnNza", "c3BlbnNza"),
    ] {
        let wrong = file(text, 0o600);
        let error = load(Some(wrong.path()), &Nobody).unwrap_err();
        assert!(matches!(error, IdentityError::Format(_)), "{text}: {error}");
    }
}

#[test]
fn missing_key_is_answered_with_the_command_that_makes_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("id_ed25519");
    let error = load(Some(&path), &Nobody).unwrap_err();
    let wanted = format!("ssh-keygen -t ed25519 -f {}", path.display());
    assert!(error.to_string().contains(&wanted), "{error}");
}

#[test]
fn host_key_is_made_once_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("conf/host_key");
    let made = load_or_make_host_key(&path, &Nobody).unwrap();
    assert!(made.is_new);
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1, "no draft is left behind");

    let loaded = load_or_make_host_key(&path, &Nobody).unwrap();
    assert!(!loaded.is_new);
    assert_eq!(print(&loaded.identity), print(&made.identity));
}

#[test]
fn host_keys_differ() {
    let dir = tempfile::tempdir().unwrap();
    let one = load_or_make_host_key(&dir.path().join("one"), &Nobody).unwrap();
    let two = load_or_make_host_key(&dir.path().join("two"), &Nobody).unwrap();
    assert_ne!(print(&one.identity), print(&two.identity));
    assert_ne!(print(&ephemeral()), print(&ephemeral()));
}

#[test]
fn host_key_that_is_damaged_or_exposed_is_not_replaced() {
    for (text, mode) in [("hello", 0o600), (PLAIN, 0o644)] {
        let file = file(text, mode);
        load_or_make_host_key(file.path(), &Nobody).unwrap_err();
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn host_key_present_when_it_is_to_appear_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host_key");
    let prints = thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| make(&path).unwrap()))
            .collect();
        starts
            .into_iter()
            .map(|s| s.join().unwrap())
            .filter(|&made| made)
            .count()
    });
    assert_eq!(prints, 1, "one of them made it");
    load(Some(&path), &Nobody).unwrap();
}

fn public(text: &str) -> [u8; 32] {
    let key = PrivateKey::from_openssh(text).unwrap();
    key.public_key().key_data().ed25519().unwrap().0
}

/// Loads a key where an agent has `held` and the default file is `default`.
fn load_beside(
    held: &[(&str, &[u8])],
    default: &Path,
    path: Option<&Path>,
) -> Result<Vec<Identity>, IdentityError> {
    let (_dir, agent, _) = agent(vec![keys(held)]);
    let place = Place {
        agent: Some(&agent),
        default: Some(default.to_owned()),
    };
    load_from(&place, path, &Nobody)
}

const NOWHERE: &str = "/nowhere/id_ed25519";

#[test]
fn encrypted_key_that_the_agent_has_needs_no_passphrase() {
    let locked = file(LOCKED, 0o600);
    let held = public(LOCKED);
    for path in [None, Some(locked.path())] {
        let held = [("ssh-ed25519", &[1; 32][..]), ("ssh-ed25519", &held)];
        let identity = only(load_beside(&held, locked.path(), path).unwrap());
        assert_eq!(print(&identity), LOCKED_PRINT);
    }
    let other: [(&str, &[u8]); 1] = [("ssh-ed25519", &[1; 32])];
    let error = load_beside(&other, locked.path(), Some(locked.path())).unwrap_err();
    assert!(matches!(error, IdentityError::NoTerminal(_)), "{error}");
}

#[test]
fn key_that_can_be_read_is_used_before_those_of_the_agent() {
    let plain = file(PLAIN, 0o600);
    let held: [(&str, &[u8]); 1] = [("ssh-ed25519", &[1; 32])];
    for path in [None, Some(plain.path())] {
        let identity = only(load_beside(&held, plain.path(), path).unwrap());
        assert_eq!(print(&identity), PLAIN_PRINT);
    }
}

#[test]
fn without_a_file_all_usable_keys_of_the_agent_are_tried_in_its_order() {
    let held: [(&str, &[u8]); 3] = [
        ("ssh-rsa", &[0; 3]),
        ("ssh-ed25519", &[2; 32]),
        ("ssh-ed25519", &[3; 32]),
    ];
    let wanted = [2, 3].map(|byte| PublicKey::from_bytes([byte; 32]));
    let found = load_beside(&held, Path::new(NOWHERE), None).unwrap();
    assert!(found.iter().map(Identity::public_key).eq(wanted));
    // One that is named is wanted and no other.
    let error = load_beside(&held, Path::new(NOWHERE), Some(Path::new(NOWHERE))).unwrap_err();
    assert!(matches!(error, IdentityError::Missing(_)), "{error}");
}

#[test]
fn an_agent_full_of_keys_is_not_tried_to_its_end() {
    let keys: Vec<[u8; 32]> = (0..20).map(|byte| [byte; 32]).collect();
    let held: Vec<(&str, &[u8])> = keys.iter().map(|key| ("ssh-ed25519", &key[..])).collect();
    let found = load_beside(&held, Path::new(NOWHERE), None).unwrap();
    assert_eq!(found.len(), MOST_TRIED);
}

#[test]
fn public_half_chooses_among_the_keys_of_the_agent() {
    let key = PublicKey::from_bytes([3; 32]);
    let named = file(&format!("{} ada@home\n", openssh::format_key(&key)), 0o644);
    let held: [(&str, &[u8]); 2] = [("ssh-ed25519", &[2; 32]), ("ssh-ed25519", &[3; 32])];
    let found = load_beside(&held, Path::new(NOWHERE), Some(named.path())).unwrap();
    assert_eq!(print(&only(found)), key.fingerprint());
    let error = load_beside(&held[..1], Path::new(NOWHERE), Some(named.path())).unwrap_err();
    assert!(matches!(error, IdentityError::PublicOnly { .. }), "{error}");
}

#[test]
fn other_kinds_of_keys_are_named_with_what_to_do() {
    let held: [(&str, &[u8]); 2] = [
        ("ssh-rsa", &[0; 3]),
        ("sk-ssh-ed25519@openssh.com", &[0; 3]),
    ];
    let error = load_beside(&held, Path::new(NOWHERE), None)
        .unwrap_err()
        .to_string();
    for wanted in [
        NOWHERE,
        "sk-ssh-ed25519@openssh.com, ssh-rsa",
        "ssh-keygen -t ed25519",
    ] {
        assert!(error.contains(wanted), "{error}");
    }
    let rsa = file("ssh-rsa AAAAB3NzaC1yc2E= old@home\n", 0o644);
    let error = load_beside(&held, Path::new(NOWHERE), Some(rsa.path())).unwrap_err();
    assert!(error.to_string().contains("of type ssh-rsa"), "{error}");
    let place = Place {
        agent: None,
        default: Some(PathBuf::from(NOWHERE)),
    };
    let error = load_from(&place, None, &Nobody).unwrap_err().to_string();
    assert!(error.contains("SSH_AUTH_SOCK"), "{error}");
}
