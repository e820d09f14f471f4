//! Servers known, unknown, changed and revoked.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::{
    openssh,
    prompt::{Nobody, testing::Script},
};

fn key(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

fn host() -> HostName {
    HostName::new("server", 7377)
}

struct Setting {
    _dir: tempfile::TempDir,
    list: KnownHosts,
    policy: HostKeyPolicy,
}

fn setting() -> Setting {
    let dir = tempfile::tempdir().unwrap();
    let list = KnownHosts::new(dir.path().join("known_hosts"));
    Setting {
        policy: HostKeyPolicy::known(host(), list.clone()),
        list,
        _dir: dir,
    }
}

#[test]
fn fingerprint_given_is_the_only_key_trusted() {
    let wanted = key(1).fingerprint().parse().unwrap();
    let policy = HostKeyPolicy::fingerprint(host(), wanted, None);
    policy.verify(&key(1)).unwrap();
    let PeerRejected(text) = policy.verify(&key(2)).unwrap_err();
    assert!(text.contains(&key(1).fingerprint()) && text.contains(&key(2).fingerprint()));
    assert_eq!(policy.unknown(), None, "there is nothing to ask");
}

#[test]
fn a_key_that_was_told_by_other_means_is_the_only_one_trusted() {
    //= spec/20-copy.md#over-ssh
    //= type=test
    //# The client MUST accept no key but the one that the far side said.
    let policy = HostKeyPolicy::key(host(), &key(1));
    policy.verify(&key(1)).unwrap();
    let PeerRejected(text) = policy.verify(&key(2)).unwrap_err();
    assert!(text.contains(&key(1).fingerprint()) && text.contains(&key(2).fingerprint()));
    assert_eq!(policy.unknown(), None, "there is nothing to ask");
}

#[test]
fn known_key_is_trusted_and_nobody_is_asked() {
    let s = setting();
    s.list.add(&host(), &key(1)).unwrap();
    s.policy.verify(&key(1)).unwrap();
    s.policy.settle(&Nobody).unwrap();
}

#[test]
fn unknown_key_is_refused_then_asked_about_then_trusted_and_remembered() {
    let s = setting();
    s.policy.verify(&key(1)).unwrap_err();
    assert_eq!(s.policy.unknown(), Some(key(1)));

    let person = Script::of(&["yes"]);
    s.policy.settle(&person).unwrap();
    assert!(person.questions.lock().unwrap()[0].contains(&key(1).fingerprint()));
    s.policy.verify(&key(1)).unwrap();

    let later = HostKeyPolicy::known(host(), s.list);
    later.verify(&key(1)).unwrap();
}

#[test]
fn fingerprint_typed_as_the_answer_must_be_the_right_one() {
    for (typed, is_right) in [(key(1), true), (key(2), false)] {
        let s = setting();
        s.policy.verify(&key(1)).unwrap_err();
        let person = Script::of(&[&typed.fingerprint()]);
        assert_eq!(s.policy.settle(&person).is_ok(), is_right);
        assert_eq!(s.policy.verify(&key(1)).is_ok(), is_right);
    }
}

#[test]
fn no_and_silence_and_mumbling_mean_no() {
    for answers in [&["no"][..], &[], &["y", "ok", "sure", "yes"]] {
        let s = setting();
        s.policy.verify(&key(1)).unwrap_err();
        let error = s.policy.settle(&Script::of(answers)).unwrap_err();
        assert_eq!(error, HostKeyError::Declined(host()));
        s.policy.verify(&key(1)).unwrap_err();
        assert!(!s.list.path().exists());
    }
}

#[test]
fn mumbling_may_be_corrected() {
    let s = setting();
    s.policy.verify(&key(1)).unwrap_err();
    s.policy.settle(&Script::of(&["y", "yes"])).unwrap();
}

#[test]
fn without_a_terminal_an_unknown_key_stays_refused() {
    let s = setting();
    s.policy.verify(&key(1)).unwrap_err();
    let error = s.policy.settle(&Nobody).unwrap_err();
    let wanted = format!("--host-key {}", key(1).fingerprint());
    assert!(error.to_string().contains(&wanted), "{error}");
    s.policy.verify(&key(1)).unwrap_err();
}

#[test]
fn changed_key_is_refused_with_both_fingerprints_and_the_way_out() {
    let s = setting();
    s.list.add(&host(), &key(1)).unwrap();
    let PeerRejected(text) = s.policy.verify(&key(2)).unwrap_err();
    for part in [
        "HAS CHANGED",
        &key(1).fingerprint(),
        &key(2).fingerprint(),
        "line 1",
        "ssh-keygen -R '[server]:7377' -f ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(s.policy.unknown(), None, "there is nothing to ask");
}

#[test]
fn another_key_than_the_one_accepted_is_refused() {
    let s = setting();
    s.policy.verify(&key(1)).unwrap_err();
    s.policy.settle(&Script::of(&["yes"])).unwrap();
    let PeerRejected(text) = s.policy.verify(&key(2)).unwrap_err();
    assert!(text.contains("HAS CHANGED"), "{text}");
}

#[test]
fn several_known_keys_are_all_trusted() {
    let s = setting();
    s.list.add(&host(), &key(1)).unwrap();
    s.list.add(&host(), &key(2)).unwrap();
    s.policy.verify(&key(1)).unwrap();
    s.policy.verify(&key(2)).unwrap();
}

#[test]
fn revoked_key_is_refused_even_if_it_is_known_too() {
    let s = setting();
    s.list.add(&host(), &key(1)).unwrap();
    let text = fs::read_to_string(s.list.path()).unwrap();
    let line = format!(
        "@revoked {host} {}\n",
        openssh::format_key(&key(1)),
        host = host()
    );
    fs::write(s.list.path(), text + &line).unwrap();
    let PeerRejected(text) = s.policy.verify(&key(1)).unwrap_err();
    assert!(text.contains("revoked"), "{text}");
    assert_eq!(s.policy.unknown(), None);
}

#[test]
fn revoked_key_is_refused_even_if_its_fingerprint_was_given() {
    let s = setting();
    let wanted = key(1).fingerprint().parse().unwrap();
    let policy = HostKeyPolicy::fingerprint(host(), wanted, Some(s.list.clone()));
    // What else the list has for the host means nothing.
    s.list.add(&host(), &key(2)).unwrap();
    policy.verify(&key(1)).unwrap();
    let line = format!("@revoked * {}\n", openssh::format_key(&key(1)));
    fs::write(s.list.path(), line).unwrap();
    let PeerRejected(text) = policy.verify(&key(1)).unwrap_err();
    assert!(text.contains("revoked"), "{text}");
}

#[test]
fn list_that_cannot_be_written_does_not_undo_a_yes() {
    let s = setting();
    s.policy.verify(&key(1)).unwrap_err();
    // A folder under the list's name stops root too, whom modes do not.
    fs::create_dir(s.list.path()).unwrap();
    s.policy.settle(&Script::of(&["yes"])).unwrap();
    fs::remove_dir(s.list.path()).unwrap();
    s.policy.verify(&key(1)).unwrap();
    let PeerRejected(text) = s.policy.verify(&key(2)).unwrap_err();
    assert!(text.contains("HAS CHANGED"), "{text}");
    assert_eq!(s.policy.unknown(), None, "a second key is not asked about");
}

#[test]
fn list_others_can_change_trusts_nobody_and_asks_nothing() {
    let s = setting();
    s.list.add(&host(), &key(1)).unwrap();
    fs::set_permissions(s.list.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let PeerRejected(text) = s.policy.verify(&key(1)).unwrap_err();
    assert!(text.contains("chmod go-w"), "{text}");
    assert_eq!(s.policy.unknown(), None);
}
