//! What fits a pattern of names, as a shell's `*.txt` does, one thing after another while it is looked for.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::OsStrExt,
    sync::Arc,
};

use globset::{GlobBuilder, GlobMatcher};
use rustix::{fs::Dir, io::Errno};

use crate::{
    error::Error,
    message::{Done, Entry, Kind, Status},
    path::{RemotePath, Root, is_partial, printable_path},
    walk::{Found, entry},
};

/// Most things that a pattern may fit, and most names of a folder that are looked at: what is in memory of them.
pub const MAX_FOUND: usize = 100_000;

/// Characters that make a name a pattern.
const SPECIAL: [u8; 3] = [b'*', b'?', b'['];

/// Whether a path has a name in it that is a pattern.
pub fn is_pattern(path: &[u8]) -> bool {
    path.iter().any(|byte| SPECIAL.contains(byte))
}

/// The folder before the first name that is a pattern, and the rest.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let special = path.iter().position(|byte| SPECIAL.contains(byte));
    let head = &path[..special.unwrap_or(path.len())];
    match head.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// What fits a pattern beneath a folder, in the order of the names.
pub struct Glob {
    root: Arc<Root>,
    base: RemotePath,
    names: Vec<Name>,
    /// Paths and how many names of them fit already; the next one is the last.
    waiting: Vec<(Vec<u8>, usize)>,
    found: usize,
    most: usize,
    is_over: bool,
}

/// One name of a pattern.
enum Name {
    Literal(OsString),
    Pattern(GlobMatcher, bool),
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Glob")
            .field("base", &self.base)
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

impl Glob {
    /// What fits `pattern` beneath `base`; if something is called just that, it alone.
    ///
    /// # Errors
    /// It is no pattern.
    pub fn new(root: Arc<Root>, base: RemotePath, pattern: &[u8]) -> Result<Self, Error> {
        let literal = RemotePath::parse_named(pattern)?;
        let is_there = root.look(&base.join(&literal)).is_ok();
        let mut names = Vec::new();
        for name in literal.to_bytes().split(|&byte| byte == b'/') {
            names.push(match is_pattern(name) && !is_there {
                true => Name::parse(name)?,
                false => Name::Literal(OsStr::from_bytes(name).to_owned()),
            });
        }
        Ok(Self {
            root,
            base,
            names,
            waiting: vec![(Vec::new(), 0)],
            found: 0,
            most: MAX_FOUND,
            is_over: false,
        })
    }

    /// Looks for the next name behind `path`; what fits is put to what waits.
    fn look_in(&mut self, path: &[u8], at: usize) -> Result<(), Error> {
        let name = match &self.names[at] {
            Name::Literal(name) => {
                let path = joined(path, name);
                if self.look(&path).is_ok() {
                    self.waiting.push((path, at + 1));
                }
                return Ok(());
            }
            pattern => pattern,
        };
        let folder = match self.root.folder(&self.whole(path)?) {
            Ok(folder) => folder,
            // What is no folder has nothing in it that could fit.
            Err(error) if at > 0 && error.status() != Status::Permission => return Ok(()),
            Err(error) => return Err(error),
        };
        let failed = |errno: Errno| Error::io(printable_path(path), errno);
        let mut fitting = Vec::new();
        for entry in Dir::new(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let found = OsStr::from_bytes(entry.file_name().to_bytes());
            if name.fits(found) {
                fitting.push(joined(path, found));
            }
            if fitting.len() > self.most {
                return Err(too_many());
            }
        }
        fitting.sort_unstable_by(|a, b| b.cmp(a));
        self.waiting
            .extend(fitting.into_iter().map(|path| (path, at + 1)));
        Ok(())
    }

    fn look(&self, path: &[u8]) -> Result<Entry, Error> {
        let whole = self.whole(path)?;
        let opened = self.root.look(&whole)?;
        let stat = rustix::fs::fstat(&opened);
        let stat = stat.map_err(|errno| Error::io(whole.display(), errno))?;
        Ok(entry(path.to_vec(), &stat))
    }

    fn whole(&self, path: &[u8]) -> Result<RemotePath, Error> {
        Ok(self.base.join(&RemotePath::parse_named(path)?))
    }
}

impl Iterator for Glob {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        while !self.is_over
            && let Some((path, at)) = self.waiting.pop()
        {
            //= spec/20-copy.md#lists
            //# A server MUST bound how much may fit a pattern.
            if self.found >= self.most || self.waiting.len() > self.most {
                self.is_over = true;
                return Some(Err((path, too_many())));
            }
            if at == self.names.len() {
                self.found += 1;
                // A link that leads nowhere is there all the same, and so is what may not be looked at.
                let entry = self.look(&path).unwrap_or_else(|_| Entry {
                    path,
                    kind: Kind::Other,
                    ..Entry::default()
                });
                return Some(Ok(entry));
            }
            if let Err(error) = self.look_in(&path, at) {
                return Some(Err((path, error)));
            }
        }
        None
    }
}

