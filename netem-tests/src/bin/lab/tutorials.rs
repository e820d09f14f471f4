//! `lab tutorials`: runs the pages of `proxy/docs`. How a page is read and run is in `tutorial`.

use std::io::{self, Write};

use anyhow::{bail, ensure};
use rp_netem_tests::tutorial;

use crate::{End, given::Tools, interrupt};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these pages, by the names of their files
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<String>,
    #[command(flatten)]
    tools: Tools,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        if let Some(reason) = tutorial::unavailable() {
            bail!("the tutorials cannot be run here: {reason}");
        }
        let pages = tutorial::pages()?;
        let wanted: Vec<String> = match &self.only[..] {
            [] => pages.iter().map(|(name, _)| name.clone()).collect(),
            only => only.iter().map(|name| file_name(name)).collect(),
        };
        for name in &wanted {
            let is_known = pages.iter().any(|(of, _)| of == name);
            ensure!(is_known, "there is no tutorial {name}");
        }
        interrupt::guard(move |interrupt| {
            let kit = self.tools.kit()?;
            let mut end = End::Good;
            for name in wanted {
                if interrupt.is_requested() {
                    return Ok(End::Interrupted);
                }
                let mut out = io::stdout().lock();
                match tutorial::run(&pages, &name, &kit) {
                    Ok(done) => writeln!(
                        out,
                        "{name:<16} ok: {} blocks ran, {} lines came as the page says, {:.1} s (line {}: {:.1} s)",
                        done.blocks,
                        done.outputs,
                        done.elapsed.as_secs_f64(),
                        done.longest.1,
                        done.longest.0.as_secs_f64()
                    )?,
                    Err(error) => {
                        writeln!(out, "{name:<16} FAILED at {error:#}")?;
                        end = End::Bad;
                    }
                }
            }
            Ok(end)
        })
    }
}

/// `ftp`, `ftp.md` and `proxy/docs/ftp.md` name the same page.
fn file_name(typed: &str) -> String {
    let name = typed.rsplit('/').next().unwrap_or(typed);
    format!("{}.md", name.strip_suffix(".md").unwrap_or(name))
}
