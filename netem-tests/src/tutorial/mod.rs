//! The tutorials of `proxy/docs`, run command by command with real programs, so that they stay true.
//!
//! 1. `page` reads a page: blocks of commands, for which host, and what they must say.
//! 2. `network` starts the hosts the pages speak of, each with its own network, processes and files.
//! 3. Here the blocks are run in their order; `output` compares what they say.

mod host;
mod network;
mod output;
mod page;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

pub use self::page::{Block, HostName, Page};
use self::{host::Staying, network::Network, output::Captures};
use crate::{implementation::Kit, leftovers::make_folder, netns};

/// How long a block may run: some pages move data or set up a database.
const LIMIT: Duration = Duration::from_secs(180);

/// How long building may take.
const BUILD_LIMIT: &str = "3600";

/// How long a program that stays may take until it is ready.
const READY: Duration = Duration::from_secs(60);

/// Programs that hosts are made of, and their Debian packages.
const NEEDED: [(&str, &str); 4] = [
    ("unshare", "util-linux"),
    ("runuser", "util-linux"),
    ("pkill", "procps"),
    ("useradd", "passwd"),
];

/// Where the pages are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/docs")
}

/// The tutorials by name, `README.md` first.
///
/// # Errors
/// The folder cannot be read, or a page is not written as `page` wants it.
pub fn pages() -> anyhow::Result<Vec<(String, Page)>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&path)?;
        if Page::is_tutorial(&text) {
            let page = Page::parse(&text).with_context(|| name.to_string())?;
            pages.push((name.into_owned(), page));
        }
    }
    // Capital letters come first.
    pages.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(pages)
}

/// Why no page can be run here, in words for the user; `None` if one can.
pub fn unavailable() -> Option<String> {
    if let Some(reason) = netns::no_namespaces() {
        return Some(reason.to_owned());
    }
    let missing = |program: &str| Command::new(program).arg("--version").output().is_err();
    let needed = NEEDED.iter().find(|(program, _)| missing(program));
    if let Some((program, package)) = needed {
        return Some(format!(
            "the program `{program}` is missing (package {package})"
        ));
    }
    let file_systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has_overlay = file_systems.contains("\toverlay\n");
    (!has_overlay).then(|| "the kernel has no overlay file system".to_owned())
}

/// What was run of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Blocks of commands.
    pub blocks: usize,
    /// Lines of output that had to come and came.
    pub outputs: usize,
    /// From the first host's start to the last command's end.
    pub elapsed: Duration,
    /// How long the block took that took longest, and its line.
    pub longest: (Duration, usize),
}

/// Runs the page called `name` of `pages` on fresh hosts, and first those it goes on from.
///
/// # Errors
/// A package cannot be had, or a command fails or does not say what the page says; with its line.
pub fn run(pages: &[(String, Page)], name: &str, kit: &Kit) -> anyhow::Result<Done> {
    let mut order = vec![find(pages, name)?];
    while let Some(before) = &order[0].1.after {
        ensure!(order.len() <= pages.len(), "{name} goes on from itself");
        order.insert(0, find(pages, before)?);
    }
    let packages = order.iter().flat_map(|(_, page)| &page.packages);
    kit.debian_packages(packages.map(String::as_str))?;
    let began = Instant::now();
    // Removed after the hosts, which are made later, have ended.
    let folder = make_folder()?;
    let hosts = order.iter().flat_map(|(_, page)| &page.blocks);
    let hosts = hosts.map(|block| block.host).collect();
    let mut run = Run {
        staying: Vec::new(),
        network: Network::start(&hosts, folder.path(), &kit.programs_folder()?)?,
        captures: Captures::default(),
        done: Done::default(),
    };
    for (name, page) in order {
        for block in &page.blocks {
            let began = Instant::now();
            run.block(block)
                .with_context(|| format!("{name}:{}", block.line))?;
            let longest = &mut run.done.longest;
            *longest = (*longest).max((began.elapsed(), block.line));
        }
    }
    run.done.elapsed = began.elapsed();
    Ok(run.done)
}

fn find<'a>(pages: &'a [(String, Page)], name: &str) -> anyhow::Result<&'a (String, Page)> {
    let found = pages.iter().find(|(of, _)| of == name);
    found.with_context(|| format!("there is no tutorial {name}"))
}

/// A page while it runs.
#[derive(Debug)]
struct Run {
    staying: Vec<(HostName, String, Staying)>,
    network: Network,
    captures: Captures,
    done: Done,
}

impl Run {
    fn block(&mut self, block: &Block) -> anyhow::Result<()> {
        let script = self.captures.apply(&block.script);
        if block.stays {
            self.start(block, &script)?;
        } else {
            let (ended, said) = match block.host {
                HostName::Sources => build(&script)?,
                host => self
                    .network
                    .host(host)
                    .run(&script, block.is_hidden, LIMIT)?,
            };
            match ended {
                Some(status) if status.success() => {}
                Some(status) => bail!("{status}:\n{script}{said}"),
                None => bail!(
                    "not at its end after {} s:\n{script}{said}",
                    LIMIT.as_secs()
                ),
            }
            if let Err(line) = self.captures.look(&block.expected, &said) {
                bail!("`{line}` is missing:\n{script}{said}");
            }
        }
        self.done.blocks += 1;
        self.done.outputs += block.expected.len();
        Ok(())
    }

    /// Starts what stays, in the place of the same program if that runs.
    fn start(&mut self, block: &Block, script: &str) -> anyhow::Result<()> {
        let program = program(script).to_owned();
        let is_same =
            |(host, name, _): &(HostName, String, Staying)| *host == block.host && *name == program;
        let host = self.network.host(block.host);
        if let Some(at) = self.staying.iter().position(is_same) {
            // Inside the host are its own processes only. One that has ended is no matter.
            let script = format!("pkill -x {program} || true");
            host.run(&script, true, READY)?;
            let (_, _, mut old) = self.staying.swap_remove(at);
            ensure!(!old.wait(READY, |_| false)?, "{program} does not end");
        }
        let label = format!("{program}-{}", block.line);
        let mut staying = host.spawn(script, block.is_hidden, &label)?;
        let captures = &mut self.captures;
        let is_ready = staying.wait(READY, |said| captures.look(&block.expected, said).is_ok())?;
        let said = staying.said()?;
        self.staying.push((block.host, program, staying));
        ensure!(is_ready, "not ready:\n{script}{said}");
        Ok(())
    }
}

/// Runs `script` on this machine, in the folder of the sources.
fn build(script: &str) -> anyhow::Result<(Option<ExitStatus>, String)> {
    let output = Command::new("timeout")
        .args([BUILD_LIMIT, "bash", "-e", "-c", script])
        .current_dir(host::sources())
        .stdin(Stdio::null())
        .output()
        .context("cannot run bash")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok((Some(output.status), said))
}

/// The first program that a script starts.
fn program(script: &str) -> &str {
    let is_program = |word: &&str| !word.contains('=') && *word != "sudo";
    let mut words = script.split_whitespace();
    words.find(is_program).unwrap_or_default()
}
