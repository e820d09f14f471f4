//! Transports that are libraries: a pair of small programs of ours for each, in `netem-tests/implementations`,
//! which is no part of the workspace, so that their dependencies stay out of the product's lock file.

use std::path::PathBuf;

use super::{Implementation, Invocation, Kit, Progress, Ready, Recipe, Side, Task};
use crate::tun::FAR;

/// A transport with ends of our own.
#[derive(Debug)]
pub(super) struct Peer {
    name: &'static str,
    about: &'static str,
    built_on: Library,
    arguments: &'static [&'static str],
}

#[derive(Debug)]
enum Library {
    /// The package in `implementations/`.
    Quinn,
    /// A C++ file there, against a library of Debian's.
    Debian {
        source: &'static str,
        package: &'static str,
        header: &'static str,
        link: &'static [&'static str],
    },
}

impl Peer {
    pub(super) const QUINN_BBR: Self = Self {
        name: "quinn-bbr",
        about: "QUIC by quinn, BBR, one stream read in any order, windows and socket buffers of four bandwidth-delay products",
        built_on: Library::Quinn,
        arguments: &["--congestion", "bbr"],
    };
    pub(super) const QUINN_CUBIC: Self = Self {
        name: "quinn-cubic",
        about: "QUIC by quinn, CUBIC, otherwise as quinn-bbr",
        built_on: Library::Quinn,
        arguments: &["--congestion", "cubic"],
    };
    pub(super) const UDT4: Self = Self {
        name: "udt4",
        about: "UDT 4, its own congestion control, windows and socket buffers of four bandwidth-delay products",
        built_on: Library::Debian {
            source: "udt4.cpp",
            package: "libudt-dev",
            header: "/usr/include/udt/udt.h",
            link: &["-ludt"],
        },
        arguments: &[],
    };
    pub(super) const SRT: Self = Self {
        name: "srt",
        about: "SRT in file mode, flow window and buffers of four bandwidth-delay products, no limit of rate, no encryption",
        built_on: Library::Debian {
            source: "srt.cpp",
            package: "libsrt-openssl-dev",
            header: "/usr/include/srt/srt.h",
            link: &["-lsrt"],
        },
        arguments: &[],
    };

    fn program(&self, kit: &Kit) -> PathBuf {
        match &self.built_on {
            Library::Quinn => kit.implementations_dir().join("release/quinn-peer"),
            Library::Debian { source, .. } => {
                kit.implementations_dir().join(source).with_extension("")
            }
        }
    }
}

impl Implementation for Peer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn install(&self, kit: &Kit) -> anyhow::Result<()> {
        match &self.built_on {
            Library::Quinn => kit.build_implementation(),
            Library::Debian {
                source,
                package,
                header,
                link,
            } => {
                kit.debian("g++", "/usr/bin/g++")?;
                kit.debian(package, header)?;
                kit.compile(source, &self.program(kit), link)
            }
        }
    }

    fn version(&self, kit: &Kit) -> anyhow::Result<String> {
        kit.said_by(self.program(kit), &["version"])
    }

    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe> {
        let program = self.program(task.kit);
        let (port, bytes) = (task.port.to_string(), task.bytes.to_string());
        let window = task.window.to_string();
        let receiver = Invocation::new(Side::Far, &program)
            .args(["recv", "--port", &port, "--bytes", &bytes])
            .args(["--window", &window])
            .args(self.arguments);
        let sender = Invocation::new(Side::Near, &program)
            .args(["send", &FAR.to_string(), &port, &bytes])
            .args(["--window", &window])
            .args(self.arguments);
        Ok(Recipe {
            before: vec![(receiver, Ready::Port(task.port))],
            trigger: sender,
            progress: Progress::Tally,
        })
    }
}
