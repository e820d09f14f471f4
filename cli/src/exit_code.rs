//! How a program ends, as a number the shell sees. What leads to which end is decided where it
//! happens.

/// The exit codes of all three programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Everything was done.
    Ok,
    /// Something failed that has no code of its own; what it was is printed.
    Failed,
    /// The command line or the configuration makes no sense.
    Usage,
    /// No connection, or one of the keys was refused.
    Connect,
    /// The source is not there.
    NotFound,
    /// Not allowed.
    Permission,
    /// The file does not fit.
    NoSpace,
    /// What arrived is not what was sent.
    Integrity,
    /// The source changed while it was read.
    SourceChanged,
    /// The other side fell silent.
    Timeout,
    /// The two sides have no version in common.
    Version,
    /// Ctrl-C; what was begun can be gone on with.
    Interrupted,
}

impl ExitCode {
    /// The number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Connect => 3,
            Self::NotFound => 4,
            Self::Permission => 5,
            Self::NoSpace => 6,
            Self::Integrity => 7,
            Self::SourceChanged => 8,
            Self::Timeout => 9,
            Self::Version => 10,
            Self::Interrupted => 130,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}
