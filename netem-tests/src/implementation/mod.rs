//! Implementations: everything that moves bytes from one machine to another, behind one interface, so that all
//! are started, watched and measured alike. What is measured is in `stage`; which links, in `grid`.
//!
//! A new implementation is: one file, one line in [`ALL`]. It says how it is installed, which programs run where,
//! and how one sees what has arrived; it starts nothing itself.

mod debian;
mod download;
mod kit;
mod look;
mod peers;
mod program;
mod rpp;
mod shadowsocks;
mod ssh;
mod stage;
mod tcp;
mod wire;

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rp_protocol::units::Bandwidth;

pub use self::{
    kit::Kit,
    stage::{Figures, Job, transfer, transfer_by},
    wire::Carrier,
};
pub(crate) use self::{
    ssh::Files as SshFiles,
    stage::{PORT, Run, Stage, check, transfer_over, window},
    wire::Wire,
};
use crate::netns::Namespace;

/// Everything there is, in the order of tables.
pub const ALL: &[&dyn Implementation] = &[
    &rpp::Rpcp::FAIR,
    &rpp::Rpcp::LOW,
    &rpp::Rpclient,
    &rpp::Transport,
    &tcp::Tcp::BBR,
    &tcp::Tcp::CUBIC,
    &peers::Peer::QUINN_BBR,
    &peers::Peer::QUINN_CUBIC,
    &peers::Peer::UDT4,
    &peers::Peer::SRT,
    &tcp::Tcp::BBR_X16,
    &tcp::Tcp::CUBIC_X16,
    &tcp::Tcp::BBR_DEFAULT,
    &tcp::Tcp::CUBIC_DEFAULT,
    &ssh::Ssh::SCP_BBR,
    &ssh::Ssh::SCP,
    &ssh::Ssh::RSYNC_BBR,
    &ssh::Ssh::RSYNC,
    &ssh::Ssh::QCP,
    &debian::Kcptun,
    &shadowsocks::Shadowsocks,
    &debian::Uftp,
];

/// The implementation of that name.
pub fn find(name: &str) -> Option<&'static dyn Implementation> {
    ALL.iter()
        .copied()
        .find(|implementation| implementation.name() == name)
}

/// Something that moves bytes from near to far.
pub trait Implementation: fmt::Debug + Sync {
    /// Stands in records and tables.
    fn name(&self) -> &'static str;

    /// Its settings, in a sentence.
    fn about(&self) -> &'static str;

    /// Whether it is to be seen with the buffers of an untuned system.
    fn has_default_buffers(&self) -> bool {
        false
    }

    /// The congestion control that TCP beneath it is to have; the kernel's default if absent.
    fn congestion(&self) -> Option<&'static str> {
        None
    }

    /// Gets what is missing on this machine.
    ///
    /// # Errors
    /// It cannot be had; the text says why.
    fn install(&self, kit: &Kit) -> anyhow::Result<()>;

    /// Of the program or kernel that does the work.
    ///
    /// # Errors
    /// It is not there.
    fn version(&self, kit: &Kit) -> anyhow::Result<String>;

    /// What to start where.
    ///
    /// # Errors
    /// A file it needs cannot be made.
    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe>;
}

/// What a recipe is for.
#[derive(Debug)]
pub struct Task<'a> {
    /// Programs and content.
    pub kit: &'a Kit,
    /// In memory, for this transfer alone.
    pub folder: &'a Path,
    /// The file to send, for those that send files.
    pub source: &'a Path,
    /// How much to send.
    pub bytes: u64,
    /// Of the first link that is slow.
    pub rate: Bandwidth,
    /// Without queues.
    pub round_trip: Duration,
    /// What buffers and windows should hold: several bandwidth-delay products.
    pub window: u64,
    /// The first of ten ports that are free on both sides.
    pub port: u16,
}

/// An end of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where the data comes from.
    Near,
    /// Where it goes.
    Far,
}

/// A program to start.
#[derive(Clone, Debug)]
pub struct Invocation {
    side: Side,
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Invocation {
    pub(crate) fn new(side: Side, program: impl Into<PathBuf>) -> Self {
        Self {
            side,
            program: program.into(),
            arguments: Vec::new(),
        }
    }

    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(crate) fn args<T: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = T>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The same, in a namespace that is on neither end of the link itself.
    pub(crate) fn inside(self, namespace: &Namespace) -> Self {
        Self::new(self.side, "ip")
            .args(["netns", "exec", namespace.name()])
            .arg(self.program)
            .args(self.arguments)
    }

    /// As a command inside `namespace`, for whoever waits for its end.
    pub(crate) fn command(&self, namespace: &Namespace) -> Command {
        let mut command = namespace.command(&self.program.to_string_lossy());
        command.args(&self.arguments);
        command
    }
}

/// How one sees that a program is ready for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The port is open there.
    Port(u16),
}

/// How one sees what has arrived.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The first of the programs tells its tally on standard output (see `peer`).
    Tally,
    /// A file grows in a folder; it has arrived when it has this name and all its bytes.
    File {
        /// Watched for anything that grows.
        folder: PathBuf,
        /// In the end.
        name: &'static str,
    },
}

/// The programs of one transfer.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Started one after another, each when the one before is ready.
    before: Vec<(Invocation, Ready)>,
    /// Its start starts the clock.
    trigger: Invocation,
    progress: Progress,
}

impl Recipe {
    /// How one sees what has arrived.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Programs whose bytes nobody counts: the trigger's end is what is waited for.
    pub(crate) fn untold(before: Vec<(Invocation, Ready)>, trigger: Invocation) -> Self {
        Self {
            before,
            trigger,
            progress: Progress::Tally,
        }
    }
}
