//! Why there is no copy over ssh, in words that say what to do.

use std::{io, process::ExitStatus};

use thiserror::Error;

use super::greeting::GreetingError;
use crate::{copy::location::SshHost, exit_code::ExitCode};

/// Why there is no copy over ssh.
#[derive(Debug, Error)]
#[expect(
    private_interfaces,
    reason = "what is wrong with a greeting is only ever shown"
)]
pub enum SshError {
    /// There is no `ssh` on this machine.
    #[error("cannot start ssh: {0}; install OpenSSH's client")]
    NoSsh(#[source] io::Error),
    /// It could not be spoken with.
    #[error("ssh to {host}: {source}")]
    Pipe {
        /// The far side.
        host: SshHost,
        /// The system's word.
        source: io::Error,
    },
    /// It did not get there, or was not let in.
    #[error("ssh cannot log in to {0}: its own words are above; once \"ssh {destination}\" works, so does this", destination = .0.destination())]
    Failed(SshHost),
    /// The far side has no `rpcp`.
    #[error(
        "{host} has no rpcp that can be started: put this one there with \"ssh {destination} mkdir -p .local/bin && \
         scp {program} {destination}:.local/bin/rpcp\" if it is the same kind of machine, or install it",
        destination = .host.destination()
    )]
    Missing {
        /// The far side.
        host: SshHost,
        /// Our own program, as a shell takes it.
        program: String,
    },
    /// The far side's `rpcp` is another.
    #[error("the rpcp of {0} is of another version: install the same release on both sides")]
    Version(SshHost),
    /// What answers is no `rpcp`, or it gave up.
    #[error("rpcp did not start on {host}: {why}{}", ended(.status.as_ref()))]
    Greeting {
        /// The far side.
        host: SshHost,
        /// What it said.
        why: GreetingError,
        /// How it ended, if it did.
        status: Option<ExitStatus>,
    },
    /// Packets do not arrive.
    #[error(
        "ssh to {host} works, but UDP does not: no answer from {addresses}. A firewall drops it: open some UDP ports \
         of {host} and name them with --udp-ports, for instance 60000-60010"
    )]
    Blocked {
        /// The far side.
        host: SshHost,
        /// Where packets went.
        addresses: String,
    },
    /// Nobody knows where packets are to go.
    #[error("{0}: neither its name nor ssh says which address packets are to go to")]
    NoAddress(SshHost),
}

impl SshError {
    /// How the program ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Version(_) => ExitCode::Version,
            _ => ExitCode::Connect,
        }
    }

    /// What it means that ssh ended like that and said nothing that we understand.
    pub(super) fn explain(
        host: &SshHost,
        why: GreetingError,
        status: Option<ExitStatus>,
        program: &str,
    ) -> Self {
        let host = host.clone();
        // As ssh gives on what the far side's shell ended with, and 255 for itself.
        match (status.and_then(|status| status.code()), &why) {
            (Some(255), _) => Self::Failed(host),
            (Some(126 | 127), _) => Self::Missing {
                host,
                program: program.to_owned(),
            },
            // One that does not know --server gives up on its arguments.
            (Some(2 | 10), _) | (_, GreetingError::Version(_)) => Self::Version(host),
            _ => Self::Greeting { host, why, status },
        }
    }
}

fn ended(status: Option<&ExitStatus>) -> String {
    status.map_or_else(String::new, |status| format!(" ({status})"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn explained(code: i32, why: GreetingError) -> SshError {
        let host = SshHost {
            user: Some("me".to_owned()),
            host: "host".to_owned(),
        };
        let status = ExitStatus::from_raw(code << 8);
        SshError::explain(&host, why, Some(status), "'/bin/rpcp'")
    }

    #[test]
    fn each_way_to_fail_says_what_to_do_and_has_its_exit_code() {
        for (code, why, text, exit) in [
            (
                255,
                GreetingError::Ended,
                "\"ssh me@host\"",
                ExitCode::Connect,
            ),
            (
                127,
                GreetingError::Ended,
                "scp '/bin/rpcp' me@host:.local/bin/rpcp",
                ExitCode::Connect,
            ),
            (126, GreetingError::Ended, "no rpcp", ExitCode::Connect),
            (2, GreetingError::Ended, "same release", ExitCode::Version),
            (
                0,
                GreetingError::Version("2".to_owned()),
                "same release",
                ExitCode::Version,
            ),
            (
                1,
                GreetingError::Noise("no entry".to_owned()),
                "no entry (exit status: 1)",
                ExitCode::Connect,
            ),
        ] {
            let error = explained(code, why);
            assert!(error.to_string().contains(text), "{code}: {error}");
            assert_eq!(error.exit_code(), exit, "{code}: {error}");
        }
    }
}
