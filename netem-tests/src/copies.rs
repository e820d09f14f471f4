//! Copies of files and trees by `rpcp` and what people use today, over an emulated link or none. Records and their
//! table are in `report::copies`; how fast bytes alone move, `grid` tells.
//!
//! The clock runs from the start of the copying program to its end: whatever it does before and behind the bytes
//! counts.

pub mod kills;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rp_protocol::units::Bandwidth;

use crate::{
    content::Content,
    implementation::{
        Figures, Invocation, Kit, PORT, Ready, Recipe, Side, SshFiles, Stage, Task, Wire, window,
    },
    leftovers,
    link::LinkConfig,
    loss::Loss,
    netns,
    record::{Circumstances, Journal, Outcome},
    report::copies::Record,
    scenario::Scenario,
    tun::{FAR, NEAR, TunLab},
    veth::{Medium, VethLab},
};

/// What copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copier {
    /// Ours, sending.
    Rpcp,
    /// Ours, fetching.
    RpcpFetch,
    /// Of OpenSSH.
    Scp,
    /// Over ssh.
    Rsync,
    /// Through ssh.
    Tar,
}

impl Copier {
    /// In the order of the table.
    pub const ALL: [Self; 5] = [
        Self::Rpcp,
        Self::RpcpFetch,
        Self::Scp,
        Self::Rsync,
        Self::Tar,
    ];

    /// Stands in records and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rpcp => "rpcp",
            Self::RpcpFetch => "rpcp, fetching",
            Self::Scp => "scp -r",
            Self::Rsync => "rsync -a",
            Self::Tar => "tar through ssh",
        }
    }
}

/// What is copied: so many files of so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// How many.
    pub files: u64,
    /// How many bytes each has.
    pub bytes: u64,
}

impl Work {
    /// Stands in records and tables.
    pub fn name(self) -> String {
        let size = match self.bytes {
            bytes if bytes % 1_000_000 == 0 => format!("{} MB", bytes / 1_000_000),
            bytes if bytes % 1000 == 0 => format!("{} KB", bytes / 1000),
            bytes => format!("{bytes} B"),
        };
        match self.files {
            1 => size,
            files => format!("{files} x {size}"),
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is copied.
    pub works: Vec<Work>,
    /// The link; none where nothing is emulated.
    pub link: Option<Link>,
    /// Where trees are read and written; in memory if absent.
    pub folder: Option<PathBuf>,
    /// How often each.
    pub repeat: u32,
    /// When a copy is cut off.
    pub limit: Duration,
    /// Where the records go.
    pub out: PathBuf,
}

/// An emulated link.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// In both directions.
    pub rate: Bandwidth,
    /// Without queues.
    pub round_trip: Duration,
    /// Each way.
    pub loss: f64,
}

impl Link {
    fn scenario(self) -> Scenario {
        let link = LinkConfig::new(self.rate, self.round_trip / 2)
            .loss(Loss::bernoulli(self.loss))
            .mtu(1500);
        Scenario {
            name: "copies".to_owned(),
            about: "the link of the copies".to_owned(),
            forward: link.clone(),
            back: link,
            cross: Vec::new(),
            budget: None,
        }
    }
}

/// Measures one after another until `is_stopped`; `tell` hears of each as it comes. Says whether all went well.
///
/// # Errors
/// This machine has no namespaces, or records cannot be written. A run that goes wrong is a record.
pub fn run(
    options: &Options,
    kit: &Kit,
    is_stopped: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(&Record),
) -> anyhow::Result<bool> {
    let missing = match options.link {
        Some(_) => netns::unavailable(),
        None => netns::no_namespaces(),
    };
    if let Some(reason) = missing {
        anyhow::bail!("nothing can be measured here: {reason}");
    }
    leftovers::clean()?;
    kit.debian("openssh-server", "/usr/sbin/sshd")?;
    kit.debian("openssh-client", "/usr/bin/scp")?;
    kit.debian("rsync", "/usr/bin/rsync")?;
    let mut journal = Journal::open(&options.out)?;
    let mut is_good = true;
    for &work in &options.works {
        for repetition in 0..options.repeat {
            // Everybody once before anybody comes again, so that noise of the machine hits all.
            for copier in Copier::ALL {
                let record = options.measure(work, copier, repetition, kit);
                if is_stopped() {
                    return Ok(false);
                }
                is_good &= record.outcome == Outcome::Complete;
                journal.append(&record)?;
                tell(&record);
            }
        }
    }
    Ok(is_good)
}

impl Options {
    fn measure(&self, work: Work, copier: Copier, repetition: u32, kit: &Kit) -> Record {
        let copied = match self.link {
            Some(link) => self.copy::<TunLab>(work, copier, &link.scenario(), repetition, kit),
            None => {
                let scenario = Medium::Loopback.scenario();
                self.copy::<VethLab>(work, copier, &scenario, repetition, kit)
            }
        };
        let (outcome, figures) = match copied {
            Ok(figures) => (Outcome::Complete, Some(figures)),
            Err(error) => {
                let reason = format!("{error:#}");
                (Outcome::Failed { reason }, None)
            }
        };
        let seconds = |of: fn(&Figures) -> Option<f64>| figures.as_ref().and_then(of);
        Record {
            kind: Record::KIND.to_owned(),
            copier: copier.name().to_owned(),
            files: work.files,
            file_bytes: work.bytes,
            rate_bits: self.link.map(|link| link.rate.bits_per_second()),
            round_trip_ms: self.link.map(|link| link.round_trip.as_secs_f64() * 1e3),
            loss: self.link.map(|link| link.loss),
            is_on_disk: self.folder.is_some(),
            repetition,
            outcome,
            elapsed_s: figures.as_ref().map(|figures| figures.elapsed_s),
            cpu_near_s: seconds(|figures| figures.cpu_near_s),
            cpu_far_s: seconds(|figures| figures.cpu_far_s),
            circumstances: Circumstances::now(),
        }
    }

