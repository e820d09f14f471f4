//! What a command line of `rpcp` asks for: one file, or trees, in either direction. How it is done lies in `push`,
//! `pull` and `tree`.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use rp_transfer::{
    error::Error, glob::is_pattern, message::Status, path::printable_path, source::Source,
};

use super::{
    CopyError,
    filter::Filter,
    identity::Identity,
    location::{self, Host, Location, LocationError, Remote},
    pull::{self, Target},
    push,
    ssh::Purpose,
    tree::parse_names,
};
use crate::args::copy::{CopyArgs, PolicyArg};

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
        wanted: Wanted,
    },
    PullTree {
        sources: Vec<Remote>,
        to: PathBuf,
        wanted: Wanted,
    },
    /// From one machine to another, through this one.
    Relay {
        sources: Vec<Remote>,
        to: Remote,
        wanted: Wanted,
    },
}

/// What of trees is to be copied.
pub(super) struct Wanted {
    pub(super) filter: Filter,
    /// Only this of the one source.
    pub(super) names: Option<Vec<Vec<u8>>>,
}

impl Wanted {
    fn new(args: &CopyArgs, sources: usize) -> Result<Self, CopyError> {
        let names = match &args.files_from {
            Some(_) if sources > 1 => {
                return Err(CopyError::Usage("--files-from names files of one source"));
            }
            Some(list) => Some(read_names(list)?),
            None => None,
        };
        let filter = Filter::new(&args.rules)?;
        Ok(Self { filter, names })
    }
}

fn read_names(list: &Path) -> Result<Vec<Vec<u8>>, CopyError> {
    let failed = |error| CopyError::NoSource(Error::io(location::printable_path(list), error));
    let mut names = Vec::new();
    match list == Path::new("-") {
        true => io::stdin().lock().read_to_end(&mut names).map(|_| ()),
        false => File::open(list).and_then(|mut file| file.read_to_end(&mut names).map(|_| ())),
    }
    .map_err(failed)?;
    Ok(parse_names(&names))
}

