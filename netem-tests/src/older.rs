//! What a second copy sends of a file whose older version is there: our programs in both directions, the same told to
//! send all, and rsync beside them, over one emulated link. A row each: bytes on the link in both directions, as a share
//! of the file.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rp_protocol::units::Bandwidth;

use crate::{
    content::digest_of_file,
    implementation::{Invocation, Kit, PORT, Ready, Recipe, Side, Stage},
    leftovers,
    link::LinkConfig,
    netns,
    scenario::Scenario,
    threshold::Row,
    tun::{FAR, TunLab},
};

/// What the file is called on both sides.
const NAME: &str = "file";

/// Places that change.
const PLACES: u64 = 100;

/// A copy may take so many times as long as the whole file at the link's rate, and so much more.
const PATIENCE: u32 = 4;
const AT_LEAST: Duration = Duration::from_secs(60);

/// What is measured how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the file.
    pub bytes: u64,
    /// Of the link, both ways.
    pub rate: Bandwidth,
    /// Without queues.
    pub round_trip: Duration,
}

/// What became of the older file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Places,
    InFront,
    Nothing,
    Everything,
}

/// Who copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copier {
    Rpcp,
    Whole,
    Rsync,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Put,
    Get,
}

/// What a copy took.
#[derive(Clone, Copy, Debug)]
struct Took {
    wire_bytes: u64,
    time: Duration,
    /// Of both sides together, where the machine can tell.
    processor: Option<Duration>,
}

impl Change {
    const ALL: [Self; 4] = [Self::Places, Self::InFront, Self::Nothing, Self::Everything];

    fn name(self) -> &'static str {
        match self {
            Self::Places => "1 % changed in 100 places",
            Self::InFront => "1 KB put in front",
            Self::Nothing => "another time, the same content",
            Self::Everything => "wholly different",
        }
    }

    /// Most that may be sent, in percent of the file.
    fn threshold(self) -> Option<f64> {
        match self {
            Self::Places => Some(3.0),
            Self::InFront => Some(2.0),
            Self::Nothing => Some(1.0),
            Self::Everything => None,
        }
    }

    /// Makes the new file of the older one.
    fn make(self, older: &Path, new: &Path) -> anyhow::Result<()> {
        match self {
            Self::Places => {
                fs::copy(older, new)?;
                let file = File::options().write(true).open(new)?;
                let size = file.metadata()?.len();
                let mut fresh = blake3::Hasher::new_derive_key("changed").finalize_xof();
                let mut piece = vec![0; usize::try_from(size / 100 / PLACES)?];
                for place in 0..PLACES {
                    fresh.fill(&mut piece);
                    file.write_all_at(&piece, size / PLACES * place + 12_345)?;
                }
            }
            Self::InFront => {
                let mut file = File::create(new)?;
                file.write_all(&[b'x'; 1024])?;
                io::copy(&mut File::open(older)?, &mut file)?;
            }
            Self::Nothing => {
                fs::copy(older, new)?;
            }
            Self::Everything => {
                let size = older.metadata()?.len();
                let fresh = blake3::Hasher::new_derive_key("different").finalize_xof();
                io::copy(&mut fresh.take(size), &mut File::create(new)?)?;
            }
        }
        Ok(())
    }
}

impl Copier {
    fn name(self) -> &'static str {
        match self {
            Self::Rpcp => "rpcp",
            Self::Whole => "rpcp --no-reduce",
            Self::Rsync => "rsync daemon, without ssh",
        }
    }
}

/// Measures all of it; `note` hears of each copy.
///
/// # Errors
/// There is no root, or a program fails.
pub fn run(options: &Options, kit: &Kit, note: &mut dyn FnMut(&str)) -> anyhow::Result<Vec<Row>> {
    if let Some(reason) = netns::unavailable() {
        anyhow::bail!("no namespaces: {reason}");
    }
    leftovers::clean()?;
    kit.debian("rsync", "/usr/bin/rsync")?;
    let folder = tempfile::Builder::new()
        .prefix("older-")
        .tempdir_in(kit.folder())?;
    let (older, new) = (folder.path().join("older"), folder.path().join("new"));
    let output = blake3::Hasher::new().finalize_xof();
    io::copy(&mut output.take(options.bytes), &mut File::create(&older)?)?;
    let mut rows = Vec::new();
    for change in Change::ALL {
        change.make(&older, &new)?;
        for way in [Way::Put, Way::Get] {
            let mut took = Vec::new();
            for copier in [Copier::Rpcp, Copier::Whole, Copier::Rsync] {
                // All of a file is always the same.
                if copier == Copier::Whole && change != Change::Everything {
                    continue;
                }
                let copied = options
                    .copy(kit, copier, way, (&older, &new))
                    .with_context(|| format!("{}, {}", change.name(), copier.name()))?;
                note(&format!(
                    "{}, {way:?}, {}: {copied:?}",
                    change.name(),
                    copier.name()
                ));
                took.push((copier, copied));
            }
            rows.extend(options.rows(change, way, &took));
        }
    }
    Ok(rows)
}

