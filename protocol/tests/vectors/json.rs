//! Reading of vector files: a missing or mistyped field fails the test that asked for it.

use std::path::PathBuf;

use serde_json::Value;

/// The file `spec/vectors/<name>.json`.
pub(crate) fn load(name: &str) -> Value {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.extend(["..", "spec", "vectors", name]);
    path.set_extension("json");
    let text = std::fs::read_to_string(&path).expect("a vector file");
    serde_json::from_str(&text).expect("JSON")
}

/// A list; never empty, so that no test passes by testing nothing.
pub(crate) fn array<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    let list = object[field].as_array().expect(field);
    assert!(!list.is_empty(), "{field} is empty");
    list
}

/// A number, or a decimal string where JSON readers would round it.
pub(crate) fn number(object: &Value, field: &str) -> u64 {
    as_number(&object[field]).expect(field)
}

/// The number `value` stands for.
pub(crate) fn as_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().expect(field)
}

pub(crate) fn flag(object: &Value, field: &str, default: bool) -> bool {
    match &object[field] {
        Value::Null => default,
        value => value.as_bool().expect(field),
    }
}

/// The bytes of a hexadecimal field; spaces are ignored.
pub(crate) fn hex(object: &Value, field: &str) -> Vec<u8> {
    let digits: String = text(object, field).split_whitespace().collect();
    assert!(digits.len().is_multiple_of(2), "{digits}");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits"))
        .collect()
}
