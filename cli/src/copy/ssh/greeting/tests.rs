//! The lines say what was meant, however they come, and nothing else is taken for them.

use proptest::prelude::*;

use super::*;
use crate::identity;

fn collect(text: &[u8]) -> Result<Option<Vec<String>>, GreetingError> {
    let mut lines = Lines::default();
    for &byte in text {
        if let Some(whole) = lines.push(byte)? {
            return Ok(Some(whole));
        }
    }
    Ok(None)
}

fn hello() -> Hello {
    Hello {
        key: identity::ephemeral().public_key(),
        ports: Some(Ports(60_000..=60_010)),
        policy: Policy::Low,
        rate: Some(Bandwidth::from_bytes_per_second(1_000_000)),
        verbose: 2,
        places: vec![
            Place {
                purpose: Purpose::Source,
                path: b"a b'\"$(x)`\\%\xff/..".to_vec(),
            },
            Place {
                purpose: Purpose::Target,
                path: Vec::new(),
            },
            Place {
                purpose: Purpose::Name,
                path: b"~/x".to_vec(),
            },
        ],
    }
}

fn welcome() -> Welcome {
    Welcome {
        key: identity::ephemeral().public_key(),
        port: 51_234,
        address: Some("2001:db8::7".parse().unwrap()),
        paths: vec![b"0/gr\xfc\xdfe".to_vec(), b"1".to_vec()],
    }
}

#[test]
fn both_sides_understand_each_other_byte_by_byte() {
    let said = hello();
    let lines = collect(said.format().as_bytes()).unwrap().unwrap();
    assert_eq!(Hello::parse(&lines).unwrap(), said);
    let said = welcome();
    let lines = collect(said.format().as_bytes()).unwrap().unwrap();
    assert_eq!(Welcome::parse(&lines).unwrap(), said);
}

#[test]
fn what_a_login_shell_prints_before_is_skipped_and_bounded() {
    //= spec/20-copy.md#over-ssh
    //= type=test
    //# A client MUST skip what comes before the first line, and MUST bound how much it skips.
    let said = welcome();
    let text = format!("Welcome to Debian\r\nrpcp is\x1b[2J great{}", said.format());
    let lines = collect(text.as_bytes()).unwrap().unwrap();
    assert_eq!(Welcome::parse(&lines).unwrap(), said);
    let text = "motd\n".repeat(MAX_NOISE / 5 + 1);
    let error = collect(text.as_bytes()).unwrap_err();
    assert!(matches!(error, GreetingError::Noise(said) if said.starts_with("motd motd")));
    let error = collect(&vec![b'x'; MAX_NOISE]).unwrap_err();
    assert!(matches!(error, GreetingError::Noise(_)));
}

#[test]
fn lines_of_later_versions_are_ignored_and_other_versions_refused() {
    //= spec/20-copy.md#over-ssh
    //= type=test
    //# A line whose first word is not known MUST be ignored.
    let said = welcome();
    let text = said.format().replace("\nudp", "\nmood good\nempty\nudp");
    let lines = collect(text.as_bytes()).unwrap().unwrap();
    assert_eq!(Welcome::parse(&lines).unwrap(), said);
    //= spec/20-copy.md#over-ssh
    //= type=test
    //# A side that is told another version than its own MUST NOT go on.
    let text = said.format().replace("rpcp-ssh 1", "rpcp-ssh 2\x1b[2J");
    let error = collect(text.as_bytes()).unwrap_err();
    assert_eq!(error, GreetingError::Version("2?[2J".to_owned()));
}

#[test]
fn a_text_that_ends_early_says_what_was_there() {
    let mut lines = Lines::default();
    assert_eq!(lines.ended(), GreetingError::Ended);
    for &byte in b"command not found\n" {
        assert_eq!(lines.push(byte), Ok(None));
    }
    let said = "command not found".to_owned();
    assert_eq!(lines.ended(), GreetingError::Noise(said));
    for &byte in b"rpcp-ssh 1\nkey" {
        assert_eq!(lines.push(byte), Ok(None));
    }
    assert_eq!(lines.ended(), GreetingError::Ended);
}

#[test]
fn lines_are_bounded_and_bad_ones_named() {
    let endless = format!("{MARK} {VERSION}\n{}", "x\n".repeat(MAX_LINES + 1));
    assert_eq!(collect(endless.as_bytes()), Err(GreetingError::TooMuch));
    let long = format!("{MARK} {VERSION}\n{}", "x".repeat(MAX_LINE + 1));
    assert_eq!(collect(long.as_bytes()), Err(GreetingError::TooMuch));
    let parse = |line: &str| Welcome::parse(&[line.to_owned()]);
    for line in ["udp 0", "udp x", "key ssh-rsa AAAA", "at %4", "address x"] {
        let bad = GreetingError::Line(line.to_owned());
        assert_eq!(parse(line), Err(bad), "{line}");
    }
    assert_eq!(parse("udp 1"), Err(GreetingError::Missing("key")));
    let hello = hello().format().replace("ports 60000-60010", "ports 9-1");
    let lines = collect(hello.as_bytes()).unwrap().unwrap();
    let bad = GreetingError::Line("ports 9-1".to_owned());
    assert_eq!(Hello::parse(&lines), Err(bad));
}

#[test]
fn ports_are_one_or_a_range() {
    for (text, ports) in [
        ("7", 7..=7),
        ("60000-61000", 60_000..=61_000),
        ("60000:61000", 60_000..=61_000),
    ] {
        assert_eq!(text.parse(), Ok(Ports(ports)), "{text}");
    }
    for text in [
        "", "0", "0-5", "5-4", "a", "1-", "-1", "+1", "1-2-3", "65536",
    ] {
        assert_eq!(text.parse::<Ports>(), Err(PortsError), "{text}");
    }
}

proptest! {
    #[test]
    fn any_path_travels_as_harmless_letters(path in proptest::collection::vec(any::<u8>(), 0..64)) {
        let text = escape(&path);
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-._/".contains(&byte)));
        prop_assert_eq!(unescape(&text), Some(path));
    }

    #[test]
    fn nothing_that_is_said_panics(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut said = format!("{MARK} {VERSION}\n").into_bytes();
        said.extend(text);
        said.extend(b"\ngo\n");
        if let Ok(Some(lines)) = collect(&said) {
            let _ = (Hello::parse(&lines), Welcome::parse(&lines));
        }
    }
}
