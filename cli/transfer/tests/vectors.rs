//! The messages of `spec/vectors/copy.json` in both directions.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside of test functions fail the test that calls them"
)]

use rp_reduce::chunk::{Chunk, Scale};
use rp_transfer::message::{
    Again, Attributes, Chunks, CopyId, Data, Decoder, Delta, Depth, Digest, Done, Durability,
    Entry, Get, GetBatch, Groups, Kind, List, MakeFolder, Message, Modified, Put, PutBatch, Ranges,
    Ready, Remove, RemoveBatch, Resume, Sent, Status, There, Version, Want,
};
use rp_transfer::xattrs::Xattrs;
use serde_json::Value;

fn vectors(list: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/copy.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let list = file[list].as_array().expect(list).clone();
    assert!(!list.is_empty());
    list
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn text(case: &Value, field: &str) -> String {
    case[field].as_str().expect(field).to_owned()
}

fn attributes(case: &Value) -> Attributes {
    Attributes {
        size: case["size"].as_u64(),
        mode: case["mode"].as_u64().map(|mode| mode.try_into().unwrap()),
        modified: case["modified"].as_array().map(|parts| Modified {
            seconds: parts[0].as_i64().unwrap(),
            nanos: parts[1].as_u64().unwrap().try_into().unwrap(),
        }),
    }
}

fn durability(case: &Value) -> Durability {
    match case["durability"].as_str() {
        Some("file") => Durability::File,
        Some("none") => Durability::None,
        _ => Durability::Batch,
    }
}

fn bytes(case: &Value, field: &str) -> Vec<u8> {
    case[field].as_str().unwrap_or_default().as_bytes().to_vec()
}

fn xattrs(case: &Value) -> Xattrs {
    let digits = case["xattrs"].as_str();
    digits.map_or_else(Xattrs::default, |digits| {
        Xattrs::from_bytes(&hex(digits)).unwrap()
    })
}

fn version(case: &Value) -> Option<Version> {
    let digits = case["version"].as_str();
    digits.map(|digits| hex(digits).try_into().unwrap())
}

fn copy(case: &Value) -> Option<CopyId> {
    let digits = case["copy"].as_str();
    digits.map(|digits| hex(digits).try_into().unwrap())
}

fn ranges(case: &Value, field: &str) -> Option<Ranges> {
    let pair = |range: &Value| (range[0].as_u64().unwrap(), range[1].as_u64().unwrap());
    let ranges = case[field].as_array();
    ranges.map(|ranges| ranges.iter().map(pair).collect())
}

fn scale(case: &Value) -> Scale {
    let scale = case["scale"].as_u64().unwrap();
    Scale::from_wire(scale.try_into().unwrap()).unwrap()
}

/// The messages about parts of a file.
fn part_message(case: &Value) -> Message {
    let ranges = || ranges(case, "ranges").unwrap();
    match text(case, "message").as_str() {
        "data" => Message::Data(Data {
            stream: case["stream"].as_u64().unwrap(),
            ranges: ranges(),
        }),
        "groups" => Message::Groups(Groups {
            first: case["first"].as_u64().unwrap(),
            values: vec![hex(&text(case, "value")).try_into().unwrap()],
        }),
        "again" => Message::Again(Again { ranges: ranges() }),
        "there" => Message::There(There {
            marks: case["marks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|mark| hex(mark.as_str().unwrap()).try_into().unwrap())
                .collect(),
        }),
        "sent" => Message::Sent(Sent {
            size: case["size"].as_u64().unwrap(),
        }),
        "delta" => Message::Delta(Delta {
            stream: case["stream"].as_u64().unwrap(),
            scale: scale(case),
        }),
        "chunks" => Message::Chunks(Chunks {
            chunks: vec![Chunk {
                length: case["length"].as_u64().unwrap(),
                id: <[u8; 16]>::try_from(hex(&text(case, "id"))).unwrap().into(),
            }],
        }),
        "want" => Message::Want(Want {
            through: case["through"].as_u64().unwrap(),
            ranges: ranges(),
            taken: case["taken"].as_u64().unwrap_or(0),
        }),
        unknown => panic!("{unknown} is no message"),
    }
}

/// The messages about trees.
fn tree_message(case: &Value) -> Message {
    let path = bytes(case, "path");
    let is = |field: &str| case[field].as_bool().unwrap_or(false);
    match text(case, "message").as_str() {
        "list" => Message::List(List {
            path,
            depth: match case["depth"].as_u64() {
                Some(1) => Depth::Entries,
                Some(2) => Depth::All,
                _ => Depth::Itself,
            },
            follow: is("follow"),
            journal: is("journal"),
            copy: copy(case),
            verify: is("verify"),
            one_file_system: is("one_file_system"),
            xattrs: is("with_xattrs"),
            count: case["count"]
                .as_u64()
                .map(|count| count.try_into().unwrap()),
            pattern: bytes(case, "pattern"),
        }),
        "entry" => Message::Entry(Entry {
            path,
            kind: match text(case, "kind").as_str() {
                "file" => Kind::File,
                "folder" => Kind::Folder,
                "link" => Kind::Link,
                "hard-link" => Kind::HardLink,
                _ => Kind::Other,
            },
            attributes: attributes(case),
            target: bytes(case, "target"),
            digest: case["digest"]
                .as_str()
                .map(|digits| hex(digits).try_into().unwrap()),
            version: version(case),
            is_mount: is("mount"),
            same: case["same"]
                .as_str()
                .map(|digits| hex(digits).try_into().unwrap()),
            xattrs: xattrs(case),
            failure: case["status"].as_u64().map(|status| Done {
                status: Status::from_wire(status),
                text: text(case, "text"),
            }),
        }),
        "put-batch" => Message::PutBatch(PutBatch {
            stream: case["stream"].as_u64().unwrap(),
            path,
            preserve: is("preserve"),
            durability: durability(case),
            last: is("last"),
            copy: copy(case),
            after: case["after"].as_u64().unwrap_or(0),
            sparse: is("sparse"),
        }),
        "get-batch" => Message::GetBatch(GetBatch {
            path,
            count: case["count"].as_u64().unwrap().try_into().unwrap(),
            xattrs: is("with_xattrs"),
        }),
        "remove-batch" => Message::RemoveBatch(RemoveBatch {
            path,
            count: case["count"].as_u64().unwrap().try_into().unwrap(),
        }),
        "make-folder" => Message::MakeFolder(MakeFolder { path }),
        "remove" => Message::Remove(Remove {
            path,
            recursive: is("recursive"),
        }),
        _ => part_message(case),
    }
}

fn message(case: &Value) -> Message {
    match text(case, "message").as_str() {
        "put" => Message::Put(Put {
            stream: case["stream"].as_u64().unwrap(),
            path: text(case, "path").into_bytes(),
            name: text(case, "name").into_bytes(),
            attributes: attributes(case),
            preserve: case["preserve"].as_bool().unwrap(),
            tree: case["tree"].as_bool().unwrap_or(false),
            durability: durability(case),
            version: version(case),
            resume: match case["resume"].as_str() {
                Some("never") => Resume::Never,
                Some("verify") => Resume::Verify,
                _ => Resume::Auto,
            },
            copy: copy(case),
            folder: case["folder"]
                .as_str()
                .map(|folder| folder.as_bytes().to_vec()),
            sparse: case["sparse"].as_bool().unwrap_or(false),
            holds: ranges(case, "holds"),
            xattrs: xattrs(case),
        }),
        "get" => Message::Get(Get {
            path: text(case, "path").into_bytes(),
            version: version(case),
            missing: ranges(case, "missing"),
            xattrs: case["with_xattrs"].as_bool().unwrap_or(false),
            sparse: case["sparse"].as_bool().unwrap_or(false),
            older: case["older"].as_u64(),
        }),
        "ready" => Message::Ready(Ready {
            stream: case["stream"].as_u64(),
            attributes: attributes(case),
            version: version(case),
            missing: ranges(case, "missing"),
            holds: ranges(case, "holds"),
            xattrs: xattrs(case),
            older: case["older"].as_u64(),
            scale: case["scale"].is_u64().then(|| scale(case)),
        }),
        "digest" => Message::Digest(Digest {
            size: case["size"].as_u64().unwrap(),
            digest: hex(&text(case, "digest")).try_into().unwrap(),
        }),
        "working" => Message::Working,
        "done" => Message::Done(Done {
            status: Status::from_wire(case["status"].as_u64().unwrap()),
            text: text(case, "text"),
        }),
        _ => tree_message(case),
    }
}

#[test]
fn messages_are_those_of_the_vectors() {
    for case in vectors("accepted") {
        let bytes = hex(&text(&case, "hex"));
        let mut decoder = Decoder::new();
        decoder.push(&bytes);
        assert_eq!(decoder.next_message(), Ok(Some(message(&case))), "{case}");
        assert_eq!(decoder.finish(), Ok(()), "{case}");
        if case["canonical"] != Value::Bool(false) {
            let mut out = Vec::new();
            message(&case).encode(&mut out);
            assert_eq!(out, bytes, "{case}");
        }
    }
}

#[test]
fn what_the_vectors_refuse_is_refused_with_their_status() {
    for case in vectors("refused") {
        let mut decoder = Decoder::new();
        decoder.push(&hex(&text(&case, "hex")));
        let error = decoder.next_message().expect_err(&text(&case, "why"));
        let status = Status::from_wire(case["status"].as_u64().unwrap());
        assert_eq!(error.status(), status, "{case}");
    }
}
