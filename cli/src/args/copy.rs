//! The command line of `rpcp`, with scp's grammar.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, ValueEnum, value_parser};
use rp_protocol::units::Bandwidth;

use crate::{
    connect::{Family, Trust},
    copy::SILENCE,
    openssh::Fingerprint,
    rate,
};

/// Copy files and folders fast over long and lossy networks.
///
/// A location is a local path, `-` for standard input or output, or `rp://HOST[:PORT]/PATH`: a path
/// beneath the root of an rpserver. A folder, or a path that ends in `/`, keeps the source's name.
///
/// `rpcp ls|rm|mkdir rp://HOST/PATH` lists, removes and makes what is there (`rpcp ls --help`); a file of
/// that name is written ./ls.
#[derive(Clone, Debug, Parser)]
#[command(name = "rpcp", version, max_term_width = 100)]
pub struct CopyArgs {
    /// Keep modification time and permission bits of the source
    #[arg(short = 'p')]
    pub preserve: bool,

    /// Copy folders with all that is in them
    #[arg(short = 'r')]
    pub recursive: bool,

    /// How the server is reached
    #[command(flatten)]
    pub connection: ConnectionArgs,

    /// Send no faster than this: 200M, 25MB/s; a bare number is bit/s
    #[arg(long, value_name = "RATE", value_parser = rate::parse)]
    pub rate: Option<Bandwidth>,

    /// Send no faster than this many kbit/s, as in scp
    #[arg(short, value_name = "KBITS", conflicts_with = "rate", value_parser = kbits)]
    pub limit: Option<Bandwidth>,

    /// How the rate is decided: share the path, or send at --rate whatever happens
    #[arg(long, value_name = "POLICY", default_value = "fair")]
    pub policy: PolicyArg,

    /// What a symbolic link in a folder stands for
    #[arg(long, value_name = "HOW", default_value = "copy")]
    pub links: LinksArg,

    /// Stay out of other file systems that are mounted in a folder
    #[arg(long)]
    pub one_file_system: bool,

    /// Whether an interrupted copy is gone on with; verify reads what is there first
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub resume: ResumeArg,

    /// When what is received has to be on the disk: each file by itself, many together, or whenever
    #[arg(long, value_name = "WHEN", default_value = "batch")]
    pub fsync: FsyncArg,

    /// Only say what would be copied
    #[arg(long)]
    pub dry_run: bool,

    /// Print the BLAKE3 digest of the file, as b3sum does
    #[arg(long)]
    pub checksum: bool,

    /// Print what the copy took: time, rate, batches, losses
    #[arg(long)]
    pub stats: bool,

    /// What is to be copied, and where to
    #[arg(value_name = "SOURCE... TARGET", required = true, num_args = 2..)]
    pub locations: Vec<OsString>,
}

/// How the rate is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyArg {
    /// Fill the path, share it with others
    Fair,
    /// Take only what others leave, for backups
    Low,
    /// Send at --rate, for links one owns
    Fixed,
}

/// What a symbolic link in a folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LinksArg {
    /// What it leads to, as in scp
    Copy,
    /// Itself
    Keep,
    /// Nothing
    Skip,
}

/// Whether an interrupted copy is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResumeArg {
    /// At once, if the source is still the same
    Auto,
    /// It is begun anew
    Never,
    /// If the source is the same, once what is there was read and is right
    Verify,
}

/// When what is received has to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FsyncArg {
    /// Each file, and its name, before the next thing is said of it
    File,
    /// Many files together, before they take their names
    Batch,
    /// Whenever the system likes
    None,
}

/// How a server is reached and known.
#[derive(Clone, Debug, Args)]
pub struct ConnectionArgs {
    /// No progress, only errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Say more; twice for still more
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Your key, instead of ~/.ssh/id_ed25519
    #[arg(short, value_name = "KEY")]
    pub identity: Option<PathBuf>,

    /// The key the server must have, as it prints it (SHA256:...)
    #[arg(long, value_name = "FINGERPRINT")]
    pub host_key: Option<Fingerprint>,

    /// The list of known hosts, instead of your own
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,

    /// Neither use nor keep what is known of the path to the server [kept in ~/.local/state/rapidpath]
    #[arg(long)]
    pub no_path_memory: bool,

    /// Give up when the server is connected and does nothing for so many seconds [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=86_400))]
    pub timeout: Option<u64>,

    /// Write what the connection does, event by event, to this file (qlog), or to a file in this folder
    #[arg(long, value_name = "PATH")]
    pub trace: Option<PathBuf>,

    /// Use IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6")]
    pub ipv4: bool,

    /// Use IPv6 only
    #[arg(short = '6')]
    pub ipv6: bool,
}

impl ConnectionArgs {
    /// Which addresses are to be used.
    pub fn family(&self) -> Family {
        match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        }
    }

    /// How long the server may do nothing while it is its turn.
    pub fn silence(&self) -> Duration {
        self.timeout.map_or(SILENCE, Duration::from_secs)
    }

    /// Which keys count.
    pub fn trust(&self) -> Trust {
        Trust {
            identity: self.identity.clone(),
            host_key: self.host_key.clone(),
            known_hosts: self.known_hosts.clone(),
        }
    }
}

impl CopyArgs {
    /// The highest rate to send at, from `--rate` or `-l`.
    pub fn max_rate(&self) -> Option<Bandwidth> {
        self.rate.or(self.limit)
    }
}

/// What can be done at a server without copying.
#[derive(Clone, Debug, Parser)]
#[command(name = "rpcp", version, max_term_width = 100)]
pub enum FilesArgs {
    /// List what is at rp://HOST/PATH
    Ls {
        /// One line each: permissions, size, time of modification, name
        #[arg(short)]
        long: bool,
        /// All that is beneath it too
        #[arg(short)]
        recursive: bool,
        /// How the server is reached
        #[command(flatten)]
        connection: ConnectionArgs,
        /// Where
        #[arg(value_name = "rp://HOST/PATH", required = true)]
        locations: Vec<OsString>,
    },
    /// Remove what is at rp://HOST/PATH
    Rm {
        /// Folders with all that is in them
        #[arg(short)]
        recursive: bool,
        /// How the server is reached
        #[command(flatten)]
        connection: ConnectionArgs,
        /// What
        #[arg(value_name = "rp://HOST/PATH", required = true)]
        locations: Vec<OsString>,
    },
    /// Make a folder at rp://HOST/PATH
    Mkdir {
        /// How the server is reached
        #[command(flatten)]
        connection: ConnectionArgs,
        /// Where
        #[arg(value_name = "rp://HOST/PATH", required = true)]
        locations: Vec<OsString>,
    },
}

fn kbits(typed: &str) -> Result<Bandwidth, rate::RateError> {
    rate::parse(&format!("{typed}kbit"))
}
