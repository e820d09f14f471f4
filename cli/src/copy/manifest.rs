//! `--manifest`: the BLAKE3 digests of what was copied, in the format that `b3sum -c` reads, written to a file or
//! compared with one that is there.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use rp_transfer::{
    batch::Failure,
    error::Error,
    message::{Done, Status},
};

use super::{CopyError, location::printable_path, say::hex};

/// A digest and the path of its file.
pub(super) type Digests = Vec<([u8; 32], Vec<u8>)>;

/// A file of digests.
#[derive(Debug)]
pub(super) struct Manifest {
    path: PathBuf,
    /// What it says, if it is there.
    expected: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads the file at `path`, if there is one.
    pub(super) fn open(path: &Path) -> Result<Self, CopyError> {
        let failed = |error| CopyError::Transfer(Error::io(printable_path(path), error));
        let mut text = Vec::new();
        let expected = match File::open(path) {
            Ok(mut file) => {
                file.read_to_end(&mut text).map_err(failed)?;
                let parsed = parse(&String::from_utf8_lossy(&text));
                Some(parsed.ok_or_else(|| CopyError::Manifest(printable_path(path)))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        Ok(Self {
            path: path.to_owned(),
            expected,
        })
    }

    /// Compares what was copied with what the file says, or writes the file. Gives what differs.
    pub(super) fn finish(self, mut copied: Digests) -> Result<Vec<Failure>, CopyError> {
        copied.sort_by(|a, b| a.1.cmp(&b.1));
        match self.expected {
            Some(expected) => Ok(compare(expected, &copied)),
            None => {
                let written = write(&self.path, &copied);
                let failed = |error| Error::io(printable_path(&self.path), error);
                written.map_err(failed)?;
                Ok(Vec::new())
            }
        }
    }
}

fn compare(mut expected: BTreeMap<String, String>, copied: &Digests) -> Vec<Failure> {
    let mut differing = Vec::new();
    let mut add = |path: &[u8], status, text: &str| {
        differing.push(Failure {
            path: path.to_vec(),
            why: Done {
                status,
                text: text.to_owned(),
            },
        });
    };
    for (digest, path) in copied {
        match expected.remove(&String::from_utf8_lossy(path).into_owned()) {
            Some(wanted) if wanted == hex(digest) => {}
            Some(_) => add(
                path,
                Status::Integrity,
                "copied, and not what the manifest says",
            ),
            None => add(path, Status::Integrity, "copied, and not in the manifest"),
        }
    }
    for path in expected.into_keys() {
        add(
            path.as_bytes(),
            Status::NotFound,
            "in the manifest, and not copied",
        );
    }
    differing
}

/// Writes a new file, whole or not at all.
fn write(path: &Path, digests: &Digests) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".part");
    let mut file = io::BufWriter::new(File::create(&partial)?);
    for (digest, path) in digests {
        file.write_all(line(digest, path).as_bytes())?;
    }
    file.into_inner()?.sync_all()?;
    std::fs::rename(&partial, path)
}

/// As `b3sum` prints it: a `\` stands before a digest whose path has `\` or line breaks, which are escaped.
pub(super) fn line(digest: &[u8; 32], path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let escaped = path
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    let mark = if escaped == path { "" } else { "\\" };
    format!("{mark}{}  {escaped}\n", hex(digest))
}

/// Digests by path; `None` if it is something else.
fn parse(text: &str) -> Option<BTreeMap<String, String>> {
    text.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(String, String)> {
    let (is_escaped, line) = match line.strip_prefix('\\') {
        Some(line) => (true, line),
        None => (false, line),
    };
    let (digest, path) = line.split_at_checked(64)?;
    let path = path.strip_prefix("  ")?;
    let is_digest = digest.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_digest || path.is_empty() {
        return None;
    }
    let path = match is_escaped {
        true => unescaped(path)?,
        false => path.to_owned(),
    };
    Some((path, digest.to_ascii_lowercase()))
}

fn unescaped(path: &str) -> Option<String> {
    let mut chars = path.chars();
    let mut out = String::new();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_b3sum() {
        let digest = *blake3::hash(b"abc").as_bytes();
        let hex = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        assert_eq!(line(&digest, b"a/b c"), format!("{hex}  a/b c\n"));
        // b3sum 1.5 prints so.
        assert_eq!(line(&digest, b"a\\b\nc"), format!("\\{hex}  a\\\\b\\nc\n"));
        for path in ["a", "a\\b", "a\nb\r", " a"] {
            let parsed = parse(&line(&digest, path.as_bytes())).unwrap();
            assert_eq!(parsed.get(path).map(String::as_str), Some(hex), "{path:?}");
        }
        for text in [
            "x",
            "  a\n",
            &format!("{hex} a"),
            &format!("{hex}  "),
            &format!("\\{hex}  \\x"),
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_differs_from_a_manifest_is_told() {
        let digest = |text: &str| *blake3::hash(text.as_bytes()).as_bytes();
        let written: String = ["same", "other", "gone"]
            .map(|name| line(&digest(name), name.as_bytes()))
            .concat();
        let copied = vec![
            (digest("same"), b"same".to_vec()),
            (digest("changed"), b"other".to_vec()),
            (digest("new"), b"new".to_vec()),
        ];
        let differing = compare(parse(&written).unwrap(), &copied);
        let told: Vec<_> = differing
            .iter()
            .map(|failure| (failure.path.as_slice(), failure.why.status))
            .collect();
        assert_eq!(
            told,
            [
                (&b"other"[..], Status::Integrity),
                (b"new", Status::Integrity),
                (b"gone", Status::NotFound),
            ]
        );
    }
}
