//! The path of a Unix socket as a client may name it. Whether it may be reached is `exit::policy`'s
//! business.

use std::{
    fmt,
    path::{Component, Path},
    str::FromStr,
};

use thiserror::Error;

/// Longest path of a Unix socket: what `sockaddr_un` holds, without the NUL at its end.
pub const MAX_PATH_BYTES: usize = 107;

/// An absolute path that is safe to log: printable, without `.` and `..`, and no longer than a socket's
/// address can be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketPath(Box<str>);

impl SocketPath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why text is no path of a Unix socket.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "the path of a Unix socket is absolute, at most {MAX_PATH_BYTES} bytes long, and without `.`, `..`, \
     `//` and control characters"
)]
pub struct BadSocketPath;

impl FromStr for SocketPath {
    type Err = BadSocketPath;

    fn from_str(text: &str) -> Result<Self, BadSocketPath> {
        let is_plain =
            |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        // `components` leaves out what means nothing, as `/./`: such a path has two spellings.
        let is_canonical = Path::new(text).components().as_path().as_os_str() == text
            && !text.contains("//")
            && !text.contains("/./");
        let is_fit = text.len() <= MAX_PATH_BYTES
            && text.len() > 1
            && text.starts_with('/')
            && is_canonical
            && Path::new(text).components().all(is_plain)
            && !text.chars().any(char::is_control);
        is_fit.then(|| Self(text.into())).ok_or(BadSocketPath)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_of_an_absolute_path_is_taken() {
        let fits = |text: &str| text.parse::<SocketPath>().is_ok();
        assert!(fits("/run/db.sock"));
        assert!(fits(&format!("/{}", "a".repeat(MAX_PATH_BYTES - 1))));
        assert!(!fits(&format!("/{}", "a".repeat(MAX_PATH_BYTES))));
        for bad in [
            "",
            "/",
            "db.sock",
            "./db",
            "/run/../etc/x",
            "/a//b",
            "/a/./b",
            "/a/",
            "/a\n",
            "/a\0b",
        ] {
            assert!(!fits(bad), "{bad:?}");
        }
    }
}
