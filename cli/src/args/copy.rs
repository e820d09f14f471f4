//! The command line of `rpcp`, with scp's grammar.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    ArgAction, ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum,
    value_parser,
};
use rp_protocol::units::Bandwidth;

use crate::{
    connect::{Family, Trust},
    copy::{Ports, SILENCE, filter::Rule},
    openssh::Fingerprint,
    rate,
};

/// Copy files and folders fast over long and lossy networks.
///
/// A location is a local path, `-` for standard input or output, `[USER@]HOST:PATH`, for which ssh starts rpcp on
/// that machine, or `rp://HOST[:PORT]/PATH`, a path beneath the root of an rpserver. A folder, or a path that ends
/// in `/`, keeps the source's name.
///
/// `rpcp ls|rm|mkdir HOST:PATH` lists, removes and makes what is there (`rpcp ls --help`), as with rp://; a file of
/// that name is written ./ls.
#[derive(Clone, Debug, Parser)]
#[command(name = "rpcp", version, max_term_width = 100)]
pub struct CopyArgs {
    /// Keep modification time and permission bits of the source. Only root keeps set-user-id and set-group-id bits,
    /// of files that were root's, and only of what is copied to this machine
    #[arg(short = 'p')]
    pub preserve: bool,

    /// Copy folders with all that is in them
    #[arg(short = 'r')]
    pub recursive: bool,

    /// How the server is reached
    #[command(flatten)]
    pub connection: ConnectionArgs,

    /// Copy no faster than this, in either direction: 200M, 25MB/s; a bare number is bit/s
    #[arg(long, value_name = "RATE", value_parser = rate::parse)]
    pub rate: Option<Bandwidth>,

    /// Copy no faster than this many kbit/s, as in scp
    #[arg(short, value_name = "KBITS", conflicts_with = "rate", value_parser = kbits)]
    pub limit: Option<Bandwidth>,

    /// How the rate is decided: share the path, or send at --rate whatever happens
    #[arg(long, value_name = "POLICY", default_value = "fair")]
    pub policy: PolicyArg,

    /// What a symbolic link in a folder stands for
    #[arg(long, value_name = "HOW", default_value = "copy")]
    pub links: LinksArg,

    /// Copy a file that has several names once, and give it the others
    #[arg(long)]
    pub hard_links: bool,

    /// Make holes of blocks of zeros
    #[arg(long)]
    pub sparse: bool,

    /// Keep extended attributes and ACLs; with -p, root keeps those of the system too
    #[arg(long)]
    pub xattrs: bool,

    /// Stay out of other file systems that are mounted in a folder
    #[arg(long)]
    pub one_file_system: bool,

    /// Leave out what matches this pattern, in the syntax of .gitignore; of several --include and --exclude the
    /// first that matches counts
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,

    /// Copy what matches this pattern, whatever a later --exclude says; without any --exclude, nothing else
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,

    /// Copy the files that this file names, each with the folders it is in; - is standard input. The names stand
    /// on lines, or end with NUL, and are beneath the one SOURCE
    #[arg(long, value_name = "FILE")]
    pub files_from: Option<PathBuf>,

    /// When all was copied without a failure, remove from copied folders what the source does not have; what is
    /// excluded stays
    #[arg(long, requires = "recursive", conflicts_with = "files_from")]
    pub delete: bool,

    /// Whether an interrupted copy is gone on with; verify reads what is there first
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub resume: ResumeArg,

    /// Send all of a file, also where an older file of that name is there and has most of it
    #[arg(long)]
    pub no_reduce: bool,

    /// When what is received has to be on the disk: each file by itself, many together, or whenever
    #[arg(long, value_name = "WHEN", default_value = "batch")]
    pub fsync: FsyncArg,

    /// Only say what would be copied and removed
    #[arg(long)]
    pub dry_run: bool,

    /// Write the BLAKE3 digests of what is copied to this file, as b3sum -c reads them; if it is there, compare what
    /// is copied with it
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,

