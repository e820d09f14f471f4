//! The report: everything that was measured, as one page of tables and plots. It reads records and
//! writes text; nothing is measured here.
//!
//! A new kind of record is: one file with its struct and its `section`, one line in `KINDS`.

pub mod check;
pub mod clients;
pub mod copies;
pub mod grid;
pub mod latency;
pub mod micro;
pub mod netem;
pub mod plot;
pub mod proxies;
pub mod share;
pub mod steady;
pub mod table;
pub mod threshold;
pub mod trace;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use self::plot::Chart;
use crate::record::{self, Circumstances};

/// A kind of record and what the report makes of its file.
struct Kind {
    /// Of its file: `results/<name>.jsonl`.
    name: &'static str,
    /// Of its section.
    heading: &'static str,
    /// The command that measures it.
    command: &'static str,
    /// Reads the file; `None` if it holds no record.
    section: fn(&Path) -> anyhow::Result<Option<Section>>,
}

/// In the order of the page.
const KINDS: &[Kind] = &[
    Kind {
        name: grid::Record::KIND,
        heading: "Implementations over the same links",
        command: "cargo lab run --grid short",
        section: grid::section,
    },
    Kind {
        name: steady::Record::KIND,
        heading: "The congestion controller in virtual time",
        command: "cargo cc steady",
        section: steady::section,
    },
    Kind {
        name: share::Record::KIND,
        heading: "Flows that share a link",
        command: "cargo lab share",
        section: share::section,
    },
    Kind {
        name: copies::Record::KIND,
        heading: "Copies of files and trees",
        command: "cargo lab copies",
        section: copies::section,
    },
    Kind {
        name: latency::Record::KIND,
        heading: "Latency of requests",
        command: "cargo lab latency",
        section: latency::section,
    },
    Kind {
        name: clients::Record::KIND,
        heading: "Real clients through the proxy",
        command: "cargo lab clients",
        section: clients::section,
    },
    Kind {
        name: proxies::Record::KIND,
        heading: "Processor time of proxies",
        command: "cargo lab proxies",
        section: proxies::section,
    },
    Kind {
        name: threshold::Record::KIND,
        heading: "Many connections, restarts, first bytes",
        command: "cargo lab connections",
        section: threshold::section,
    },
    Kind {
        name: micro::Record::KIND,
        heading: "One connection without an emulator",
        command: "cargo lab micro",
        section: micro::section,
    },
    Kind {
        name: trace::Record::KIND,
        heading: "One lossy transfer, event by event",
        command: "cargo lab trace --example",
        section: trace::section,
    },
    Kind {
        name: check::Record::KIND,
        heading: "The emulator against its settings",
        command: "cargo lab check",
        section: check::section,
    },
    Kind {
        name: netem::Record::KIND,
        heading: "The emulator beside the kernel's own",
        command: "cargo lab netem --repeat 3",
        section: netem::section,
    },
];

/// What a kind of record contributes.
#[derive(Debug, Default)]
pub struct Section {
    /// Markdown below the heading; a plot is shown where the text says `![](results/NAME.svg)`.
    pub text: String,
    /// Plots, by the names of their files without ending.
    pub plots: Vec<(String, Chart)>,
    /// Of the records it is made of.
    pub circumstances: Vec<Circumstances>,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// The page and the plots.
    pub files: Vec<PathBuf>,
    /// Kinds of which nothing was measured, with the command that would.
    pub missing: Vec<String>,
}

/// Reads `results/*.jsonl` of the folder and writes its plots and `page`.
///
/// # Errors
/// A record cannot be read, or a file not written; the text says which.
pub fn write(results: &Path, page: &Path) -> anyhow::Result<Written> {
    let mut written = Written::default();
    let mut sections = Vec::new();
    for kind in KINDS {
        let path = results.join(kind.name).with_extension("jsonl");
        if let Some(section) = (kind.section)(&path)? {
            sections.push((kind, section));
        } else {
            let missing = format!("{}: nothing measured; `{}`", kind.heading, kind.command);
            written.missing.push(missing);
        }
    }
    for (name, chart) in sections.iter().flat_map(|(_, section)| &section.plots) {
        let path = results.join(name).with_extension("svg");
        let svg = chart.svg().with_context(|| format!("plot {name}"))?;
        fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        written.files.push(path);
    }
    let text = page_text(&sections, &written.missing);
    fs::write(page, text).with_context(|| format!("cannot write {}", page.display()))?;
    written.files.push(page.to_path_buf());
    Ok(written)
}

fn page_text(sections: &[(&Kind, Section)], missing: &[String]) -> String {
    let mut text = String::from(
        "# Results\n\n\
         Written by `cargo lab report` from the records in `results/`; every record names its settings, and each\n\
         section the command that measures it again. Figures are medians with their spread in brackets. Cut-off and\n\
         failed runs are shown as such.\n",
    );
    for (kind, section) in sections {
        text.push_str(&format!("\n## {}\n\n", kind.heading));
        text.push_str(&circumstances_text(kind, &section.circumstances));
        text.push_str(section.text.trim_end());
        text.push('\n');
    }
    if !missing.is_empty() {
        text.push_str("\n## Not measured\n\n");
        for line in missing {
            text.push_str(&format!("- {line}\n"));
        }
    }
    text
}

/// One line on where and how, and one for each command that was used.
fn circumstances_text(kind: &Kind, all: &[Circumstances]) -> String {
    let distinct = |field: &dyn Fn(&Circumstances) -> String| {
        let mut values: Vec<String> = all.iter().map(field).collect();
        values.sort();
        values.dedup();
        values.join(", ")
    };
    let (first, last) = (
        all.iter().map(|c| c.unix_time).min().unwrap_or_default(),
        all.iter().map(|c| c.unix_time).max().unwrap_or_default(),
    );
    let mut text = format!(
        "Measured {} on {}, {} cores, {}; source {}.\n",
        table::days(first, last),
        distinct(&|c| c.cpu.clone()),
        distinct(&|c| c.cores.to_string()),
        distinct(&|c| c.kernel.clone()),
        distinct(&|c| c.revision.clone()),
    );
    text.push_str(&format!("Again: `{}`", kind.command));
    // `cargo lab` or `cargo cc`: records keep the arguments alone.
    let program: Vec<&str> = kind.command.split(' ').take(2).collect();
    let program = program.join(" ");
    let commands = distinct(&|c| format!("`{program} {}`", c.command));
    if !commands.is_empty() {
        text.push_str(&format!("; these records: {commands}"));
    }
    text.push_str(".\n\n");
    text
}

/// The page's place unless somebody says otherwise.
pub fn default_page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md")
}

/// The records' place unless somebody says otherwise.
pub fn default_results() -> PathBuf {
    record::results_dir()
}