    fn copy<W: Wire>(
        &self,
        work: Work,
        copier: Copier,
        scenario: &Scenario,
        seed: u32,
        kit: &Kit,
    ) -> anyhow::Result<Figures> {
        let stage = Stage::<W>::set(kit, scenario, u64::from(seed) + 1, false)?;
        let inside = self.folder.as_deref().unwrap_or_else(|| kit.folder());
        let source = inside.join(format!("copies-{}-{}", work.files, work.bytes));
        plant(&source, work)?;
        let target = tempfile::Builder::new()
            .prefix("copied-")
            .tempdir_in(inside)?;
        let task = Task {
            kit,
            folder: stage.folder(),
            source: &source,
            bytes: work.files * work.bytes,
            rate: scenario.forward.rate().context("the link has no rate")?,
            round_trip: scenario.forward.delay() + scenario.back.delay(),
            window: window(&scenario.forward, &scenario.back)?,
            port: PORT,
        };
        let recipe = recipe(copier, &task, target.path())?;
        let mut run = stage.begin(&recipe, "0")?;
        let before = stage.used();
        let began = Instant::now();
        run.start(&stage, &recipe)?;
        run.wait(self.limit)?;
        let elapsed = began.elapsed();
        let name = source.file_name().context("the source has no name")?;
        ensure!(
            digest_of_tree(&target.path().join(name))? == digest_of_tree(&source)?,
            "what arrived differs from what was sent"
        );
        let mut figures = stage.end(run, before)?;
        figures.elapsed_s = elapsed.as_secs_f64();
        figures.bytes = work.files * work.bytes;
        Ok(figures)
    }
}

/// The programs of one copy of `task.source` into `target`.
fn recipe(copier: Copier, task: &Task<'_>, target: &Path) -> anyhow::Result<Recipe> {
    if let Copier::Rpcp | Copier::RpcpFetch = copier {
        return ours(copier == Copier::RpcpFetch, task, target);
    }
    let files = SshFiles::make(task)?;
    let port = task.port.to_string();
    let options = files.client_options();
    let ssh = format!("ssh {} -p {port}", options.join(" "));
    let to = format!("root@{FAR}:{}/", target.display());
    let trigger = match copier {
        Copier::Scp => Invocation::new(Side::Near, "scp")
            .args(["-r", "-q"])
            .args(&options)
            .args(["-P", &port])
            .arg(task.source)
            .arg(to),
        Copier::Rsync => Invocation::new(Side::Near, "rsync")
            .args(["-a", "--rsh", &ssh])
            .arg(task.source)
            .arg(to),
        _ => {
            let folder = task.source.parent().unwrap_or_else(|| Path::new("/"));
            let name = task.source.file_name().unwrap_or_default();
            let script = format!(
                "tar -C {} -cf - {} | {ssh} root@{FAR} tar -C {} -xf -",
                folder.display(),
                name.display(),
                target.display()
            );
            Invocation::new(Side::Near, "sh").args(["-c", &script])
        }
    };
    let before = vec![(files.server(), Ready::Port(task.port))];
    Ok(Recipe::untold(before, trigger))
}

fn ours(is_fetch: bool, task: &Task<'_>, target: &Path) -> anyhow::Result<Recipe> {
    let (programs, keys) = (task.kit.programs()?, task.kit.keys()?);
    let source = task.source;
    // The data goes the same way in either case.
    let (at, host, root) = match is_fetch {
        true => (Side::Near, NEAR, source.parent().unwrap_or(source)),
        false => (Side::Far, FAR, target),
    };
    let address = format!("{host}:{}", task.port);
    let server = Invocation::new(at, &programs.rpserver)
        .args(["--listen", &address])
        .arg("--key")
        .arg(&keys.host)
        .arg("--authorized-keys")
        .arg(&keys.authorized)
        .arg("--root")
        .arg(root);
    let side = if is_fetch { Side::Far } else { Side::Near };
    let client = Invocation::new(side, &programs.rpcp)
        .args(["-q", "-r"])
        .arg("-i")
        .arg(&keys.user)
        .args(["--host-key", &keys.fingerprint])
        // Repetitions are to be independent.
        .arg("--no-path-memory");
    let name = source.file_name().unwrap_or_default().display();
    let client = match is_fetch {
        true => client.arg(format!("rp://{address}/{name}")).arg(target),
        false => client.arg(source).arg(format!("rp://{address}/")),
    };
    Ok(Recipe::untold(
        vec![(server, Ready::Port(task.port))],
        client,
    ))
}

/// Makes the tree, unless it is there.
fn plant(folder: &Path, work: Work) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let content = Content::generate(work.files * work.bytes);
    let length = usize::try_from(work.bytes).unwrap_or(usize::MAX).max(1);
    for (index, bytes) in content.bytes().chunks(length).enumerate() {
        let within = folder.join(format!("{:03}", index / 200));
        fs::create_dir_all(&within)?;
        fs::write(within.join(format!("file-{index:06}")), bytes)?;
    }
    Ok(())
}

/// Of the names of all files beneath a folder and what is in them.
fn digest_of_tree(folder: &Path) -> anyhow::Result<blake3::Hash> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).with_context(|| next.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let name = file.strip_prefix(folder)?;
        hasher.update(name.as_os_str().as_encoded_bytes());
        hasher.update_reader(fs::File::open(&file)?)?;
    }
    Ok(hasher.finalize())
}
