//! An agent of the test's own, and answers that are none.

use rp_protocol::crypto::identity::PublicKey;

use super::{
    testing::{agent, framed, strings},
    *,
};

/// The answer of an agent that has an RSA key, a FIDO key and an Ed25519 key.
fn three_keys() -> Vec<u8> {
    let mut answer = vec![IDENTITIES_ANSWER, 0, 0, 0, 3];
    let rsa = strings(&[b"ssh-rsa", &[1, 0, 1], &[0; 257]]);
    let fido = strings(&[b"sk-ssh-ed25519@openssh.com", &[9; 32], b"ssh:"]);
    let ours = strings(&[b"ssh-ed25519", &[7; 32]]);
    answer.extend(strings(&[
        &rsa,
        b"old",
        &fido,
        b"token",
        &ours,
        b"ada@home",
    ]));
    answer
}

#[test]
fn keys_are_listed_and_those_of_other_types_are_named() {
    let (_dir, agent, asked) = agent(vec![framed(&three_keys())]);
    let keys = agent.keys().unwrap();
    assert_eq!(asked.join().unwrap(), [[REQUEST_IDENTITIES]]);
    let seen: Vec<_> = keys
        .iter()
        .map(|key| (key.kind.as_str(), key.key, key.comment.as_str()))
        .collect();
    let ours = Some(PublicKey::from_bytes([7; 32]));
    let wanted = [
        ("ssh-rsa", None, "old"),
        ("sk-ssh-ed25519@openssh.com", None, "token"),
        ("ssh-ed25519", ours, "ada@home"),
    ];
    assert_eq!(seen, wanted);
}

#[test]
fn message_is_signed_with_the_key_asked_for() {
    let signature = strings(&[b"ssh-ed25519", &[5; 64]]);
    let answer = [&[SIGN_RESPONSE][..], &strings(&[&signature])].concat();
    let (_dir, agent, asked) = agent(vec![framed(&answer)]);
    let key = PublicKey::from_bytes([7; 32]);
    assert_eq!(agent.sign(&key, b"message").unwrap(), [5; 64]);
    let blob = strings(&[b"ssh-ed25519", &[7; 32]]);
    let request = [&[SIGN_REQUEST][..], &strings(&[&blob, b"message"]), &[0; 4]].concat();
    assert_eq!(asked.join().unwrap(), [request]);
}

#[test]
fn agent_that_says_no_is_told_from_one_that_talks_nonsense() {
    const FAILURE: u8 = 5;
    let rsa = strings(&[b"rsa-sha2-256", &[5; 64]]);
    let short = strings(&[b"ssh-ed25519", &[5; 63]]);
    let sign = |answer: Vec<u8>| {
        let (_dir, agent, _) = agent(vec![answer]);
        agent
            .sign(&PublicKey::from_bytes([7; 32]), b"")
            .unwrap_err()
    };
    assert!(matches!(sign(framed(&[FAILURE])), AgentError::Refused));
    for signature in [rsa, short] {
        let answer = [&[SIGN_RESPONSE][..], &strings(&[&signature])].concat();
        assert!(matches!(sign(framed(&answer)), AgentError::Nonsense));
    }
    assert!(matches!(sign(vec![0; 4]), AgentError::Nonsense));
    assert!(matches!(sign(vec![255; 4]), AgentError::Nonsense));
    assert!(matches!(sign(vec![0, 0, 0, 9, 1]), AgentError::Io { .. }));
    assert!(matches!(
        sign(b"SSH-2.0-OpenSSH".to_vec()),
        AgentError::Nonsense
    ));
}

#[test]
fn answer_cut_anywhere_is_nonsense_and_never_a_panic() {
    let whole = three_keys();
    for end in 0..whole.len() {
        assert_eq!(identities(&whole[..end]), None, "{end}");
    }
    let many = [&[IDENTITIES_ANSWER][..], &[255; 4]].concat();
    assert_eq!(identities(&many), None);
    assert_eq!(identities(&[IDENTITIES_ANSWER, 0, 0, 0, 0]), Some(vec![]));
}

#[test]
fn agent_that_is_not_there_is_named() {
    let error = Agent::new("/nowhere/agent".into()).keys().unwrap_err();
    assert!(error.to_string().contains("/nowhere/agent"), "{error}");
}
