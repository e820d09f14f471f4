//! Extended attributes, ACLs among them: read from one file, carried in a message, and given to another. When they
//! are wanted is decided elsewhere.

use std::{ffi::OsStr, os::fd::AsFd, os::unix::ffi::OsStrExt};

use rustix::{
    fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr},
    io::Errno,
};

use crate::error::Error;

/// Most bytes of all names and values of a file, with what parts them: they travel in one message.
pub const MAX_BYTES: usize = 32 << 10;

/// Longest name, as on Linux.
const MAX_NAME: usize = 255;

/// Of whose words a side acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Privilege {
    /// Somebody else's, who is served: nothing is done for them that needs to be root.
    #[default]
    Guest,
    /// Those of the user whose process this is.
    Own,
}

impl Privilege {
    /// Whether what only root may do is to be done.
    pub fn is_root(self) -> bool {
        self == Self::Own && rustix::process::geteuid().is_root()
    }
}

/// Names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xattrs(Vec<(Vec<u8>, Vec<u8>)>);

impl Xattrs {
    /// Those of a file or folder that may be carried; none where its file system has none.
    ///
    /// # Errors
    /// They are more than a message carries, or cannot be read.
    pub fn read(file: impl AsFd, privilege: Privilege, shown: &str) -> Result<Self, Error> {
        let failed = |errno: Errno| Error::io(format!("{shown}: its extended attributes"), errno);
        let mut names = vec![0; 64 << 10];
        let length = match flistxattr(&file, names.as_mut_slice()) {
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Self::default()),
            listed => listed.map_err(failed)?,
        };
        names.truncate(length);
        let mut found = Vec::new();
        let mut bytes = 0;
        for name in names.split(|&byte| byte == 0) {
            if !is_carried(name, privilege) {
                continue;
            }
            let mut value = vec![0; MAX_BYTES];
            match fgetxattr(&file, OsStr::from_bytes(name), value.as_mut_slice()) {
                Ok(length) => value.truncate(length),
                // Removed since it was listed.
                Err(Errno::NODATA) => continue,
                Err(Errno::RANGE) => return Err(Error::Xattrs(shown.to_owned())),
                Err(errno) => return Err(failed(errno)),
            }
            value.shrink_to_fit();
            bytes += name.len() + value.len() + 3;
            found.push((name.to_vec(), value));
        }
        if bytes > MAX_BYTES {
            return Err(Error::Xattrs(shown.to_owned()));
        }
        found.sort();
        Ok(Self(found))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The length of a name in one byte, the name, the length of the value in two, the value; and so on.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in &self.0 {
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(name);
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(value);
        }
        out
    }

    //= spec/20-copy.md#extended-attributes
    //# Extended attributes of more than 32768 bytes, or that are cut off, MUST be refused.
    /// Reads what [`Xattrs::to_bytes`] wrote; `None` if it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = Some(bytes).filter(|bytes| bytes.len() <= MAX_BYTES)?;
        let mut found = Vec::new();
        while let Some((&length, after)) = rest.split_first() {
            let (name, after) = after.split_at_checked(usize::from(length))?;
            let (length, after) = after.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (value, after) = after.split_at_checked(length)?;
            if name.is_empty() || name.contains(&0) {
                return None;
            }
            found.push((name.to_vec(), value.to_vec()));
            rest = after;
        }
        Some(Self(found))
    }

    //= spec/20-copy.md#extended-attributes
    //# A receiver MUST NOT set extended attributes other than those of users and ACLs, unless it runs as root for
    //# its own user.
    /// Gives those that may be set to a file or folder: ACLs, whose permissions count when the mode is set, or all
    /// others. False if some of these cannot be set.
    pub fn apply(&self, file: impl AsFd, privilege: Privilege, acls: bool) -> bool {
        let mut all = true;
        for (name, value) in &self.0 {
            if is_acl(name) == acls && is_carried(name, privilege) {
                let name = OsStr::from_bytes(name);
                all &= fsetxattr(&file, name, value, XattrFlags::empty()).is_ok();
            }
        }
        all
    }
}

fn is_acl(name: &[u8]) -> bool {
    name == b"system.posix_acl_access" || name == b"system.posix_acl_default"
}

/// Whether an attribute of this name is read and set.
fn is_carried(name: &[u8], privilege: Privilege) -> bool {
    let is_known = name.starts_with(b"user.") || is_acl(name);
    let is_roots = name.starts_with(b"security.") || name.starts_with(b"trusted.");
    name.len() <= MAX_NAME && (is_known || is_roots && privilege.is_root())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattrs(of: &[(&str, &[u8])]) -> Xattrs {
        Xattrs(
            of.iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
                .collect(),
        )
    }

    #[test]
    fn they_survive_the_wire_and_what_is_cut_off_is_refused() {
        //= spec/20-copy.md#extended-attributes
        //= type=test
        //# Extended attributes of more than 32768 bytes, or that are cut off, MUST be refused.
        let some = xattrs(&[("user.a", b""), ("user.b", &[7; 300])]);
        let bytes = some.to_bytes();
        assert_eq!(Xattrs::from_bytes(&bytes), Some(some));
        let whole = [0, 9, bytes.len()];
        for length in 0..=bytes.len() {
            let read = Xattrs::from_bytes(&bytes[..length]);
            assert_eq!(read.is_some(), whole.contains(&length), "{length}");
        }
        assert_eq!(Xattrs::from_bytes(&[0, 0, 0]), None);
        let large = xattrs(&[("user.a", &[0; MAX_BYTES - 8])]).to_bytes();
        assert_eq!(Xattrs::from_bytes(&large), None);
        assert!(Xattrs::from_bytes(&large[..0]).is_some());
    }

    #[test]
    fn a_guest_sets_nothing_that_only_root_may() {
        //= spec/20-copy.md#extended-attributes
        //= type=test
        //# A receiver MUST NOT set extended attributes other than those of users and ACLs, unless it runs as root
        //# for its own user.
        for name in ["security.capability", "trusted.a", "system.other", "a", ""] {
            assert!(!is_carried(name.as_bytes(), Privilege::Guest), "{name}");
        }
        for name in [
            "user.a",
            "system.posix_acl_access",
            "system.posix_acl_default",
        ] {
            assert!(is_carried(name.as_bytes(), Privilege::Guest), "{name}");
        }
        let file = tempfile::tempfile().unwrap();
        let some = xattrs(&[("security.capability", b"x"), ("trusted.a", b"x")]);
        assert!(some.apply(&file, Privilege::Guest, false));
        let found = Xattrs::read(&file, Privilege::Own, "file").unwrap();
        let set = found
            .0
            .iter()
            .filter(|pair| some.0.iter().any(|one| one.0 == pair.0));
        assert_eq!(set.count(), 0);
    }
}
