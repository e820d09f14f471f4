//! A list that a settings file may write as one text: `server = "a"` for `server = ["a"]`.
//! For serde's `with`; what the texts mean is decided elsewhere.

use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

#[derive(Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Reads a text or a list of texts.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    OneOrMore::deserialize(from).map(|read| match read {
        OneOrMore::One(text) => vec![text],
        OneOrMore::More(texts) => texts,
    })
}

/// Writes a text where there is one, else the list.
pub(super) fn serialize<S: Serializer>(texts: &[String], to: S) -> Result<S::Ok, S::Error> {
    match texts {
        [text] => text.serialize(to),
        texts => texts.serialize(to),
    }
}
