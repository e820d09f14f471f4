//! What is in a folder, as an FTP server tells it, made into HTML. The lines are for people (RFC 959
//! section 4.1.3): those of Unix and Windows servers are understood, others shown as they are.

use std::fmt::Write as _;

/// Longest line taken; the rest of a longer one is left out.
const MAX_LINE_BYTES: usize = 8 << 10;

/// One line of a listing.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    name: &'a str,
    is_folder: bool,
    size: &'a str,
    date: String,
}

/// Makes rows out of bytes that come in pieces.
#[derive(Debug)]
pub(super) struct Rows {
    /// The folder's path as it stands in links, ending with a slash.
    base: String,
    line: Vec<u8>,
}

impl Rows {
    /// Rows of the folder `path`, as its URL spells it.
    pub(super) fn new(path: &str) -> Self {
        let base = match path {
            "" => "/".to_owned(),
            path => format!("/{path}/"),
        };
        Self {
            base,
            line: Vec::new(),
        }
    }

    /// What stands before the rows.
    pub(super) fn head(&self, host: &str) -> String {
        let title = escape(&format!("ftp://{host}{}", self.base));
        let mut head = format!(
            "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
             <body><h1>{title}</h1>\n<table>\n"
        );
        if self.base != "/" {
            head.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
        }
        head
    }

    /// The rows that `data` completes.
    pub(super) fn push(&mut self, data: &[u8]) -> String {
        let mut rows = String::new();
        for &byte in data {
            match byte {
                b'\n' => self.finish_line(&mut rows),
                _ if self.line.len() < MAX_LINE_BYTES => self.line.push(byte),
                _ => {}
            }
        }
        rows
    }

    /// What stands behind the rows, and the last one if its line had no end.
    pub(super) fn finish(&mut self) -> String {
        let mut rows = String::new();
        self.finish_line(&mut rows);
        rows.push_str("</table></body></html>\n");
        rows
    }

    fn finish_line(&mut self, rows: &mut String) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        let line = line.trim_end_matches('\r');
        if line.is_empty() || line.starts_with("total ") {
            return;
        }
        let row = match unix(line).or_else(|| windows(line)) {
            Some(entry) if matches!(entry.name, "." | "..") => return,
            Some(entry) => {
                let slash = if entry.is_folder { "/" } else { "" };
                format!(
                    "<tr><td><a href=\"{}{}{slash}\">{}{slash}</a></td><td>{}</td><td>{}</td></tr>",
                    escape(&self.base),
                    encode(entry.name),
                    escape(entry.name),
                    escape(entry.size),
                    escape(&entry.date),
                )
            }
            None => format!("<tr><td colspan=\"3\">{}</td></tr>", escape(line)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(rows, "{row}");
    }
}

/// `-rw-r--r-- 1 owner group 1234 Jan 31 12:34 name`, a name behind one blank more being part of it.
fn unix(line: &str) -> Option<Entry<'_>> {
    let kind = line
        .chars()
        .next()
        .filter(|kind| "-dlbcps".contains(*kind))?;
    let mut rest = line;
    let mut words = [""; 8];
    for word in &mut words {
        rest = rest.trim_start();
        let end = rest.find(' ')?;
        (*word, rest) = rest.split_at(end);
    }
    let [mode, _, _, _, size, month, day, time] = words;
    let name = rest.strip_prefix(' ')?;
    let name = match kind {
        'l' => name.split_once(" -> ").map_or(name, |(name, _)| name),
        _ => name,
    };
    let is_number = size.bytes().all(|b| b.is_ascii_digit());
    (mode.len() >= 10 && is_number && !name.is_empty()).then(|| Entry {
        name,
        is_folder: kind == 'd',
        size: if kind == '-' { size } else { "" },
        date: format!("{month} {day} {time}"),
    })
}

/// `01-31-26  12:34PM       <DIR>          name`, or the size for `<DIR>`.
fn windows(line: &str) -> Option<Entry<'_>> {
    let (date, rest) = line.split_once(' ')?;
    let (time, rest) = rest.trim_start().split_once(' ')?;
    let (size, name) = rest.trim_start().split_once(' ')?;
    let is_date = date.len() >= 8 && date.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let is_folder = size == "<DIR>";
    let is_number = size.bytes().all(|b| b.is_ascii_digit());
    let name = if is_folder { name.trim_start() } else { name };
    (is_date && (is_folder || is_number) && !name.is_empty()).then(|| Entry {
        name,
        is_folder,
        size: if is_folder { "" } else { size },
        date: format!("{date} {time}"),
    })
}

/// `text` as it stands in HTML, between tags and in quotation marks.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

/// `name` as one part of a URL's path.
fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => out.push(char::from(b)),
            b => {
                let _ = write!(out, "%{b:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(lines: &str) -> String {
        let mut rows = Rows::new("pub/a%20b");
        let mut out = String::new();
        // Byte by byte: a line is one however it comes.
        for byte in lines.as_bytes() {
            out.push_str(&rows.push(&[*byte]));
        }
        out + &rows.finish()
    }

    #[test]
    fn names_become_links() {
        let html = rows(
            "total 8\r\n-rw-r--r--    1 ftp      ftp          1234 Jan 31 12:34 big file.iso\r\n\
             drwxr-xr-x 2 ftp ftp 4096 Jan 31  2025 dir\r\n\
             lrwxrwxrwx 1 ftp ftp 7 Jan 31 2025 now -> then\r\n\
             01-31-26  12:34PM       <DIR>          Windows dir\r\n\
             01-31-26  12:34PM                 5678 old.txt\r\n",
        );
        for row in [
            "<a href=\"/pub/a%20b/big%20file.iso\">big file.iso</a></td><td>1234</td><td>Jan 31 12:34<",
            "<a href=\"/pub/a%20b/dir/\">dir/</a></td><td></td>",
            "<a href=\"/pub/a%20b/now\">now</a>",
            "<a href=\"/pub/a%20b/Windows%20dir/\">Windows dir/</a>",
            "<a href=\"/pub/a%20b/old.txt\">old.txt</a></td><td>5678</td>",
        ] {
            assert!(html.contains(row), "{row}\n{html}");
        }
        assert!(!html.contains("total"), "{html}");
    }

    #[test]
    fn a_name_is_text_and_never_markup() {
        let html =
            rows("-rw-r--r-- 1 a b 1 Jan 1 2026 <script>\"'&\r\nwhatever <b>this</b> is\r\n");
        assert!(
            html.contains("&lt;script&gt;&quot;&#39;&amp;</a>"),
            "{html}"
        );
        assert!(
            html.contains("whatever &lt;b&gt;this&lt;/b&gt; is"),
            "{html}"
        );
        assert!(
            !html.contains("<script>") && !html.contains("<b>"),
            "{html}"
        );
    }

    #[test]
    fn an_endless_line_is_cut() {
        let html = rows(&"a".repeat(100_000));
        assert!(html.len() < 10_000);
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut rows = Rows::new("");
            rows.push(&bytes);
            prop_assert!(rows.finish().ends_with("</html>\n"));
        }
    }
}
