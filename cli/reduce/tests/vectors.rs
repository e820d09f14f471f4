//! The cuts of `spec/vectors/cuts.json`.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

use rp_reduce::chunk::{Chunk, Chunker, Scale};
use serde_json::Value;

/// The bytes a case is about: so many bytes of the output of BLAKE3 over its seed, and then so many zeros.
fn content(case: &Value) -> Vec<u8> {
    let number = |field: &str| usize::try_from(case[field].as_u64().unwrap()).unwrap();
    let mut bytes = vec![0; number("bytes")];
    let seed = case["seed"].as_str().unwrap();
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(seed.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes.resize(bytes.len() + number("zeros"), 0);
    bytes
}

fn described(chunk: &Chunk) -> Value {
    serde_json::json!([chunk.length, format!("{:?}", chunk.id)])
}

#[test]
fn chunks_are_those_of_the_vectors() {
    //= spec/30-reduction.md#chunks
    //= type=test
    //# The number of each value of a byte MUST be taken from the output of BLAKE3 over the sentence `Rapidpath cuts
    //# where the content says.`, 8 big-endian bytes each, from value 0 to 255.
    //= spec/30-reduction.md#chunk-ids
    //= type=test
    //# The id of a chunk MUST be the first 16 bytes of BLAKE3 over its bytes.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/cuts.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = file["cuts"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let scale = u8::try_from(case["scale"].as_u64().unwrap()).unwrap();
        let mut chunker = Chunker::new(Scale::from_wire(scale).unwrap());
        let mut chunks = Vec::new();
        chunker.push(&content(case), &mut chunks);
        chunks.extend(chunker.finish());
        let chunks: Vec<_> = chunks.iter().map(described).collect();
        assert_eq!(Value::Array(chunks), case["chunks"], "{case}");
    }
}
