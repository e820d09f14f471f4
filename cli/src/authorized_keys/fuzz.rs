//! Checks of the lines of `authorized_keys` on any bytes, for [`crate::fuzz`].

use std::net::{IpAddr, Ipv4Addr};

use super::{line, options::Options};

/// Lines of `authorized_keys`: blanks around one mean nothing, what is logged of it is printable, and options are
/// the same beside others that mean nothing.
pub fn authorized_keys(data: &[u8]) {
    for line in String::from_utf8_lossy(data).lines() {
        let parsed = line::parse(line);
        assert_eq!(line::parse(&format!(" {line}\t")), parsed);
        match parsed {
            Ok(Some((_, options, comment))) => {
                assert!(!comment.contains(char::is_control), "{comment:?}");
                if let Err(problem) = &options {
                    assert!(!problem.contains(char::is_control), "{problem:?}");
                }
                if let Ok(options) = options {
                    let _ = options.forwarding();
                    let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
                    let _ = options.from.iter().all(|from| from.contains(source));
                }
            }
            Ok(None) => {}
            Err(problem) => assert!(!problem.contains(char::is_control), "{problem:?}"),
        }
        if let Ok(options) = Options::parse(line)
            && !line.is_empty()
        {
            assert_eq!(Options::parse(&format!("no-pty,{line}")), Ok(options));
        }
    }
}
