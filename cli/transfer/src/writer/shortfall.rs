//! What a file system cannot do for a file that is whole all the same: no reason to fail a copy,
//! and something its user should know.

use std::{collections::BTreeSet, fmt, io};

use rustix::io::Errno;

/// One thing a file system cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortfall {
    /// Hide the file from others while it is under way.
    Privacy,
    /// Lock the file against a second writer.
    Lock,
    /// Set the permissions.
    Mode,
    /// Set the time of modification.
    Time,
    /// Keep its extended attributes.
    Xattrs,
    /// Say that the file is on the disk.
    Durability,
    /// Rename a file.
    Rename,
}

/// Everything a file system could not do for one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortfalls(BTreeSet<Shortfall>);

impl Shortfalls {
    /// Notes one more; a second time changes nothing.
    pub fn add(&mut self, shortfall: Shortfall) {
        self.0.insert(shortfall);
    }

    /// Whether the file system could do everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One line for people about the file `name`; empty if nothing was noted.
    pub fn describe(&self, name: &str) -> String {
        match self.is_empty() {
            true => String::new(),
            false => format!("{name}: copied, but its file system cannot {self}"),
        }
    }
}

impl FromIterator<Shortfall> for Shortfalls {
    fn from_iter<I: IntoIterator<Item = Shortfall>>(shortfalls: I) -> Self {
        Self(shortfalls.into_iter().collect())
    }
}

impl fmt::Display for Shortfalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, shortfall) in self.0.iter().enumerate() {
            let separator = match index {
                0 => "",
                last if last + 1 == self.0.len() => " or ",
                _ => ", ",
            };
            write!(f, "{separator}{shortfall}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privacy => "hide a file while it is written",
            Self::Lock => "lock it against a second copy",
            Self::Mode => "set its permissions",
            Self::Time => "set its time",
            Self::Xattrs => "keep its extended attributes",
            Self::Durability => "say when it is on the disk",
            Self::Rename => "rename it",
        })
    }
}

/// Whether an error says that the operation is not to be had here, by the file system or by what
/// confines the process, rather than that it was tried and failed.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(
            Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::INVAL
                | Errno::NOTTY
                | Errno::PERM
                | Errno::ACCESS
        )
    )
}
