//! The part of `[user@]host:path` before the path, read as scp does. How the host is reached is `copy::ssh`'s.

use std::fmt;

use crate::address::is_host;

/// Characters that a shell gives a meaning: a host or user that has one could become a command where the user's
/// ssh_config puts it into one (`ProxyCommand` with `%h` or `%r`).
const SHELL: &str = "'`\"$\\;&<>|(){}*?!#~^";

/// A machine that ssh is asked to reach: a name that ssh's own configuration may give a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshHost {
    /// The user there, if one was typed.
    pub user: Option<String>,
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
}

impl SshHost {
    /// Reads `[USER@]HOST`; `None` for what ssh must not be given.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let head = str::from_utf8(head).ok()?;
        // As in ssh: the host is what follows the last `@`.
        let (user, host) = match head.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, head),
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let is_odd = |text: &str| {
            let odd = |c: char| c.is_whitespace() || c.is_control() || SHELL.contains(c);
            text.is_empty() || text.starts_with('-') || text.contains(odd)
        };
        let is_good = is_host(host) && !is_odd(host) && !user.is_some_and(is_odd);
        is_good.then(|| Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
        })
    }

    /// As ssh is told it: `user@host`.
    pub fn destination(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.host),
            None => self.host.clone(),
        }
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host),
            false => f.write_str(&self.host),
        }
    }
}

/// What stands before the colon that ends a host, and what stands behind it. As in scp, that colon is before the
/// first slash, outside of brackets, and not the first character.
pub(super) fn split(typed: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut in_brackets = false;
    for (at, &byte) in typed.iter().enumerate() {
        match byte {
            b'[' if at == 0 || typed.get(at - 1) == Some(&b'@') => in_brackets = true,
            b']' => in_brackets = false,
            b'/' => return None,
            b':' if at == 0 => return None,
            b':' if !in_brackets => return Some((&typed[..at], &typed[at + 1..])),
            _ => {}
        }
    }
    None
}
