//! What a file gets besides its content, as far as it has to be asked for. When it gets it is decided in `writer`.

use super::Writer;
use crate::xattrs::{Privilege, Xattrs};

impl Writer {
    /// Of whose words the file gets its mode and extended attributes.
    #[must_use]
    pub fn privilege(self, privilege: Privilege) -> Self {
        let mut writer = self;
        writer.privilege = privilege;
        writer
    }

    /// The extended attributes that it is to have.
    #[must_use]
    pub fn xattrs(self, xattrs: Xattrs) -> Self {
        let mut writer = self;
        writer.xattrs = xattrs;
        writer
    }

    /// Whether blocks of zeros become holes.
    #[must_use]
    pub fn sparse(self, sparse: bool) -> Self {
        let mut writer = self;
        writer.sparse = sparse;
        writer
    }
}

//= spec/20-copy.md#files
//# A receiver MUST NOT give a file set-user-id, set-group-id or sticky bits, unless it runs as root for its own
//# user, who wants modes kept.
/// The permission bits that are kept where modes are.
pub(crate) fn kept_bits(privilege: Privilege) -> u32 {
    match privilege.is_root() {
        true => 0o7777,
        false => 0o777,
    }
}
