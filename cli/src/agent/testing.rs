//! Agents for tests: they say what they were told to say.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    thread,
};

use super::{Agent, put_string};

/// An agent that gives `answers` one after the other, and what it was asked.
pub(crate) fn agent(
    answers: Vec<Vec<u8>>,
) -> (tempfile::TempDir, Agent, thread::JoinHandle<Vec<Vec<u8>>>) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = thread::spawn(move || {
        let serve = |answer: Vec<u8>| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(&answer).unwrap();
            request
        };
        answers.into_iter().map(serve).collect()
    });
    (dir, Agent::new(socket), asked)
}

/// `message` with its length before it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, message);
    out
}

/// Strings one after the other, each with its length before it.
pub(crate) fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    parts.iter().for_each(|part| put_string(&mut out, part));
    out
}

/// The answer of an agent that has keys of these types, each with the bytes that follow its type.
pub(crate) fn keys(keys: &[(&str, &[u8])]) -> Vec<u8> {
    let mut answer = vec![super::IDENTITIES_ANSWER];
    answer.extend(u32::try_from(keys.len()).unwrap().to_be_bytes());
    for (kind, key) in keys {
        let blob = strings(&[kind.as_bytes(), key]);
        answer.extend(strings(&[&blob, b"comment"]));
    }
    framed(&answer)
}
