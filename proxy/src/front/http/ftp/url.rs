//! `ftp` URLs (RFC 1738 section 3.2): whom to ask, as whom, for what. Asking is the module's above.

use crate::target::Target;

/// The port of FTP's control connection.
const FTP_PORT: u16 = 21;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file as it is; a folder too, if there is no such file.
    Image,
    /// A file of text, its lines ended as the network's are.
    Text,
    /// What is in a folder.
    Listing,
}

/// An `ftp` URL, understood.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FtpUrl {
    pub(super) target: Target,
    /// The user, and the password, which may be empty; `None` if the URL names nobody.
    pub(super) login: Option<Login>,
    /// Decoded, seen from where the login leads; empty for that itself.
    pub(super) path: String,
    /// As it came, without a slash at its end: for links.
    pub(super) link: String,
    pub(super) kind: Kind,
}

/// As whom.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// Why a URL cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadUrl {
    /// No valid host and port.
    Target,
    /// An escape that is none, or a character that would end a command.
    Path,
}

impl FtpUrl {
    /// Whether `target`, from a request line, has the scheme.
    pub(super) fn is_one(target: &[u8]) -> bool {
        const SCHEME: &[u8] = b"ftp://";
        target
            .get(..SCHEME.len())
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// Reads what [`is_one`](Self::is_one).
    pub(super) fn parse(target: &[u8]) -> Result<Self, BadUrl> {
        let text = std::str::from_utf8(target).map_err(|_| BadUrl::Path)?;
        let rest = text.split_once("://").ok_or(BadUrl::Target)?.1;
        // `?` is nothing special in this scheme.
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        };
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let host = host.strip_suffix(':').unwrap_or(host);
        let target = Target::parse(host, Some(FTP_PORT)).map_err(|_| BadUrl::Target)?;
        let login = user.filter(|user| !user.is_empty()).map(Login::parse);
        let (path, kind) = match path.rsplit_once(";type=") {
            Some((path, "i" | "I")) => (path, Kind::Image),
            Some((path, "a" | "A")) => (path, Kind::Text),
            Some((path, "d" | "D")) => (path, Kind::Listing),
            Some(_) => return Err(BadUrl::Path),
            None => (path, Kind::Image),
        };
        let is_folder = path.is_empty() || path.ends_with('/');
        let link = path.trim_end_matches('/');
        Ok(Self {
            target,
            login: login.transpose()?,
            path: decode(link)?,
            link: link.to_owned(),
            kind: if is_folder { Kind::Listing } else { kind },
        })
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, BadUrl> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self {
            user: decode(user)?,
            password: decode(password)?,
        })
    }
}

/// `text` with its escapes undone. What would end a command, or is no text, is refused.
fn decode(text: &str) -> Result<String, BadUrl> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>().ok_or(BadUrl::Path)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(BadUrl::Path);
        let value = digit(digits[0])? * 16 + digit(digits[1])?;
        out.push(u8::try_from(value).map_err(|_| BadUrl::Path)?);
        rest = after;
    }
    let text = String::from_utf8(out).map_err(|_| BadUrl::Path)?;
    let is_fit = !text.contains(['\r', '\n', '\0']);
    is_fit.then_some(text).ok_or(BadUrl::Path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> FtpUrl {
        assert!(FtpUrl::is_one(text.as_bytes()));
        FtpUrl::parse(text.as_bytes()).ok().unwrap()
    }

    fn refusal(text: &str) -> BadUrl {
        FtpUrl::parse(text.as_bytes()).err().unwrap()
    }

    #[test]
    fn a_url_names_whom_to_ask_as_whom_and_for_what() {
        let plain = url("ftp://a.example/dir/b%20c.iso");
        assert_eq!(plain.target.to_string(), "a.example:21");
        assert_eq!(
            (plain.path.as_str(), plain.kind),
            ("dir/b c.iso", Kind::Image)
        );
        assert!(plain.login.is_none());

        let full = url("FTP://al%40ice:se%3acret@[2001:db8::1]:2121/x;type=a");
        assert_eq!(full.target.to_string(), "[2001:db8::1]:2121");
        let login = full.login.unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.as_str()),
            ("al@ice", "se:cret")
        );
        assert_eq!((full.path.as_str(), full.kind), ("x", Kind::Text));
        // Seen from the root, and not from where the login leads.
        assert_eq!(url("ftp://a.example/%2Fetc/motd").path, "/etc/motd");
        assert_eq!(url("ftp://a.example/what?").path, "what?");
    }

    #[test]
    fn folders_are_listed() {
        for (text, path) in [
            ("ftp://a.example", ""),
            ("ftp://a.example/", ""),
            ("ftp://a.example/dir/", "dir"),
            ("ftp://a.example/dir;type=d", "dir"),
            ("ftp://a.example/dir/;type=i", "dir"),
        ] {
            let url = url(text);
            assert_eq!(
                (url.path.as_str(), url.kind),
                (path, Kind::Listing),
                "{text}"
            );
        }
    }

    #[test]
    fn nothing_in_a_url_becomes_another_command() {
        for text in [
            "ftp://a.example/x%0d%0aDELE%20y",
            "ftp://a%0aDELE:b@a.example/x",
            "ftp://a:b%0d@a.example/x",
            "ftp://a.example/x%00",
            "ftp://a.example/x%4",
            "ftp://a.example/x%zz",
            "ftp://a.example/x%+1",
            "ftp://a.example/x%ff",
            "ftp://a.example/x;type=z",
        ] {
            assert_eq!(refusal(text), BadUrl::Path, "{text}");
        }
        for text in [
            "ftp:///x",
            "ftp://a b/x",
            "ftp://a.example:0/x",
            "ftp://a.example:x/",
        ] {
            assert_eq!(refusal(text), BadUrl::Target, "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_urls_never_panic(rest in "\\PC{0,60}") {
            if let Ok(url) = FtpUrl::parse(format!("ftp://{rest}").as_bytes()) {
                prop_assert!(!url.path.contains(['\r', '\n', '\0']));
            }
        }
    }
}