impl Options {
    fn rows(&self, change: Change, way: Way, took: &[(Copier, Took)]) -> Vec<Row> {
        let whole = took.iter().find(|took| took.0 == Copier::Whole);
        let mut rows = Vec::new();
        for (copier, took) in took {
            let what = |figure| {
                let way = format!("{way:?}").to_lowercase();
                format!("{}, {way}, {}: {figure}", change.name(), copier.name())
            };
            let share = took.wire_bytes as f64 * 100.0 / self.bytes as f64;
            rows.push(match (copier, change.threshold(), whole) {
                (Copier::Rpcp, Some(threshold), _) => {
                    Row::at_most(&what("sent"), share, threshold, "%")
                }
                (Copier::Rpcp, _, Some((_, whole))) => {
                    let most = whole.wire_bytes as f64 * 101.0 / self.bytes as f64;
                    Row::at_most(&what("sent"), share, (most * 100.0).round() / 100.0, "%")
                }
                _ => Row::told(&what("sent"), share, "%"),
            });
            let seconds = took.time.as_secs_f64();
            rows.push(match (copier, whole) {
                (Copier::Rpcp, Some((_, whole))) => {
                    let most = whole.time.as_secs_f64() * 1.05 + self.round_trip.as_secs_f64();
                    Row::at_most(&what("time"), seconds, (most * 100.0).round() / 100.0, "s")
                }
                _ => Row::told(&what("time"), seconds, "s"),
            });
            if let Some(processor) = took.processor {
                let per_gb = processor.as_secs_f64() * 1e9 / self.bytes as f64;
                rows.push(Row::told(&what("processor of both sides"), per_gb, "s/GB"));
            }
        }
        rows
    }

    /// Copies `new` to where `older` stands.
    fn copy(
        &self,
        kit: &Kit,
        copier: Copier,
        way: Way,
        (older, new): (&Path, &Path),
    ) -> anyhow::Result<Took> {
        let link = LinkConfig::new(self.rate, self.round_trip / 2).mtu(1500);
        let scenario = Scenario {
            name: "older".to_owned(),
            about: "a second copy".to_owned(),
            forward: link.clone(),
            back: link,
            cross: Vec::new(),
            budget: None,
        };
        let stage = Stage::<TunLab>::set(kit, &scenario, 1, false)?;
        let (here, there) = (stage.folder().join("here"), stage.folder().join("there"));
        fs::create_dir(&here)?;
        fs::create_dir(&there)?;
        let (from, to) = match way {
            Way::Put => (&here, &there),
            Way::Get => (&there, &here),
        };
        // One file under two names: it is only read.
        fs::hard_link(new, from.join(NAME))?;
        fs::copy(older, to.join(NAME))?;
        let recipe = recipe(kit, copier, way, stage.folder())?;
        let mut run = stage.begin(&recipe, "0")?;
        let wire = || {
            let report = stage.lab().report();
            report.forward.offered_bytes + report.back.offered_bytes
        };
        let (used, before, began) = (stage.used(), wire(), Instant::now());
        run.start(&stage, &recipe)?;
        let at_rate =
            Duration::from_secs_f64(self.bytes as f64 / self.rate.bytes_per_second().max(1) as f64);
        run.wait(AT_LEAST + at_rate * PATIENCE)?;
        let took = Took {
            wire_bytes: wire() - before,
            time: began.elapsed(),
            processor: used
                .into_iter()
                .zip(stage.used())
                .try_fold(Duration::ZERO, |sum, (before, after)| {
                    Some(sum + after?.saturating_sub(before?))
                }),
        };
        let is_same = digest_of_file(&to.join(NAME))? == digest_of_file(new)?;
        ensure!(is_same, "what arrived differs from what was sent");
        Ok(took)
    }
}

/// The server at the far side, and the copy from or to there.
fn recipe(kit: &Kit, copier: Copier, way: Way, folder: &Path) -> anyhow::Result<Recipe> {
    let local = folder.join("here").join(NAME);
    let (server, copy, remote) = match copier {
        Copier::Rsync => rsync(folder)?,
        Copier::Rpcp => rpcp(kit, folder, &[])?,
        Copier::Whole => rpcp(kit, folder, &["--no-reduce"])?,
    };
    let trigger = match way {
        Way::Put => copy.arg(&local).arg(remote),
        Way::Get => copy.arg(remote).arg(&local),
    };
    Ok(Recipe::untold(vec![(server, Ready::Port(PORT))], trigger))
}

fn rpcp(
    kit: &Kit,
    folder: &Path,
    flags: &[&str],
) -> anyhow::Result<(Invocation, Invocation, PathBuf)> {
    let (programs, keys) = (kit.programs()?, kit.keys()?);
    let address = format!("{FAR}:{PORT}");
    let server = Invocation::new(Side::Far, &programs.rpserver)
        .args(["--listen", &address])
        .arg("--key")
        .arg(&keys.host)
        .arg("--authorized-keys")
        .arg(&keys.authorized)
        .arg("--root")
        .arg(folder.join("there"));
    let copy = Invocation::new(Side::Near, &programs.rpcp)
        .args(["-q", "--no-path-memory", "-i"])
        .arg(&keys.user)
        .args(["--host-key", &keys.fingerprint])
        .args(flags);
    Ok((server, copy, format!("rp://{address}/{NAME}").into()))
}

fn rsync(folder: &Path) -> anyhow::Result<(Invocation, Invocation, PathBuf)> {
    let config = folder.join("rsyncd.conf");
    let text = format!(
        "use chroot = no\naddress = {FAR}\nport = {PORT}\nuid = root\ngid = root\nlock file = {}\n\
         [served]\npath = {}\nread only = no\n",
        folder.join("rsyncd.lock").display(),
        folder.join("there").display(),
    );
    fs::write(&config, text)?;
    let server = Invocation::new(Side::Far, "rsync")
        .args(["--daemon", "--no-detach", "--config"])
        .arg(&config);
    // Equal times and sizes must not be taken for equal files.
    let copy = Invocation::new(Side::Near, "rsync").arg("--ignore-times");
    Ok((
        server,
        copy,
        format!("rsync://{FAR}:{PORT}/served/{NAME}").into(),
    ))
}
