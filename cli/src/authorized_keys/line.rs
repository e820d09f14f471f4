//! One line of `authorized_keys` taken apart. What an option means is told in `options`.

use rp_protocol::crypto::identity::PublicKey;

use super::options::Options;
use crate::openssh::{self, KEY_TYPE};

/// Longest comment kept: it goes into logs.
const MAX_COMMENT: usize = 100;

/// A key, its options or why they cannot be honoured, and its comment.
pub(super) type Line = (PublicKey, Result<Options, String>, String);

/// The key in `line`; `None` if it is empty or a comment.
pub(super) fn parse(line: &str) -> Result<Option<Line>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (options, rest) = if is_key_type(split_word(line).0) {
        ("", line)
    } else {
        let end = options_end(line).ok_or("a quotation mark is missing")?;
        (&line[..end], line[end..].trim_start_matches(is_blank))
    };
    let (kind, rest) = split_word(rest);
    let (base64, comment) = split_word(rest);
    if base64.is_empty() {
        return Err("not options, a key type and a key".to_owned());
    }
    let key = openssh::parse_key(kind, base64).map_err(|error| error.to_string())?;
    let comment = comment.escape_debug().take(MAX_COMMENT).collect();
    Ok(Some((key, Options::parse(options), comment)))
}

/// The first word of `text` and what follows the blanks after it.
fn split_word(text: &str) -> (&str, &str) {
    let end = text.find(is_blank).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start_matches(is_blank))
}

/// What separates the parts of a line.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Whether `word` begins a line without options.
fn is_key_type(word: &str) -> bool {
    word == KEY_TYPE
        || ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"]
            .iter()
            .any(|prefix| word.starts_with(prefix) && !word.contains(['=', ',', '"']))
}

/// Where the options end: at the first blank that is not in quotation marks. A `\"` is no quotation
/// mark, whatever stands before it, and no other backslash means anything, as in sshd.
fn options_end(line: &str) -> Option<usize> {
    let mut is_quoted = false;
    let mut before = None;
    for (at, c) in line.char_indices() {
        match c {
            '"' if before != Some('\\') => is_quoted = !is_quoted,
            _ if is_blank(c) && !is_quoted => return Some(at),
            _ => {}
        }
        before = Some(c);
    }
    (!is_quoted).then_some(line.len())
}
