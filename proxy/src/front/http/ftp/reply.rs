//! Replies of an FTP server (RFC 959 section 4.2): a parser over byte prefixes, and what some of them
//! hold. Sending commands and awaiting replies is `control`'s.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Longest reply taken; greetings of some servers are pages long.
pub(super) const MAX_REPLY_BYTES: usize = 64 << 10;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// The last line behind the code, fit to be shown.
    pub(super) text: String,
}

/// Bytes that are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadReply;

impl Reply {
    /// Reads a reply from the front of `bytes`: it and its length, `None` while more are needed.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, BadReply> {
        let mut first = None;
        let mut at = 0;
        while let Some(end) = bytes[at..].iter().position(|&b| b == b'\n') {
            let line = &bytes[at..at + end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            at += end + 1;
            let code = code(line);
            match (first, code) {
                (None, None) => return Err(BadReply),
                // Text between the first and the last line may look like anything.
                (Some(first), Some((code, false))) if first == code => {
                    return Ok(Some((Self::new(code, line), at)));
                }
                (None, Some((code, false))) => return Ok(Some((Self::new(code, line), at))),
                (None, Some((code, true))) => first = Some(code),
                (Some(_), _) => {}
            }
        }
        if bytes.len() >= MAX_REPLY_BYTES || !may_begin(&bytes[..bytes.len().min(4)]) {
            return Err(BadReply);
        }
        Ok(None)
    }

    fn new(code: u16, line: &[u8]) -> Self {
        let text = String::from_utf8_lossy(line.get(4..).unwrap_or_default());
        Self {
            code,
            text: text.replace(char::is_control, "?"),
        }
    }

    /// Whether what was asked is done, or goes on.
    pub(super) fn is_good(&self) -> bool {
        self.code < 400
    }

    /// The port in a reply to EPSV (RFC 2428 section 3): `(|||6446|)`.
    pub(super) fn extended_port(&self) -> Option<u16> {
        let (_, rest) = self.text.split_once('(')?;
        let (inner, _) = rest.split_once(')')?;
        let mark = inner.chars().next().filter(char::is_ascii)?;
        let fields: Vec<&str> = inner.split(mark).collect();
        match fields[..] {
            ["", "", "", port, ""] => digits(port)?.parse().ok().filter(|&port: &u16| port > 0),
            _ => None,
        }
    }

    /// The address in a reply to PASV (RFC 959 section 4.1.2): six numbers, wherever they stand
    /// (RFC 1123 section 4.1.2.6).
    pub(super) fn passive_addr(&self) -> Option<SocketAddrV4> {
        let is_part = |c: char| c.is_ascii_digit() || c == ',';
        let numbers = self.text.split(|c| !is_part(c)).find_map(|word| {
            let numbers: Option<Vec<u8>> = word
                .split(',')
                .map(|number| digits(number)?.parse().ok())
                .collect();
            <[u8; 6]>::try_from(numbers?).ok()
        })?;
        let [a, b, c, d, high, low] = numbers;
        let port = u16::from_be_bytes([high, low]);
        (port > 0).then(|| SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
    }

    /// The number in a reply to SIZE (RFC 3659 section 4).
    pub(super) fn size(&self) -> Option<u64> {
        digits(self.text.trim())?.parse().ok()
    }
}

fn digits(text: &str) -> Option<&str> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(text)
}

/// The code of a line, and whether more lines follow it.
fn code(line: &[u8]) -> Option<(u16, bool)> {
    let digits = line.get(..3)?;
    if !digits.iter().all(u8::is_ascii_digit) || !(b'1'..=b'5').contains(&digits[0]) {
        return None;
    }
    let code = digits
        .iter()
        .fold(0, |code, &digit| code * 10 + u16::from(digit - b'0'));
    match line.get(3) {
        None | Some(b' ') => Some((code, false)),
        Some(b'-') => Some((code, true)),
        Some(_) => None,
    }
}

/// Whether a reply can begin with `start`, of which there are four bytes at most.
fn may_begin(start: &[u8]) -> bool {
    start.iter().enumerate().all(|(at, &b)| match at {
        0 => (b'1'..=b'5').contains(&b),
        1 | 2 => b.is_ascii_digit(),
        _ => b" -\r\n".contains(&b),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(text: &str) -> Reply {
        let (reply, len) = Reply::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(len, text.len());
        reply
    }

    #[test]
    fn replies_are_complete_with_their_last_byte_and_not_before() {
        for (text, code, words) in [
            ("220 ready\r\n", 220, "ready"),
            ("220\r\n", 220, ""),
            (
                "230-Welcome\r\n 220 is not the end\r\n231 neither\r\n230 in\r\n",
                230,
                "in",
            ),
            ("213 12\n", 213, "12"),
        ] {
            for cut in 0..text.len() {
                assert_eq!(Reply::parse(&text.as_bytes()[..cut]), Ok(None), "{text}");
            }
            let parsed = reply(text);
            assert_eq!((parsed.code, parsed.text.as_str()), (code, words));
            let more = [text.as_bytes(), b"226 done\r\n"].concat();
            assert_eq!(Reply::parse(&more), Ok(Some((parsed, text.len()))));
        }
    }

    #[test]
    fn what_is_no_reply_is_told_at_once() {
        for text in ["S", "620 x\r\n", "22x", "220x", "SSH-2.0-x\r\n", "\r\n"] {
            assert_eq!(Reply::parse(text.as_bytes()), Err(BadReply), "{text}");
        }
        let endless = [&b"220-"[..], &vec![b'a'; MAX_REPLY_BYTES]].concat();
        assert_eq!(Reply::parse(&endless), Err(BadReply));
    }

    #[test]
    fn passive_replies_hold_an_address_or_a_port() {
        let addr = |text: &str| reply(text).passive_addr().map(|addr| addr.to_string());
        let wanted = Some("192.0.2.7:258".to_owned());
        assert_eq!(
            addr("227 Entering Passive Mode (192,0,2,7,1,2).\r\n"),
            wanted
        );
        assert_eq!(addr("227 =192,0,2,7,1,2\r\n"), wanted);
        assert_eq!(addr("227 Entering 5, 192,0,2,7,1,2\r\n"), wanted);
        for bad in [
            "227 (1,2,3,4,5)\r\n",
            "227 (1,2,3,4,5,256)\r\n",
            "227 (1,2,3,4,0,0)\r\n",
        ] {
            assert_eq!(addr(bad), None, "{bad}");
        }
        let port = |text: &str| reply(text).extended_port();
        assert_eq!(port("229 Extended (|||6446|)\r\n"), Some(6446));
        assert_eq!(port("229 Extended (!!!6446!)\r\n"), Some(6446));
        for bad in [
            "229 (|||0|)\r\n",
            "229 (|1|192.0.2.1|6446|)\r\n",
            "229 6446\r\n",
            "229 (|||+1|)\r\n",
        ] {
            assert_eq!(port(bad), None, "{bad}");
        }
        assert_eq!(reply("213 1234\r\n").size(), Some(1234));
        assert_eq!(reply("213 no\r\n").size(), None);
    }

    #[test]
    fn a_servers_words_cannot_change_a_terminal() {
        assert_eq!(reply("550 \x1b[2Jgone\r\n").text, "?[2Jgone");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((reply, len))) = Reply::parse(&bytes) {
                prop_assert!(len <= bytes.len());
                let _ = (reply.passive_addr(), reply.extended_port(), reply.size());
            }
        }
    }
}
