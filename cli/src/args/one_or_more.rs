//! A list that a settings file may write as one text: `server = "a"` for `server = ["a"]`.
//! For serde's `with`; what the texts mean is decided elsewhere.

use std::fmt;

use serde::{
    Deserializer, Serialize as _, Serializer,
    de::{Error, SeqAccess, Visitor},
};

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Vec<String>, A::Error> {
        let mut list = Vec::new();
        while let Some(text) = texts.next_element()? {
            list.push(text);
        }
        Ok(list)
    }
}

/// Reads a text or a list of texts.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(OneOrMore)
}

/// Writes a text where there is one, else the list.
pub(super) fn serialize<S: Serializer>(texts: &[String], to: S) -> Result<S::Ok, S::Error> {
    match texts {
        [text] => text.serialize(to),
        texts => texts.serialize(to),
    }
}
