//! What a page says that commands print, against what they did print.
//!
//! A line is found if it stands in the output, after the line before it. `...` stands for any text. A word
//! that ends in `...`, as `SHA256:...`, is also remembered with what stood there last: commands that come
//! later mean that by it, as a reader puts in what he has seen.

use std::collections::BTreeMap;

/// Any text, in a page.
const ANY: &str = "...";

/// What words that end in `...` stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Captures(BTreeMap<String, String>);

impl Captures {
    /// `script` with the words it has from earlier outputs.
    pub(super) fn apply(&self, script: &str) -> String {
        let longest_first = self.0.iter().rev();
        longest_first.fold(script.to_owned(), |text, (word, value)| {
            text.replace(word, value)
        })
    }

    /// Looks for the lines `expected` in `output`, and remembers what their words stand for.
    ///
    /// # Errors
    /// The first line that is not there.
    pub(super) fn look<'a>(&mut self, expected: &'a [String], output: &str) -> Result<(), &'a str> {
        let mut lines = output.lines();
        let mut found = Vec::new();
        for pattern in expected {
            if pattern.trim() == ANY || pattern.trim().is_empty() {
                continue;
            }
            let line = lines.find(|line| is_match(pattern.trim(), line.trim()));
            found.push((pattern, line.ok_or(&**pattern)?));
        }
        for (pattern, line) in found {
            self.remember(pattern, line);
        }
        Ok(())
    }

    fn remember(&mut self, pattern: &str, line: &str) {
        for word in pattern.split_whitespace() {
            let Some(begin) = word.strip_suffix(ANY).filter(|begin| !begin.is_empty()) else {
                continue;
            };
            let seen = line.split_whitespace().find(|seen| seen.starts_with(begin));
            if let Some(seen) = seen {
                self.0.insert(word.to_owned(), seen.to_owned());
            }
        }
    }
}

/// Whether `line` is `pattern`, whose `...` stand for any text.
fn is_match(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