impl Name {
    fn parse(name: &[u8]) -> Result<Self, Error> {
        let bad = |why: String| {
            Error::Peer(Done {
                status: Status::BadPath,
                text: format!("{}: {why}", printable_path(name)),
            })
        };
        let text = str::from_utf8(name);
        let text = text.map_err(|_| bad("a pattern must be UTF-8".to_owned()))?;
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| bad(error.kind().to_string()))?;
        Ok(Self::Pattern(
            glob.compile_matcher(),
            name.starts_with(b"."),
        ))
    }

    fn fits(&self, name: &OsStr) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Pattern(pattern, hidden) => {
                let is_hidden = name.as_bytes().starts_with(b".");
                // As in a shell: a name that begins with a dot is only fitted by a pattern that does.
                let is_special = name == "." || name == ".." || is_partial(name);
                (*hidden || !is_hidden) && !is_special && pattern.is_match(name)
            }
        }
    }
}

fn too_many() -> Error {
    Error::Peer(Done {
        status: Status::Failed,
        text: format!("more than {MAX_FOUND} names fit the pattern: copy the folder"),
    })
}

fn joined(folder: &[u8], name: &OsStr) -> Vec<u8> {
    match folder {
        b"" => name.as_bytes().to_vec(),
        folder => [folder, b"/", name.as_bytes()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn fitting(folder: &std::path::Path, base: &str, pattern: &str) -> Vec<String> {
        let root = Arc::new(Root::open(folder).unwrap());
        let base = RemotePath::parse(base.as_bytes()).unwrap();
        let found = Glob::new(root, base, pattern.as_bytes()).unwrap();
        found
            .map(|found| match found {
                Ok(entry) => String::from_utf8(entry.path).unwrap(),
                Err((path, error)) => format!("{}: {error}", printable_path(&path)),
            })
            .collect()
    }

    #[test]
    fn names_fit_as_in_a_shell() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a/x", "b/x", "b/y", ".h/x"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in [
            "1.txt",
            "2.txt",
            "10.txt",
            ".3.txt",
            "other",
            "a/x/f",
            "b/x/f",
            "[1].txt",
            ".z.txt.rp-partial",
        ] {
            fs::write(at(name), "").unwrap();
        }
        symlink("nowhere", at("lost.txt")).unwrap();
        symlink("/", at("out")).unwrap();
        for (base, pattern, expected) in [
            (
                "",
                "*.txt",
                &["1.txt", "10.txt", "2.txt", "[1].txt", "lost.txt"][..],
            ),
            ("", "?.txt", &["1.txt", "2.txt"]),
            ("", "[12].txt", &["1.txt", "2.txt"]),
            ("", "[!1].txt", &["2.txt"]),
            ("", "[1].txt", &["[1].txt"]),
            ("", ".*.txt", &[".3.txt"]),
            ("", "*/x/f", &["a/x/f", "b/x/f"]),
            ("", "?/?", &["a/x", "b/x", "b/y"]),
            ("b", "*", &["x", "y"]),
            ("", "out/*", &[]),
            ("", "none*", &[]),
            ("", "none/*", &[]),
        ] {
            let found = fitting(folder.path(), base, pattern);
            assert_eq!(found, expected, "{base} {pattern}");
        }
        assert!(fitting(folder.path(), "none", "*")[0].contains("none"));
    }

    #[test]
    fn no_more_than_so_many_fit() {
        //= spec/20-copy.md#lists
        //= type=test
        //# A server MUST bound how much may fit a pattern.
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/1", "a/2", "b/3", "b/4"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for (pattern, most, fit) in [("*/*", 4, 4), ("*/*", 3, 3), ("*/?", 2, 2), ("*", 1, 0)] {
            let root = Arc::new(Root::open(folder.path()).unwrap());
            let base = RemotePath::parse(b"").unwrap();
            let mut glob = Glob::new(root, base, pattern.as_bytes()).unwrap();
            glob.most = most;
            let found: Vec<_> = glob.collect();
            let fitting = found.iter().filter(|found| found.is_ok()).count();
            assert_eq!(fitting, fit, "{pattern} of {most}");
            assert_eq!(
                found.len() - fitting,
                usize::from(fit < 4),
                "{pattern} of {most}"
            );
        }
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::open(folder.path()).unwrap());
        for pattern in [&b"[a"[..], b"*\xff", b"../*", b"/*"] {
            let base = RemotePath::parse(b"").unwrap();
            let error = Glob::new(Arc::clone(&root), base, pattern).unwrap_err();
            assert_eq!(error.status(), Status::BadPath, "{pattern:?}: {error}");
        }
    }

    #[test]
    fn a_path_is_split_before_its_first_pattern() {
        for (path, base, pattern) in [
            ("*.txt", "", "*.txt"),
            ("a/b/*.txt", "a/b", "*.txt"),
            ("a/b?/c/d", "a", "b?/c/d"),
            ("/x/[a]", "/x", "[a]"),
            ("/*", "", "*"),
            ("a/b", "a", "b"),
        ] {
            let expected = (base.as_bytes(), pattern.as_bytes());
            assert_eq!(split(path.as_bytes()), expected, "{path}");
        }
        assert!(is_pattern(b"a/?") && !is_pattern(b"a/b"));
    }
}