impl Job {
    pub(super) fn open(args: &CopyArgs) -> Result<Self, CopyError> {
        let locations: Vec<_> = args.locations.iter().map(parse).collect::<Result<_, _>>()?;
        let Some((to, from)) = locations.split_last() else {
            return Err(CopyError::Usage("name what is to be copied, and where to"));
        };
        let is_server = |location: &Location| match location {
            Location::Remote(remote) => matches!(remote.host, Host::Server(_)),
            _ => false,
        };
        let is_fetched = from.iter().any(is_server) && !is_remote(to);
        if is_fetched && args.policy == PolicyArg::Fixed {
            return Err(CopyError::Usage(
                "--policy fixed is for what this side sends: a server decides by itself",
            ));
        }
        // One file is copied as a tree where only part of a tree may be wanted.
        let is_tree =
            args.recursive || args.files_from.is_some() || args.dry_run || !args.rules.is_empty();
        let wanted = Wanted::new(args, from.len())?;
        match (from, to) {
            (from, Location::Remote(_))
                if from.iter().all(is_remote)
                    && (args.delete || args.hard_links || wanted.names.is_some()) =>
            {
                Err(CopyError::Usage(
                    "--delete, --hard-links and --files-from are not for copies from one machine to another through this one",
                ))
            }
            (from, Location::Remote(to)) if from.iter().all(is_remote) => Ok(Self::Relay {
                sources: on_one_machine(from)?,
                to: to.clone(),
                wanted,
            }),
            (from, Location::Remote(_)) if from.iter().any(is_remote) => Err(CopyError::Usage(
                "sources are on this machine and on another: copy from one after the other",
            )),
            ([Location::Local(path)], Location::Remote(to))
                if is_tree && (path.is_dir() || args.dry_run || !args.rules.is_empty()) =>
            {
                Self::push_tree(from, to, wanted)
            }
            ([from], Location::Remote(to)) => Self::push_file(from, to),
            (from, Location::Remote(to)) => Self::push_tree(from, to, wanted),
            ([Location::Remote(from)], to) if !is_tree && !is_pattern(&from.path) => {
                Self::pull_file(from, to)
            }
            (from, to) if from.iter().all(is_remote) => Self::pull_tree(from, to, wanted),
            _ => Err(CopyError::Usage(
                "both sides are on this machine: one of them must be HOST:PATH or rp://HOST/PATH",
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
        let is_ssh = matches!(from.host, Host::Ssh(_));
        let is_spelled_folder = is_ssh && matches!(from.typed(), b"." | b".." | b"~");
        if is_spelled_folder || from.file_name().is_none() {
            return Err(LocationError::Folder(from.to_string()).into());
        }
        Ok(Self::Pull {
            target: pull::open_target(to, from)?,
            from: from.clone(),
        })
    }

    fn push_tree(from: &[Location], to: &Remote, wanted: Wanted) -> Result<Self, CopyError> {
        let local = |location: &Location| match location {
            Location::Local(path) => Ok(path.clone()),
            _ => Err(CopyError::Usage(
                "standard input cannot be one of several sources",
            )),
        };
        Ok(Self::PushTree {
            sources: from.iter().map(local).collect::<Result<_, _>>()?,
            to: to.clone(),
            wanted,
        })
    }

    fn pull_tree(from: &[Location], to: &Location, wanted: Wanted) -> Result<Self, CopyError> {
        let Location::Local(to) = to else {
            return Err(CopyError::Usage(
                "folders and several files go to a folder, not to standard output",
            ));
        };
        Ok(Self::PullTree {
            sources: on_one_machine(from)?,
            to: to.clone(),
            wanted,
        })
    }

    /// What is read on another machine than that which [`Job::places`] is about.
    pub(super) fn sources_elsewhere(&mut self) -> Option<Vec<(Purpose, &mut Remote)>> {
        let Self::Relay { sources, .. } = self else {
            return None;
        };
        let sources = sources.iter_mut();
        Some(sources.map(|source| (Purpose::Source, source)).collect())
    }

    /// What is on the other machine.
    pub(super) fn places(&mut self) -> Vec<(Purpose, &mut Remote)> {
        match self {
            Self::Push { to, .. } | Self::PushTree { to, .. } | Self::Relay { to, .. } => {
                vec![(Purpose::Target, to)]
            }
            Self::Pull { from, .. } => vec![(Purpose::Source, from)],
            Self::PullTree { sources, .. } => {
                let sources = sources.iter_mut();
                sources.map(|source| (Purpose::Source, source)).collect()
            }
        }
    }

    /// Refuses what cannot be done now that is known what is on the other machine.
    pub(super) fn check(&self) -> Result<(), CopyError> {
        match self {
            Self::Pull { from, .. } if from.is_folder_there() => {
                Err(Error::Folder(printable_path(from.typed())).into())
            }
            _ => Ok(()),
        }
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        rp_transfer::error::printable(&self.source_name())
    }

    /// What the source is called, or how many there are.
    pub(super) fn source_name(&self) -> Vec<u8> {
        let name = match self {
            Self::Push { name, .. } => name.clone(),
            Self::Pull { from, .. } => Location::Remote(from.clone()).source_name(),
            Self::PushTree { sources, .. } => match sources.as_slice() {
                [one] => file_name(one).as_encoded_bytes().to_vec(),
                several => format!("{} sources", several.len()).into_bytes(),
            },
            Self::PullTree { sources, .. } | Self::Relay { sources, .. } => {
                match sources.as_slice() {
                    [one] => one.folder_name().as_encoded_bytes().to_vec(),
                    several => format!("{} sources", several.len()).into_bytes(),
                }
            }
        };
        match name.as_slice() {
            b"" => b"-".to_vec(),
            _ => name,
        }
    }

    /// Whether the server sends.
    pub(super) fn receives(&self) -> bool {
        matches!(self, Self::Pull { .. } | Self::PullTree { .. })
    }

    /// Whether standard input is a source, and no keys come from there.
    pub(super) fn reads_standard_input(&self) -> bool {
        // A pipe; a file of a known size is none.
        matches!(self, Self::Push { source, .. } if source.attributes().size.is_none())
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

/// Sources that one connection leads to.
fn on_one_machine(from: &[Location]) -> Result<Vec<Remote>, CopyError> {
    let sources: Vec<_> = from
        .iter()
        .filter_map(|location| match location {
            Location::Remote(remote) => Some(remote.clone()),
            _ => None,
        })
        .collect();
    let mut hosts = sources.iter().map(|remote| &remote.host);
    let first = hosts.next();
    match hosts.all(|host| Some(host) == first) {
        true => Ok(sources),
        false => Err(CopyError::Usage(
            "all sources must be on one machine: copy from one after the other",
        )),
    }
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
