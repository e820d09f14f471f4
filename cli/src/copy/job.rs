//! What a command line of `rpcp` asks for: one file, or trees, in either direction. How it is done lies in `push`,
//! `pull` and `tree`.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use rp_transfer::{error::Error, message::Status, source::Source};

use super::{
    CopyError,
    identity::Identity,
    location::{Location, LocationError, Remote},
    pull::{self, Target},
    push,
};
use crate::{args::copy::CopyArgs, connect::Server};

/// What is to be copied, opened on this side.
pub(super) enum Job {
    Push {
        source: Box<Source>,
        name: Vec<u8>,
        to: Remote,
    },
    Pull {
        from: Remote,
        target: Target,
    },
    PushTree {
        sources: Vec<PathBuf>,
        to: Remote,
    },
    PullTree {
        sources: Vec<Remote>,
        to: PathBuf,
    },
}

impl Job {
    pub(super) fn open(args: &CopyArgs) -> Result<Self, CopyError> {
        let locations: Vec<_> = args.locations.iter().map(parse).collect::<Result<_, _>>()?;
        let Some((to, from)) = locations.split_last() else {
            return Err(CopyError::Usage("name what is to be copied, and where to"));
        };
        if from.iter().any(is_remote) && args.max_rate().is_some() {
            return Err(CopyError::Usage(
                "a rate limits what this side sends; it cannot slow a server down yet",
            ));
        }
        match (from, to) {
            (from, Location::Remote(_)) if from.iter().any(is_remote) => Err(CopyError::Usage(
                "both sides are remote: one of them must be this machine",
            )),
            ([Location::Local(path)], Location::Remote(to)) if args.recursive && path.is_dir() => {
                Self::push_tree(from, to)
            }
            ([from], Location::Remote(to)) => Self::push_file(from, to),
            (from, Location::Remote(to)) => Self::push_tree(from, to),
            ([Location::Remote(from)], to) if !args.recursive => Self::pull_file(from, to),
            (from, to) if from.iter().all(is_remote) => Self::pull_tree(from, to),
            _ => Err(CopyError::Usage(
                "both sides are on this machine: one of them must be rp://HOST/PATH",
            )),
        }
    }

    fn push_file(from: &Location, to: &Remote) -> Result<Self, CopyError> {
        if *from == Location::Standard && to.file_name().is_none() {
            return Err(LocationError::NeedsName(to.to_string()).into());
        }
        Ok(Self::Push {
            source: Box::new(push::open_source(from).map_err(missing_source)?),
            name: from.source_name(),
            to: to.clone(),
        })
    }

    fn pull_file(from: &Remote, to: &Location) -> Result<Self, CopyError> {
        if from.file_name().is_none() {
            return Err(LocationError::Folder(from.to_string()).into());
        }
        Ok(Self::Pull {
            target: pull::open_target(to, from)?,
            from: from.clone(),
        })
    }

    fn push_tree(from: &[Location], to: &Remote) -> Result<Self, CopyError> {
        let local = |location: &Location| match location {
            Location::Local(path) => Ok(path.clone()),
            _ => Err(CopyError::Usage(
                "standard input cannot be one of several sources",
            )),
        };
        Ok(Self::PushTree {
            sources: from.iter().map(local).collect::<Result<_, _>>()?,
            to: to.clone(),
        })
    }

    fn pull_tree(from: &[Location], to: &Location) -> Result<Self, CopyError> {
        let Location::Local(to) = to else {
            return Err(CopyError::Usage(
                "folders and several files go to a folder, not to standard output",
            ));
        };
        let sources: Vec<_> = from
            .iter()
            .filter_map(|location| match location {
                Location::Remote(remote) => Some(remote.clone()),
                _ => None,
            })
            .collect();
        let mut servers = sources.iter().map(|remote| &remote.server);
        let first = servers.next();
        if !servers.all(|server| Some(server) == first) {
            return Err(CopyError::Usage(
                "all sources must be at one server: copy from one after the other",
            ));
        }
        Ok(Self::PullTree {
            sources,
            to: to.clone(),
        })
    }

    pub(super) fn server(&self) -> &Server {
        match self {
            Self::Push { to, .. } | Self::PushTree { to, .. } => &to.server,
            Self::Pull { from, .. } => &from.server,
            // There is at least one source.
            Self::PullTree { sources, .. } => &sources[0].server,
        }
    }

    /// For the progress bar and the digest.
    pub(super) fn name(&self) -> String {
        let name = match self {
            Self::Push { name, .. } => name.clone(),
            Self::Pull { from, .. } => Location::Remote(from.clone()).source_name(),
            Self::PushTree { sources, .. } => match sources.as_slice() {
                [one] => file_name(one).as_encoded_bytes().to_vec(),
                several => format!("{} sources", several.len()).into_bytes(),
            },
            Self::PullTree { sources, .. } => match sources.as_slice() {
                [one] => one.folder_name().as_encoded_bytes().to_vec(),
                several => format!("{} sources", several.len()).into_bytes(),
            },
        };
        match name.as_slice() {
            b"" => "-".to_owned(),
            name => rp_transfer::error::printable(name),
        }
    }

    pub(super) fn prints_to_standard_output(&self) -> bool {
        matches!(
            self,
            Self::Pull {
                target: Target::Standard,
                ..
            }
        )
    }
}

/// What makes the copy that was typed this one and no other.
pub(super) fn identity(args: &CopyArgs) -> Result<Option<Identity>, CopyError> {
    let locations: Vec<_> = args.locations.iter().map(parse).collect::<Result<_, _>>()?;
    Ok(Identity::of(&locations))
}

/// The name a folder keeps where it is copied to; empty for what ends in `.` or `..`, whose content is.
pub(super) fn file_name(path: &Path) -> &OsStr {
    let is_dot = path.as_os_str().as_encoded_bytes().ends_with(b"/.");
    path.file_name().filter(|_| !is_dot).unwrap_or_default()
}

fn is_remote(location: &Location) -> bool {
    matches!(location, Location::Remote(_))
}

fn parse(typed: &OsString) -> Result<Location, CopyError> {
    Ok(Location::parse(typed)?)
}

/// A source that is not there has an exit code of its own; a missing target folder has not.
pub(super) fn missing_source(error: Error) -> CopyError {
    match error.status() {
        Status::NotFound => CopyError::NoSource(error),
        _ => CopyError::Transfer(error),
    }
}
