//! What goes over ssh: scp, rsync, and qcp, which only starts by it. The server is OpenSSH's own on a
//! configuration of ours, inside the far namespace; nothing of the user's or the machine's is read.

use std::{fs, os::unix::fs::DirBuilderExt, path::Path};

use anyhow::ensure;

use super::{
    Implementation, Invocation, Kit, Progress, Ready, Recipe, Side, Task,
    kit::{Registered, SOURCE},
};
use crate::{tcp::available, tun::FAR};

/// A copy program.
#[derive(Debug)]
pub(super) struct Ssh {
    name: &'static str,
    about: &'static str,
    /// Of TCP beneath; the kernel's default if absent.
    congestion: Option<&'static str>,
    program: Copy,
}

#[derive(Clone, Copy, Debug)]
enum Copy {
    Scp,
    Rsync,
    Qcp,
}

const SSHD: &str = "/usr/sbin/sshd";

/// OpenSSH wants it; Debian's service makes it when it starts.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

const QCP: Registered = Registered {
    name: "qcp",
    version: "0.9.1",
    program: "qcp",
    features: None,
};

impl Ssh {
    pub(super) const SCP: Self = Self {
        name: "scp",
        about: "scp of OpenSSH over CUBIC, sockets' limits of 256 MB",
        congestion: Some("cubic"),
        program: Copy::Scp,
    };
    pub(super) const SCP_BBR: Self = Self {
        name: "scp-bbr",
        about: "scp of OpenSSH over BBR, sockets' limits of 256 MB",
        congestion: Some("bbr"),
        program: Copy::Scp,
    };
    pub(super) const RSYNC: Self = Self {
        name: "rsync",
        about: "rsync over ssh over CUBIC, --whole-file --inplace, sockets' limits of 256 MB",
        congestion: Some("cubic"),
        program: Copy::Rsync,
    };
    pub(super) const RSYNC_BBR: Self = Self {
        name: "rsync-bbr",
        about: "rsync over ssh over BBR, --whole-file --inplace, sockets' limits of 256 MB",
        congestion: Some("bbr"),
        program: Copy::Rsync,
    };
    pub(super) const QCP: Self = Self {
        name: "qcp",
        about: "qcp, told the link's rate and round trip, BBR, UDP buffers of 16 MB; the time to start it by ssh counts",
        congestion: None,
        program: Copy::Qcp,
    };

    fn sender(&self, task: &Task<'_>, files: &Files, to: &str) -> Invocation {
        let port = task.port.to_string();
        let ssh = files.client_options();
        match self.program {
            Copy::Scp => Invocation::new(Side::Near, "scp")
                .arg("-q")
                .args(&ssh)
                .args(["-P", &port])
                .arg(task.source)
                .arg(to),
            Copy::Rsync => Invocation::new(Side::Near, "rsync")
                .args(["--whole-file", "--inplace", "--rsh"])
                .arg(format!("ssh {} -p {port}", ssh.join(" ")))
                .arg(task.source)
                .arg(to),
            Copy::Qcp => {
                let mut sender = Invocation::new(Side::Near, qcp(task.kit))
                    .args(["--quiet", "--ssh-subsystem", "--congestion", "bbr"])
                    .args(["--rx", &task.rate.bytes_per_second().to_string()])
                    .args(["--rtt", &task.round_trip.as_millis().max(1).to_string()])
                    .args(["--udp-buffer", "16M", "--timeout", "30"]);
                for option in ssh.iter().map(String::as_str).chain(["-p", &port]) {
                    sender = sender.args(["-S", option]);
                }
                sender.arg(task.source).arg(to)
            }
        }
    }
}

fn qcp(kit: &Kit) -> std::path::PathBuf {
    kit.registered(&QCP)
}

impl Implementation for Ssh {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn congestion(&self) -> Option<&'static str> {
        self.congestion
    }

    fn install(&self, kit: &Kit) -> anyhow::Result<()> {
        if let Some(congestion) = self.congestion {
            let is_there = available().iter().any(|name| name == congestion);
            ensure!(is_there, "this kernel does not have {congestion}");
        }
        kit.debian("openssh-server", SSHD)?;
        kit.debian("openssh-client", "/usr/bin/scp")?;
        match self.program {
            Copy::Scp => Ok(()),
            Copy::Rsync => kit.debian("rsync", "/usr/bin/rsync"),
            Copy::Qcp => kit.registry(&QCP),
        }
    }

    fn version(&self, kit: &Kit) -> anyhow::Result<String> {
        match self.program {
            Copy::Scp => kit.said_by("ssh", &["-V"]),
            Copy::Rsync => kit.said_by("rsync", &["--version"]),
            Copy::Qcp => kit.said_by(qcp(kit), &["--version"]),
        }
    }

    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe> {
        let files = Files::make(task)?;
        let arrived = task.folder.join("arrived");
        fs::create_dir(&arrived)?;
        let to = format!("root@{FAR}:{}/", arrived.display());
        Ok(Recipe {
            before: vec![(files.server(), Ready::Port(task.port))],
            trigger: self.sender(task, &files, &to),
            progress: Progress::File {
                folder: arrived,
                name: SOURCE,
            },
        })
    }
}

/// Keys and configuration of one transfer.
pub(crate) struct Files {
    config: std::path::PathBuf,
    key: std::path::PathBuf,
}

impl Files {
    /// OpenSSH's server with this configuration.
    pub(crate) fn server(&self) -> Invocation {
        Invocation::new(Side::Far, SSHD)
            .args(["-D", "-e", "-f"])
            .arg(self.config.as_path())
    }

    pub(crate) fn make(task: &Task<'_>) -> anyhow::Result<Self> {
        let folder = task.folder;
        let (host, key) = (folder.join("ssh_host_key"), folder.join("ssh_user_key"));
        for path in [&host, &key] {
            let path = path.to_string_lossy();
            task.kit.quiet(
                "ssh-keygen",
                &["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", &path],
            )?;
        }
        if !Path::new(PRIVILEGE_SEPARATION).exists() {
            fs::DirBuilder::new()
                .mode(0o755)
                .create(PRIVILEGE_SEPARATION)?;
        }
        let config = folder.join("sshd_config");
        let text = format!(
            "Port {}\nListenAddress {FAR}\nHostKey {}\nAuthorizedKeysFile {}.pub\nPidFile none\n\
             UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nUseDNS no\nLogLevel ERROR\n\
             Subsystem sftp internal-sftp\nSubsystem qcp {} --server\n",
            task.port,
            host.display(),
            key.display(),
            qcp(task.kit).display(),
        );
        fs::write(&config, text)?;
        Ok(Self { config, key })
    }

    /// For ssh and scp: this key, this server, nothing of the user's.
    pub(crate) fn client_options(&self) -> Vec<String> {
        let mut options = vec!["-F".to_owned(), "/dev/null".to_owned()];
        options.extend(["-i".to_owned(), self.key.display().to_string()]);
        for setting in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "LogLevel=ERROR",
        ] {
            options.extend(["-o".to_owned(), setting.to_owned()]);
        }
        options
    }
}
