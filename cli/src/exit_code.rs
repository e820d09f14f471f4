//! How a program ends, as a number the shell sees. What leads to which end is decided where it
//! happens.

use std::{fmt, io::Write as _, process};

use crate::connect::ConnectFailure;

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
    /// Whoever read our output wants no more: the code a shell gives to programs that SIGPIPE ends.
    BrokenPipe,
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
            Self::BrokenPipe => 141,
        }
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// A program's end that is not success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the shell sees.
    pub code: ExitCode,
    /// One line for the user: what is wrong and, where we know, what to do. Empty if there is nothing
    /// to say.
    pub text: String,
    /// The option whose value is at fault, without its dashes.
    pub option: Option<&'static str>,
}

impl Failure {
    /// A failure with `code` and `text`.
    pub fn new(code: ExitCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            option: None,
        }
    }

    /// A bad value of `option`, which is named without its dashes.
    pub fn option(option: &'static str, text: impl Into<String>) -> Self {
        Self {
            option: Some(option),
            ..Self::usage(text)
        }
    }

    /// Whoever read our output wants no more: nothing to tell anybody.
    pub fn broken_pipe() -> Self {
        Self::new(ExitCode::BrokenPipe, "")
    }

    /// Bad arguments or settings.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, text)
    }

    /// Anything without a code of its own.
    pub fn other(text: impl Into<String>) -> Self {
        Self::new(ExitCode::Failed, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<ConnectFailure> for Failure {
    fn from(failure: ConnectFailure) -> Self {
        Self::new(failure.exit_code(), failure.to_string())
    }
}

/// Ends a program: success is silent, a failure is one line on standard error and its code.
pub fn report(program: &str, result: Result<(), Failure>) -> process::ExitCode {
    match result {
        Ok(()) => ExitCode::Ok.into(),
        Err(failure) => {
            if !failure.text.is_empty() {
                // Without a standard error there is nobody to tell but the caller.
                let _ = writeln!(std::io::stderr(), "{program}: {failure}");
            }
            failure.code.into()
        }
    }
}
