//! How a request ended, and its number on the wire (spec/20-copy.md, "Status").

/// How a request ended (spec/20-copy.md, "Status").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The file is whole under its name.
    Ok,
    /// Anything without a status of its own.
    Failed,
    /// No such file or folder.
    NotFound,
    /// Not allowed.
    Permission,
    /// The file does not fit.
    NoSpace,
    /// Digest or size differ.
    Integrity,
    /// The source changed while it was read.
    SourceChanged,
    /// The path is not acceptable.
    BadPath,
    /// A folder, a device or another kind of thing.
    NotAFile,
    /// Another copy is writing this file.
    Busy,
    /// Needs something the other side does not know.
    Unsupported,
    /// Stopped by the user or the program's end.
    Interrupted,
    /// A rule of the copy protocol was broken.
    Protocol,
}

impl Status {
    pub(super) const ALL: [Self; 13] = [
        Self::Ok,
        Self::Failed,
        Self::NotFound,
        Self::Permission,
        Self::NoSpace,
        Self::Integrity,
        Self::SourceChanged,
        Self::BadPath,
        Self::NotAFile,
        Self::Busy,
        Self::Unsupported,
        Self::Interrupted,
        Self::Protocol,
    ];

    /// The number on the wire.
    pub fn to_wire(self) -> u64 {
        Self::ALL
            .iter()
            .position(|&status| status == self)
            .map_or(1, |index| index as u64)
    }

    /// The status a number stands for.
    pub fn from_wire(value: u64) -> Self {
        //= spec/20-copy.md#status
        //# An unknown status MUST be treated as failed.
        usize::try_from(value)
            .ok()
            .and_then(|index| Self::ALL.get(index).copied())
            .unwrap_or(Self::Failed)
    }
}
