//! How `ssh` is called: with the user's options as scp would pass them on, and one fixed command for the far side.

use std::{ffi::OsString, path::PathBuf};

use crate::{connect::Family, copy::location::SshHost};

/// What the far side's shell is given, whatever is copied: nothing that was typed is part of it. A shell that is not
/// a login shell does not look where programs of the user's own are installed.
pub(super) const REMOTE_COMMAND: &str = "sh -c 'PATH=\"$PATH:$HOME/.local/bin:$HOME/.cargo/bin:/usr/local/bin\" \
     exec rpcp --server'";

/// What holds for a copy whatever the user's configuration says, as in scp.
const FIXED: [&str; 7] = [
    "-x",
    "-T",
    "-oPermitLocalCommand=no",
    "-oClearAllForwardings=yes",
    "-oRemoteCommand=none",
    "-oRequestTTY=no",
    "-oForwardAgent=no",
];

/// What the user wants `ssh` to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::copy) struct SshOptions {
    pub(in crate::copy) port: Option<u16>,
    pub(in crate::copy) identity: Option<PathBuf>,
    pub(in crate::copy) config: Option<PathBuf>,
    pub(in crate::copy) jump: Option<String>,
    pub(in crate::copy) options: Vec<String>,
    pub(in crate::copy) family: Family,
    pub(in crate::copy) quiet: bool,
    pub(in crate::copy) verbose: u8,
}

impl SshOptions {
    /// Arguments that start the far side at `host`.
    pub(super) fn start(&self, host: &SshHost) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = FIXED.map(OsString::from).to_vec();
        arguments.extend(self.given());
        if self.quiet {
            arguments.push("-q".into());
        }
        // Its own words are for those who look for what is wrong with ssh.
        for _ in 1..self.verbose {
            arguments.push("-v".into());
        }
        arguments.extend([
            "--".into(),
            host.destination().into(),
            REMOTE_COMMAND.into(),
        ]);
        arguments
    }

    /// Arguments that have it print what its configuration says of `host`.
    pub(super) fn print_configuration(&self, host: &SshHost) -> Vec<OsString> {
        let mut arguments = vec!["-G".into()];
        arguments.extend(self.given());
        arguments.extend(["--".into(), host.destination().into()]);
        arguments
    }

    fn given(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut give = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
        if let Some(config) = &self.config {
            give("-F", config.into());
        }
        if let Some(port) = self.port {
            give("-p", port.to_string().into());
        }
        if let Some(identity) = &self.identity {
            give("-i", identity.into());
        }
        if let Some(jump) = &self.jump {
            give("-J", jump.into());
        }
        for option in &self.options {
            give("-o", option.into());
        }
        match self.family {
            Family::V4 => arguments.push("-4".into()),
            Family::V6 => arguments.push("-6".into()),
            Family::Any => {}
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(arguments: &[OsString]) -> Vec<&str> {
        arguments
            .iter()
            .map(|word| word.to_str().unwrap())
            .collect()
    }

    #[test]
    fn options_reach_ssh_as_words_of_their_own_and_the_host_is_never_one() {
        let options = SshOptions {
            port: Some(2222),
            identity: Some("my key".into()),
            config: Some("conf".into()),
            jump: Some("me@gate:22".to_owned()),
            options: vec!["StrictHostKeyChecking=no".to_owned()],
            family: Family::V6,
            quiet: true,
            verbose: 3,
        };
        let host = SshHost {
            user: Some("me".to_owned()),
            host: "::1".to_owned(),
        };
        let given = [
            "-F",
            "conf",
            "-p",
            "2222",
            "-i",
            "my key",
            "-J",
            "me@gate:22",
            "-o",
            "StrictHostKeyChecking=no",
            "-6",
        ];
        let start = options.start(&host);
        let expected = [
            &FIXED[..],
            &given,
            &["-q", "-v", "-v", "--", "me@::1", REMOTE_COMMAND],
        ];
        assert_eq!(words(&start), expected.concat());
        let print = options.print_configuration(&host);
        let expected = [&["-G"][..], &given, &["--", "me@::1"]];
        assert_eq!(words(&print), expected.concat());
    }

    #[test]
    fn without_options_only_what_holds_always_is_said() {
        let host = SshHost {
            user: None,
            host: "host".to_owned(),
        };
        let start = SshOptions::default().start(&host);
        let expected = [&FIXED[..], &["--", "host", REMOTE_COMMAND]];
        assert_eq!(words(&start), expected.concat());
    }
}
