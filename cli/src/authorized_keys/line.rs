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
    let (options, rest) = if is_key_type(first_word(line)) {
        ("", line)
    } else {
        let end = options_end(line).ok_or("a quotation mark is missing")?;
        (&line[..end], line[end..].trim_start())
    };
    let mut words = rest.splitn(3, [' ', '\t']);
    let kind = words.next().unwrap_or_default();
    let Some(base64) = words.next() else {
        return Err("not options, a key type and a key".to_owned());
    };
    let key = openssh::parse_key(kind, base64.trim()).map_err(|error| error.to_string())?;
    let comment = words.next().unwrap_or_default().trim();
    let comment = comment.escape_debug().take(MAX_COMMENT).collect();
    Ok(Some((key, Options::parse(options), comment)))
}

fn first_word(line: &str) -> &str {
    line.split([' ', '\t']).next().unwrap_or_default()
}

/// Whether `word` begins a line without options.
fn is_key_type(word: &str) -> bool {
    word == KEY_TYPE
        || ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"]
            .iter()
            .any(|prefix| word.starts_with(prefix) && !word.contains(['=', ',', '"']))
}

/// Where the options end: at the first blank that is not in quotation marks.
fn options_end(line: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            '"' if !is_escaped => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted => return Some(at),
            _ => {}
        }
        is_escaped = is_quoted && c == '\\' && !is_escaped;
    }
    (!is_quoted).then_some(line.len())
}
