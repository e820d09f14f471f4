//! Paths that came over the network, and folders nothing can be opened outside of.
//! What is written to the files opened here lies in `writer`.

mod folders;
mod root;
#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use thiserror::Error;

use crate::error::{Error, printable};

pub(crate) use self::folders::read_link;
pub use self::root::{Destination, Existing, Root};

/// Longest path taken from the network, as Linux's PATH_MAX.
pub const MAX_PATH: usize = 4096;

/// Longest component of a path, as Linux's NAME_MAX.
pub const MAX_NAME: usize = 255;

/// What a partial file's name ends in.
const PARTIAL: &str = ".rp-partial";

/// What the name of its journal ends in.
const JOURNAL: &str = ".rp-journal";

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// Begins with `/`.
    #[error("absolute paths are not accepted")]
    Absolute,
    /// Has a component `..`.
    #[error("`..` is not accepted in a path")]
    ParentFolder,
    /// Has a control character.
    #[error("control characters are not accepted in a path")]
    ControlCharacter,
    /// A component is longer than [`MAX_NAME`].
    #[error("a name in the path is longer than 255 bytes")]
    NameTooLong,
    /// Longer than [`MAX_PATH`].
    #[error("the path is longer than 4096 bytes")]
    TooLong,
    /// Names a partial file.
    #[error("the name is kept for files under way (`.NAME.rp-partial`, `.NAME.rp-journal`)")]
    Partial,
    /// Symbolic links lead out of the root, or too far.
    #[error("the path leads outside of the shared folder")]
    Escapes,
    /// Names the folder, where a file is needed.
    #[error("the path names no file")]
    NoName,
}

/// A path that cannot leave the folder it is relative to by its spelling.
///
/// Symbolic links are another matter: only [`Root`] keeps those inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePath {
    components: Vec<OsString>,
    folder: bool,
}

/// A path beneath a root for people; the root itself is `/`.
pub fn printable_path(path: &[u8]) -> String {
    match path {
        b"" => "/".to_owned(),
        path => printable(path),
    }
}

