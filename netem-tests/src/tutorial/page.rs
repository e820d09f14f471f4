//! A page of `proxy/docs` as what can be run of it: blocks of commands, for which host, and what they must
//! say. Nothing is run here.
//!
//! ````text
//! <!-- tutorial
//! after: README.md                 runs first, on the same hosts
//! packages: vsftpd lftp            Debian packages that the hosts have
//! -->
//!
//! ```sh client                     commands for the host `client`; `stays` behind it: they keep running
//! ```
//! ```text                          right behind: what they say, see `output`
//! ```
//! <!-- sh target                   what the reader has already: run as root, not shown
//! -->
//! ````
//!
//! Blocks without a host are shown and not run.

use anyhow::{Context, bail, ensure};

/// Where commands run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostName {
    /// Where `rpclient` runs.
    Client,
    /// Where `rpserver` runs.
    Server,
    /// A machine in the server's network.
    Target,
    /// A machine in the client's network, whose gateway is the client.
    Pc,
    /// Where Rapidpath is built: this machine. The others have its folder at /usr/src/rapidpath.
    Sources,
}

impl HostName {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Client,
        Self::Server,
        Self::Target,
        Self::Pc,
        Self::Sources,
    ];

    /// As pages write it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Target => "target",
            Self::Pc => "pc",
            Self::Sources => "sources",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|host| host.text() == text)
    }
}

/// Commands that belong together: one shell runs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Line of its first command, counted from 1.
    pub line: usize,
    /// Where it runs.
    pub host: HostName,
    /// It keeps running; what it must say means that it is ready.
    pub stays: bool,
    /// It makes what the reader has already, and is not shown.
    pub is_hidden: bool,
    /// The commands.
    pub script: String,
    /// What it must say, line by line.
    pub expected: Vec<String>,
}

/// A tutorial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The page that runs first.
    pub after: Option<String>,
    /// Debian packages with the programs it uses.
    pub packages: Vec<String>,
    /// Commands in their order.
    pub blocks: Vec<Block>,
}

impl Page {
    /// Whether the page is meant to be run: it begins with the comment `tutorial`.
    pub fn is_tutorial(text: &str) -> bool {
        text.lines().any(|line| line.trim() == "<!-- tutorial")
    }

    /// Reads a page.
    ///
    /// # Errors
    /// A block does not end, or names a host or a word nobody knows.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut page = Self::default();
        let mut lines = text.lines().enumerate();
        // Whether nothing but blank lines came since the last block.
        let mut is_right_behind = false;
        while let Some((at, line)) = lines.next() {
            let number = at + 1;
            let (opening, end) = match line.trim_end() {
                "" => continue,
                fence if fence.starts_with("```") => (&fence[3..], "```"),
                comment if comment.starts_with("<!-- ") => (&comment[5..], "-->"),
                _ => {
                    is_right_behind = false;
                    continue;
                }
            };
            // A comment of one line is for readers of the source.
            if end == "-->" && opening.ends_with(end) {
                continue;
            }
            let body: Vec<_> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| line.trim_end() != end)
                .collect();
            ensure!(
                number + body.len() < text.lines().count(),
                "line {number}: the block does not end"
            );
            let words: Vec<_> = opening.split_whitespace().collect();
            match words[..] {
                ["tutorial"] => page.settings(&body).context(format!("line {number}"))?,
                ["sh", host, ref more @ ..] => {
                    let block = block(number + 1, host, more, &body);
                    let mut block = block.with_context(|| format!("line {number}"))?;
                    block.is_hidden = end == "-->";
                    page.blocks.push(block);
                    is_right_behind = true;
                    continue;
                }
                ["text"] if is_right_behind => {
                    if let Some(block) = page.blocks.last_mut() {
                        block.expected = body.iter().map(|&line| line.to_owned()).collect();
                    }
                }
                _ => {}
            }
            is_right_behind = false;
        }
        Ok(page)
    }

    fn settings(&mut self, lines: &[&str]) -> anyhow::Result<()> {
        for line in lines {
            match line.split_once(':') {
                Some(("after", page)) => self.after = Some(page.trim().to_owned()),
                Some(("packages", names)) => {
                    self.packages
                        .extend(names.split_whitespace().map(str::to_owned));
                }
                _ => bail!("`{line}` is neither `after: PAGE` nor `packages: NAME...`"),
            }
        }
        Ok(())
    }
}

fn block(line: usize, host: &str, more: &[&str], body: &[&str]) -> anyhow::Result<Block> {
    let host = HostName::parse(host).with_context(|| format!("there is no host `{host}`"))?;
    let stays = match more {
        [] => false,
        ["stays"] if host != HostName::Sources => true,
        _ => bail!("`{}` is not `stays`", more.join(" ")),
    };
    Ok(Block {
        line,
        host,
        stays,
        is_hidden: false,
        script: body.join("\n") + "\n",
        expected: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