    /// Print the BLAKE3 digests of what is copied, as b3sum does
    #[arg(long)]
    pub checksum: bool,

    /// Print what the copy took as a table: time, goodput, bytes on the wire, retransmits, RTT, loss, queue, disk
    #[arg(long)]
    pub stats: bool,

    /// Say everything in JSON, an object a line: progress, each failure, and a summary (cli/docs/rpcp.md)
    #[arg(long)]
    pub json: bool,

    /// --include and --exclude in the order in which they were typed
    #[arg(skip)]
    pub rules: Vec<Rule>,

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

    /// Your key, instead of ~/.ssh/id_ed25519, or of those that ssh would take
    #[arg(short, value_name = "KEY")]
    pub identity: Option<PathBuf>,

    /// Port of ssh on the other machine, as in scp
    #[arg(short = 'P', value_name = "PORT")]
    pub ssh_port: Option<u16>,

    /// Configuration of ssh, instead of ~/.ssh/config
    #[arg(short = 'F', value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,

    /// Machine that ssh goes through; the files go directly
    #[arg(short = 'J', value_name = "[USER@]HOST[:PORT]")]
    pub jump: Option<String>,

    /// Option for ssh, as in its configuration; may be given again
    #[arg(short = 'o', value_name = "OPTION")]
    pub ssh_options: Vec<String>,

    /// UDP ports of the other machine, one of which is used with HOST:PATH: 60000-60010, or one [default: any]
    #[arg(long, value_name = "A-B")]
    pub udp_ports: Option<Ports>,

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
    /// The process's arguments; ends the program if they make no sense.
    pub fn of_process() -> Self {
        let matches = Self::command().get_matches();
        let parsed = Self::from_arg_matches(&matches);
        let mut args = parsed.unwrap_or_else(|error| error.exit());
        args.rules = rules(&matches);
        args
    }

    /// The highest rate to send at, from `--rate` or `-l`.
    pub fn max_rate(&self) -> Option<Bandwidth> {
        self.rate.or(self.limit)
    }
}

/// What can be done at a server without copying.
#[derive(Clone, Debug, Parser)]
#[command(name = "rpcp", version, max_term_width = 100)]
pub enum FilesArgs {
    /// List what is at HOST:PATH or rp://HOST/PATH
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
        #[arg(value_name = "HOST:PATH", required = true)]
        locations: Vec<OsString>,
    },
    /// Remove what is at HOST:PATH or rp://HOST/PATH
    Rm {
        /// Folders with all that is in them
        #[arg(short)]
        recursive: bool,
        /// How the server is reached
        #[command(flatten)]
        connection: ConnectionArgs,
        /// What
        #[arg(value_name = "HOST:PATH", required = true)]
        locations: Vec<OsString>,
    },
    /// Make a folder at HOST:PATH or rp://HOST/PATH
    Mkdir {
        /// How the server is reached
        #[command(flatten)]
        connection: ConnectionArgs,
        /// Where
        #[arg(value_name = "HOST:PATH", required = true)]
        locations: Vec<OsString>,
    },
}

/// All `--include` and `--exclude`, in the order in which they were typed.
fn rules(matches: &ArgMatches) -> Vec<Rule> {
    let of = |option, include| {
        let indices = matches.indices_of(option).into_iter().flatten();
        let patterns = matches.get_many::<String>(option).into_iter().flatten();
        indices.zip(patterns).map(move |(index, pattern)| {
            let pattern = pattern.clone();
            (index, Rule { pattern, include })
        })
    };
    let mut rules: Vec<_> = of("include", true).chain(of("exclude", false)).collect();
    rules.sort_by_key(|rule| rule.0);
    rules.into_iter().map(|rule| rule.1).collect()
}

fn kbits(typed: &str) -> Result<Bandwidth, rate::RateError> {
    rate::parse(&format!("{typed}kbit"))
}
