//! What can be done at a server without copying: `rpcp ls`, `rpcp rm` and `rpcp mkdir`.

use std::{ffi::OsString, sync::Arc};

use clap::Parser as _;
use rp_protocol::{config::TransportConfig, trace::Tracer};
use rp_transfer::{
    batch::Report,
    error::printable,
    message::{Depth, Entry, Kind, List, MakeFolder, Message, Remove},
};

use super::{
    CopyError, Link, Sending,
    location::{Location, Remote},
    requests::{self, Requests},
    run_with, say,
    ssh::Purpose,
    tree,
};
use crate::{
    args::copy::{ConnectionArgs, FilesArgs},
    exit_code::Failure,
    run,
};

/// Runs `rpcp ls`, `rpcp rm` or `rpcp mkdir` with the process's arguments.
///
/// # Errors
/// See [`Failure`].
pub(super) fn main() -> Result<(), Failure> {
    let args = FilesArgs::parse();
    run_with(args.connection(), |tracer| run_all(&args, tracer))
}

impl FilesArgs {
    fn connection(&self) -> &ConnectionArgs {
        match self {
            Self::Ls { connection, .. }
            | Self::Rm { connection, .. }
            | Self::Mkdir { connection, .. } => connection,
        }
    }

    fn locations(&self) -> &[OsString] {
        match self {
            Self::Ls { locations, .. }
            | Self::Rm { locations, .. }
            | Self::Mkdir { locations, .. } => locations,
        }
    }
}

async fn run_all(args: &FilesArgs, tracer: Option<Arc<dyn Tracer>>) -> Result<(), CopyError> {
    let remotes: Vec<_> = args
        .locations()
        .iter()
        .map(|typed| match Location::parse(typed)? {
            Location::Remote(remote) => Ok(remote),
            _ => Err(CopyError::Usage(
                "ls, rm and mkdir are for HOST:PATH and rp://HOST/PATH; here there are commands for it",
            )),
        })
        .collect::<Result<_, _>>()?;
    let stop = requests::watch_signals();
    let report = Report::default();
    let purpose = match args {
        FilesArgs::Ls { .. } => Purpose::Source,
        FilesArgs::Rm { .. } | FilesArgs::Mkdir { .. } => Purpose::Name,
    };
    for mut remote in remotes {
        let transport = TransportConfig::default().tracer(tracer.clone());
        let places = vec![(purpose, &mut remote)];
        let how = (transport, Sending::default());
        let link = Link::open(places, args.connection(), how, stop.clone()).await?;
        let done = run_one(args, &link.requests, &remote).await;
        let failed = match link.close(done).await {
            Err(CopyError::Transfer(error)) if args.locations().len() > 1 => error,
            Err(CopyError::Transfer(error)) => return Err(super::missing_source(error)),
            done => {
                done?;
                report.add_file(0);
                continue;
            }
        };
        report.fail(remote.to_string().into_bytes(), failed.to_done());
    }
    let outcome = report.take();
    say::list_failures(&outcome.failures);
    tree::judge(&outcome)
}

async fn run_one(args: &FilesArgs, requests: &Requests, at: &Remote) -> Result<(), CopyError> {
    let path = at.path.clone();
    match args {
        FilesArgs::Mkdir { .. } => {
            let make = Message::MakeFolder(MakeFolder { path });
            requests.ask_for(make).await
        }
        FilesArgs::Rm { recursive, .. } => {
            let recursive = *recursive;
            let remove = Message::Remove(Remove { path, recursive });
            requests.ask_for(remove).await
        }
        FilesArgs::Ls {
            long, recursive, ..
        } => {
            let list = Message::List(List {
                path,
                depth: match recursive {
                    true => Depth::All,
                    false => Depth::Entries,
                },
                ..List::default()
            });
            list_entries(requests, list, at, *long).await
        }
    }
}

async fn list_entries(
    requests: &Requests,
    list: Message,
    at: &Remote,
    long: bool,
) -> Result<(), CopyError> {
    let mut answers = requests.ask(&[list]).await?;
    let mut entries = Vec::new();
    let report = Report::default();
    while let Some(mut entry) = answers.next().await? {
        match (entry.failure.take(), entry.path.is_empty()) {
            (Some(why), true) => return Err(rp_transfer::error::Error::Peer(why).into()),
            (Some(why), false) => report.fail(entry.path, why),
            (None, true) if entry.kind == Kind::Folder => {}
            (None, true) => {
                entry.path = at.folder_name().as_encoded_bytes().to_vec();
                entries.push(entry);
            }
            (None, false) => entries.push(entry),
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    for entry in &entries {
        // Whoever reads this has had enough.
        if !run::said(&line(entry, long)) {
            break;
        }
    }
    let outcome = report.take();
    say::list_failures(&outcome.failures);
    match outcome.failures.len() as u64 {
        0 => Ok(()),
        failed => Err(CopyError::Some {
            failed,
            all: failed + entries.len() as u64,
            code: crate::exit_code::ExitCode::Failed,
        }),
    }
}

/// One thing as it is listed: folders have a `/` at their end, links say where they lead.
fn line(entry: &Entry, long: bool) -> String {
    let mut name = printable_whole(&entry.path);
    match entry.kind {
        Kind::Folder => name.push('/'),
        Kind::Link => name += &format!(" -> {}", printable_whole(&entry.target)),
        Kind::File | Kind::HardLink | Kind::Other => {}
    }
    if !long {
        return name;
    }
    let kind = match entry.kind {
        Kind::File | Kind::HardLink => '-',
        Kind::Folder => 'd',
        Kind::Link => 'l',
        Kind::Other => '?',
    };
    let mode = entry.attributes.mode.unwrap_or(0);
    let size = entry.attributes.size.unwrap_or(0);
    let modified = entry.attributes.modified.map_or(0, |time| time.seconds);
    format!(
        "{kind}{} {size:>12} {} {name}",
        permissions(mode),
        date(modified)
    )
}

/// `rwxr-x---`.
fn permissions(mode: u32) -> String {
    (0..9)
        .rev()
        .zip("rwxrwxrwx".chars())
        .map(|(bit, letter)| match mode >> bit & 1 {
            1 => letter,
            _ => '-',
        })
        .collect()
}

/// Date and time of day in UTC; a date beyond the years with four digits is the nearest of those.
fn date(seconds: i64) -> String {
    const DAY: i64 = 86_400;
    /// Of the years 0 and 10000.
    const BOUNDS: [i64; 2] = [-719_528 * DAY, 2_932_897 * DAY];
    let seconds = seconds.clamp(BOUNDS[0], BOUNDS[1] - 1);
    let (mut days, of_day) = (seconds.div_euclid(DAY) + 719_528, seconds.rem_euclid(DAY));
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 0;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (day, hour) = (days + 1, of_day / 3_600);
    let (minute, second) = (of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// As [`printable`], however long: names are short.
fn printable_whole(path: &[u8]) -> String {
    let names: Vec<_> = path.split(|&byte| byte == b'/').map(printable).collect();
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_listed_as_dates() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(date(seconds), shown);
        }
    }

    #[test]
    fn permissions_are_listed_as_ls_does() {
        assert_eq!(permissions(0o754), "rwxr-xr--");
    }
}
