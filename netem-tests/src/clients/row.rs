//! A row of the table: one unmodified client, what it is told, and how one sees that all has arrived.
//! Nothing runs here.

/// A Debian package, by a file it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
}

/// A server at the far side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) needs: &'static [Package],
    /// Makes its files, in its own folder, and does not open `port`; empty if it needs none.
    pub(crate) prepare: &'static str,
    /// Becomes the server, in the foreground.
    pub(crate) run: &'static str,
    /// Opened when it is ready.
    pub(crate) port: u16,
}

impl Server {
    /// The least of a server, for those that say only what is theirs.
    pub(crate) const PLAIN: Self = Self {
        needs: &[],
        prepare: "",
        run: "",
        port: 0,
    };
}

/// How the client's traffic gets to `rpclient`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// By these words in its command, in place of [`VIA`].
    Setting(&'static str),
    /// By what [`Row::before`] has started beside it; the client itself has no setting.
    Helper(&'static str),
    /// It has no proxy setting: netfilter's REDIRECT on the client's own machine.
    Host,
    /// It has no proxy setting, and is on another machine, whose gateway diverts by TPROXY.
    Gateway,
}

impl Through {
    /// Stands in the table.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Setting(words) => {
                let words: Vec<&str> = words.split_whitespace().collect();
                format!("`{}`", words.join(" "))
            }
            Self::Helper(name) => name.to_owned(),
            Self::Host => "nothing is set, REDIRECT on the host".to_owned(),
            Self::Gateway => "nothing is set, TPROXY at the gateway".to_owned(),
        }
    }
}

/// Stands in a command where the words of [`Through::Setting`] go.
pub(crate) const VIA: &str = "{via}";

/// One client. All scripts are for `sh -eu`; `site` lists the variables they have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Chosen by it, and shown.
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Package],
    pub(crate) servers: &'static [Server],
    /// At the servers' side, in the folder that is served, before they start.
    pub(crate) site: &'static str,
    /// At the client's side, before the clock; of a [`Through::Helper`], only through the pair.
    pub(crate) before: &'static str,
    /// The client, in its own folder; its start and its end are the clock's.
    pub(crate) command: &'static str,
    pub(crate) through: Through,
    /// In place of [`VIA`] when the client goes by plain TCP.
    pub(crate) direct: &'static str,
    /// More arguments of `rpclient`.
    pub(crate) rpclient: &'static [&'static str],
    /// Of the file that is served.
    pub(crate) bytes: u64,
    /// The same by plain TCP, where it is not to be had of [`Row::bytes`] in a bearable time.
    pub(crate) plain_bytes: u64,
    /// The file at the far side's folder that must have arrived, `$FILE` for the one served.
    pub(crate) served: &'static str,
    /// Where it is then, in the client's folder.
    pub(crate) got: &'static str,
    /// Of the link, without queues.
    pub(crate) round_trip_ms: u64,
    /// Most seconds it may take through the pair.
    pub(crate) at_most_s: Option<f64>,
    /// Measured only when it is named.
    pub(crate) is_on_request: bool,
}

/// The name of the file that is served.
pub(crate) const FILE: &str = "source.bin";

impl Row {
    /// A file of 20 MB from server to client; 2 MB of it by plain TCP.
    pub(crate) const FETCH: Self = Self {
        name: "",
        needs: &[],
        servers: &[],
        site: "",
        before: "",
        command: "",
        through: Through::Setting(""),
        direct: "",
        rpclient: &[],
        bytes: 20_000_000,
        plain_bytes: 2_000_000,
        served: FILE,
        got: "out",
        round_trip_ms: 100,
        at_most_s: None,
        is_on_request: false,
    };

    /// The client's script, through the pair or not.
    pub(crate) fn script(&self, is_proxied: bool) -> String {
        let words = match self.through {
            Through::Setting(words) if is_proxied => words,
            _ => self.direct,
        };
        self.command.replace(VIA, words)
    }

    /// All packages of the client and its servers.
    pub(crate) fn packages(&self) -> impl Iterator<Item = Package> {
        let of_servers = self.servers.iter().flat_map(|server| server.needs);
        self.needs.iter().chain(of_servers).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_command_runs_with_and_without_the_proxy() {
        let row = Row {
            command: "curl {via} -o out http://$HOST/",
            through: Through::Setting("-x $PROXY"),
            ..Row::FETCH
        };
        assert_eq!(row.script(true), "curl -x $PROXY -o out http://$HOST/");
        assert_eq!(row.script(false), "curl  -o out http://$HOST/");
    }

    #[test]
    fn a_client_without_a_setting_is_told_the_same_in_both_cases() {
        let row = Row {
            command: "curl -o out http://$HOST/",
            through: Through::Gateway,
            ..Row::FETCH
        };
        assert_eq!(row.script(true), row.script(false));
    }
}
