//! What the two halves of a copy tell each other, and what one finds on its disk.

use rp_transfer::fuzz as targets;
use serde_json::Value;

use crate::mutate::fuzz;

/// Bytes of a length prefix.
const PREFIX: usize = 4;

/// The messages that are accepted, with their length prefixes, and of which kind each is.
fn messages() -> Vec<(String, Vec<u8>)> {
    let vectors = include_str!("../../../spec/vectors/copy.json");
    let vectors: Value = serde_json::from_str(vectors).expect("the vectors are JSON");
    let accepted = vectors["accepted"].as_array().expect("a list").iter();
    let message = |vector: &Value| {
        let hex = vector["hex"].as_str().expect("bytes");
        let digits = hex.as_bytes().chunks(2);
        let digits = digits.map(|pair| str::from_utf8(pair).expect("ASCII"));
        let bytes = digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits"));
        let kind = vector["message"].as_str().unwrap_or_default();
        (kind.to_owned(), bytes.collect())
    };
    accepted.map(message).collect()
}

#[test]
fn messages_of_copies() {
    let mut seeds: Vec<Vec<u8>> = messages().into_iter().map(|(_, bytes)| bytes).collect();
    let bodies: Vec<_> = seeds.iter().map(|seed| seed[PREFIX..].to_vec()).collect();
    seeds.push(seeds.concat());
    seeds.extend(bodies);
    fuzz(&seeds, targets::messages);
}

#[test]
fn batches_of_small_files() {
    let entries = messages().into_iter().filter(|(kind, _)| kind == "entry");
    let mut seeds: Vec<Vec<u8>> = entries
        .map(|(_, entry)| [&entry[..], b"content of a small file"].concat())
        .collect();
    assert!(seeds.len() > 1, "no entries among the vectors");
    seeds.push(seeds.concat());
    fuzz(&seeds, targets::batch);
}

#[test]
fn paths_of_peers() {
    fuzz(
        &[
            &b"dir/file"[..],
            b"a//b/./c/",
            b"../x",
            b"/etc/passwd",
            b"a\nb",
            b".x.rp-partial",
        ],
        targets::paths,
    );
}

#[test]
fn journals_of_partial_files() {
    fuzz(
        &[
            &b"\0\0\0\0\0\x30\0\0"[..],
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\0\0\0\0\0\x01rest",
            b"rpj1",
        ],
        targets::journal,
    );
}