impl RemotePath {
    /// Checks a path; `a//b` and `a/./b` are `a/b`, a final `/` means a folder.
    pub fn parse(path: &[u8]) -> Result<Self, PathError> {
        //= spec/20-copy.md#paths
        //# A path longer than 4096 bytes, or with a component longer than 255 bytes, MUST be refused.
        if path.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        //= spec/20-copy.md#paths
        //# A path with a control character MUST be refused.
        if has_control(path) {
            return Err(PathError::ControlCharacter);
        }
        //= spec/20-copy.md#paths
        //# A path that begins with `/` MUST be refused.
        if path.starts_with(b"/") {
            return Err(PathError::Absolute);
        }
        let mut components = Vec::new();
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                //= spec/20-copy.md#paths
                //# A path with a component `..` MUST be refused.
                b".." => return Err(PathError::ParentFolder),
                long if long.len() > MAX_NAME => return Err(PathError::NameTooLong),
                name => components.push(OsStr::from_bytes(name).to_owned()),
            }
        }
        //= spec/20-copy.md#paths
        //# A path whose last component is a partial name (`.NAME.rp-partial`, `.NAME.rp-journal`) MUST be
        //# refused.
        if components.last().is_some_and(|name| is_partial(name)) {
            return Err(PathError::Partial);
        }
        let folder = components.is_empty() || path.ends_with(b"/") || path.ends_with(b"/.");
        Ok(Self { components, folder })
    }

    /// [`RemotePath::parse`] with the path named in the error.
    pub fn parse_named(path: &[u8]) -> Result<Self, Error> {
        Self::parse(path).map_err(|source| Error::Path {
            path: printable_path(path),
            source,
        })
    }

    /// Checks a single name.
    pub fn parse_name(name: &[u8]) -> Result<OsString, Error> {
        let refused = |source| Error::Path {
            path: printable(name),
            source,
        };
        let mut path = Self::parse(name).map_err(refused)?;
        match (path.components.pop(), path.components.is_empty()) {
            (Some(name), true) if !path.folder => Ok(name),
            _ => Err(refused(PathError::NoName)),
        }
    }

    /// This path with another beneath it.
    pub fn join(&self, other: &Self) -> Self {
        let components = self.components.iter().chain(&other.components);
        Self {
            components: components.cloned().collect(),
            folder: other.folder,
        }
    }

    /// What this path is beneath another; `None` if it is not beneath it.
    pub fn beneath(&self, other: &Self) -> Option<Vec<u8>> {
        let rest = self.components.strip_prefix(other.components.as_slice())?;
        (!rest.is_empty()).then(|| rest.join(OsStr::new("/")).into_encoded_bytes())
    }

    /// The path as it is written; empty for the root.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self.components.is_empty() {
            true => Vec::new(),
            false => self.joined().into_encoded_bytes(),
        }
    }

    /// The last component, unless the path is spelled as a folder.
    pub fn file_name(&self) -> Option<&OsStr> {
        match self.folder {
            true => None,
            false => self.components.last().map(OsString::as_os_str),
        }
    }

    /// Whether the path can only mean a folder.
    pub fn is_folder(&self) -> bool {
        self.folder
    }

    /// For messages.
    pub fn display(&self) -> String {
        match self.components.is_empty() {
            true => "/".to_owned(),
            false => printable(self.joined().as_bytes()),
        }
    }

    /// The components with `/` between them; `.` for the folder itself.
    fn joined(&self) -> OsString {
        match self.components.is_empty() {
            true => ".".into(),
            false => self.components.join(OsStr::new("/")),
        }
    }

    /// The folder that the last component is in; the root is in itself.
    pub fn parent(&self) -> Self {
        self.split().map_or_else(
            || Self {
                components: Vec::new(),
                folder: true,
            },
            |(parent, _)| parent,
        )
    }

    /// The folder the last component is in, and that component.
    fn split(&self) -> Option<(Self, &OsStr)> {
        let (name, parents) = self.components.split_last()?;
        let parent = Self {
            components: parents.to_vec(),
            folder: true,
        };
        Some((parent, name))
    }
}

/// ASCII control characters anywhere, and where the bytes are UTF-8 the C1 ones too.
fn has_control(path: &[u8]) -> bool {
    path.iter().any(u8::is_ascii_control)
        || str::from_utf8(path).is_ok_and(|text| text.contains(char::is_control))
}

/// Whether this is the name of a file under way.
pub(crate) fn is_partial(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let ends = [PARTIAL, JOURNAL].map(str::as_bytes);
    name.starts_with(b".") && ends.iter().any(|end| name.ends_with(end))
}

/// What the file `name` is called until it is whole.
///
/// Names so long that nothing can be added are cut and told apart by their digest.
pub fn partial_name(name: &OsStr) -> OsString {
    hidden_name(name, PARTIAL)
}

/// What its journal is called.
pub(crate) fn journal_name(name: &OsStr) -> OsString {
    hidden_name(name, JOURNAL)
}

/// What the journal of a copy of a tree is called, in the folder that the tree is copied into.
pub(crate) fn copy_journal_name(copy: &[u8; 16]) -> OsString {
    hidden_name(
        OsStr::new(&format!("{:032x}", u128::from_be_bytes(*copy))),
        JOURNAL,
    )
}

fn hidden_name(name: &OsStr, end: &str) -> OsString {
    let mut partial = OsString::from(".");
    if name.len() + 1 + end.len() <= MAX_NAME {
        partial.push(name);
    } else {
        let kept = name.as_bytes().get(..128).unwrap_or_default();
        let digest = blake3::hash(name.as_bytes()).to_hex();
        partial.push(OsStr::from_bytes(kept));
        partial.push("-");
        partial.push(digest.get(..32).unwrap_or_default());
    }
    partial.push(end);
    partial
}
