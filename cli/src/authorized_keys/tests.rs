//! Whole files: keys let in, refused, changed, and lines reported.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use super::*;
use crate::openssh;

fn key(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

fn text(byte: u8) -> String {
    openssh::format_key(&key(byte))
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// A list in a file of its own.
struct File {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("authorized_keys");
    let file = File { _dir: dir, path };
    file.write(text);
    file
}

impl File {
    /// Replaces the file as editors do: another file under the same name.
    fn write(&self, text: &str) {
        let draft = self.path.with_extension("new");
        fs::write(&draft, text).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(draft, &self.path).unwrap();
    }

    fn keys(&self) -> AuthorizedKeys {
        AuthorizedKeys::new(self.path.clone())
    }
}

fn problems(keys: &AuthorizedKeys) -> Vec<String> {
    keys.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn listed_key_is_let_in_with_what_its_line_says() {
    let file = file(&format!(
        "# people\n\n{}\nread-only,root=\"/srv\",rate=\"1G\",permitopen=\"db:1\" {} ada@home  office\n",
        text(1),
        text(2)
    ));
    let keys = file.keys();
    assert_eq!((keys.len(), keys.problems()), (2, vec![]));
    keys.verify(&key(1)).unwrap();
    assert_eq!(keys.grant_for(&key(1), HERE), Ok(Grant::default()));

    let grant = keys.grant_for(&key(2), HERE).unwrap();
    assert_eq!(grant.comment, "ada@home  office");
    assert_eq!(grant.root, Some(PathBuf::from("/srv")));
    assert!(grant.is_read_only && !grant.is_anonymous);
    assert_eq!(
        grant.rate,
        Some(Bandwidth::from_bits_per_second(1_000_000_000))
    );
    assert!(grant.permits_open("DB", 1) && !grant.permits_open("db", 2));
    assert!(!grant.permits_open("other", 1));
}

#[test]
fn lines_are_taken_apart_as_sshd_does() {
    let key_text = text(1);
    let base64 = key_text.split(' ').nth(1).unwrap();
    let plain = Grant::default();
    let noted = |comment: &str| Grant {
        comment: comment.to_owned(),
        ..Grant::default()
    };
    let quoted = |root: &str| Grant {
        root: Some(PathBuf::from(root)),
        ..Grant::default()
    };
    for (line, wanted) in [
        (format!("ssh-ed25519  {base64}"), plain.clone()),
        (format!("ssh-ed25519\t{base64}"), plain.clone()),
        (format!("ssh-ed25519 \t  {base64}\t "), plain.clone()),
        (format!(" \tssh-ed25519 {base64}"), plain.clone()),
        (format!("ssh-ed25519 {base64}\r"), plain.clone()),
        (format!("ssh-ed25519  {base64}  ada\r"), noted("ada")),
        (
            format!("ssh-ed25519 {base64} #1 ssh-rsa, x"),
            noted("#1 ssh-rsa, x"),
        ),
        (format!("no-pty   ssh-ed25519   {base64}"), plain),
        (
            format!("\t restrict,pty\tssh-ed25519\t{base64}"),
            Grant {
                forwarding: Forwarding::None,
                ..Grant::default()
            },
        ),
        (
            format!("root=\"/a b\" ssh-ed25519 {base64}"),
            quoted("/a b"),
        ),
        (
            format!("root=\"/a\tb # c\"  ssh-ed25519 {base64}"),
            quoted("/a\tb # c"),
        ),
        (
            format!(r#"root="/a \" b" ssh-ed25519 {base64}"#),
            quoted("/a \" b"),
        ),
        // Only before a quotation mark is a backslash more than itself.
        (
            format!(r#"root="/a\ b\\c" ssh-ed25519 {base64}"#),
            quoted(r"/a\ b\\c"),
        ),
        (
            format!(r#"root="/a\\" b" ssh-ed25519 {base64}"#),
            quoted("/a\\\" b"),
        ),
        (
            format!("root=\"/ssh-ed25519 x\" ssh-ed25519 {base64}"),
            quoted("/ssh-ed25519 x"),
        ),
    ] {
        for text in [
            line.clone(),
            format!("\u{feff}{line}\n"),
            format!("# people\r\n\r\n{line}\n"),
        ] {
            let file = file(&text);
            let keys = file.keys();
            assert_eq!(problems(&keys), Vec::<String>::new(), "{text:?}");
            assert_eq!(
                keys.grant_for(&key(1), HERE),
                Ok(wanted.clone()),
                "{text:?}"
            );
        }
    }
}

#[test]
fn listening_is_permitted_where_the_line_says() {
    let file = file(&format!(
        "{}\npermitlisten=\"8080\",permitlisten=\"localhost:*\" {}\nrestrict,permitlisten=\"1\" {}\n",
        text(1),
        text(2),
        text(3)
    ));
    let keys = file.keys();
    let rules = |rules: &[&str]| rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let default: ListenAccess = rules(&["9000"]);
    let access = |byte| {
        keys.grant_for(&key(byte), HERE)
            .unwrap()
            .listen_access(&default)
    };
    assert_eq!(access(1), default);
    assert_eq!(access(2), rules(&["localhost:8080", "localhost:*"]));
    assert_eq!(access(3), ListenAccess::default());
    assert!(
        keys.grant_for(&key(2), HERE)
            .unwrap()
            .permits_open("any", 1)
    );
}

#[test]
fn key_not_listed_is_refused() {
    let file = file(&text(1));
    let keys = file.keys();
    assert_eq!(keys.grant_for(&key(2), HERE), Err(Refusal::Unknown));
    let PeerRejected(reason) = keys.verify(&key(2)).unwrap_err();
    assert!(reason.contains(&key(2).fingerprint()), "{reason}");
}

#[test]
fn key_expires_at_its_time() {
    let file = file(&format!("expiry-time=\"20240229\" {}", text(1)));
    let keys = file.keys();
    let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_164_800);
    let before = expiry - Duration::from_secs(1);
    assert!(keys.grant_at(before, &key(1), Some(HERE)).is_ok());
    let refusal = keys.grant_at(expiry, &key(1), Some(HERE)).unwrap_err();
    assert_eq!(refusal, Refusal::Expired { line: 1 });
    keys.verify(&key(1)).unwrap_err();
}

#[test]
fn source_is_judged_once_it_is_known() {
    let file = file(&format!("from=\"10.0.0.0/8\" {}", text(1)));
    let keys = file.keys();
    keys.verify(&key(1)).unwrap();
    keys.grant_for(&key(1), "10.1.1.1".parse().unwrap())
        .unwrap();
    keys.grant_for(&key(1), "::ffff:10.1.1.1".parse().unwrap())
        .unwrap();
    let refusal = keys.grant_for(&key(1), HERE).unwrap_err();
    let wanted = Refusal::Source {
        line: 1,
        source_address: HERE,
    };
    assert_eq!(refusal, wanted);
}

#[test]
fn unknown_option_refuses_the_key_and_is_reported() {
    let file = file(&format!("{}\ncommand=\"date\" {} c\n", text(1), text(2)));
    let keys = file.keys();
    assert_eq!(
        problems(&keys),
        [
            "line 2: this key is refused: the option command: this server runs no commands, and the key \
          is for one command only"
        ]
    );
    keys.grant_for(&key(1), HERE).unwrap();
    let refusal = keys.grant_for(&key(2), HERE).unwrap_err();
    assert!(
        matches!(refusal, Refusal::Line { line: 2, .. }),
        "{refusal}"
    );
}

#[test]
fn first_line_that_lets_a_key_in_counts() {
    let file = file(&format!(
        "command=\"date\" {key}\nfrom=\"10.0.0.0/8\" {key}\nread-only {key}\n{key}\n",
        key = text(1)
    ));
    let keys = file.keys();
    assert!(keys.grant_for(&key(1), HERE).unwrap().is_read_only);
    let inside = "10.0.0.1".parse().unwrap();
    assert!(!keys.grant_for(&key(1), inside).unwrap().is_read_only);
}

#[test]
fn wrong_lines_are_reported_by_number_and_the_others_hold() {
    let file = file(&format!(
        "hello\nssh-rsa AAAAB3NzaC1yc2E= bob\nssh-ed25519 AAAA\nssh-ed25519\nfrom=\"10.0.0.1 {key}\n\
         {key} good\nread-only\n",
        key = text(1)
    ));
    let keys = file.keys();
    let numbers: Vec<_> = keys.problems().iter().map(|p| p.line.unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 7], "{:?}", problems(&keys));
    assert!(problems(&keys)[1].contains("ssh-rsa"));
    assert_eq!(keys.grant_for(&key(1), HERE).unwrap().comment, "good");
}

#[test]
fn comment_cannot_forge_a_log_line() {
    let file = file(&format!("{} eve\u{1b}[2J{}\n", text(1), "x".repeat(500)));
    let keys = file.keys();
    let comment = keys.grant_for(&key(1), HERE).unwrap().comment;
    assert!(
        comment.starts_with("eve\\u{1b}[2J") && comment.len() <= 100,
        "{comment}"
    );
}

#[test]
fn file_is_read_again_when_it_changed() {
    let file = file(&text(1));
    let keys = file.keys();
    keys.verify(&key(1)).unwrap();
    file.write(&text(2));
    keys.verify(&key(1)).unwrap_err();
    keys.verify(&key(2)).unwrap();
}

#[test]
fn without_the_file_nobody_is_let_in_until_it_appears() {
    let file = file(&text(1));
    let keys = file.keys();
    fs::remove_file(&file.path).unwrap();
    keys.verify(&key(1)).unwrap_err();
    assert_eq!(problems(&keys), ["there is no such file: nobody is let in"]);
    assert!(keys.is_empty());
    file.write(&text(1));
    keys.verify(&key(1)).unwrap();
    assert!(keys.problems().is_empty());
}

#[test]
fn file_others_can_change_lets_nobody_in() {
    let file = file(&text(1));
    let keys = file.keys();
    keys.verify(&key(1)).unwrap();
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o622)).unwrap();
    keys.verify(&key(1)).unwrap_err();
    assert!(problems(&keys)[0].contains("chmod go-w"));
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o644)).unwrap();
    keys.verify(&key(1)).unwrap();
}

#[test]
fn anonymous_clients_read_beneath_the_root_and_do_nothing_else() {
    let list = file(&format!("{}\ncommand=\"date\" {}\n", text(1), text(2)));
    let keys = list.keys().anonymous(PathBuf::from("/pub"));
    keys.verify(&key(9)).unwrap();
    let grant = keys.grant_for(&key(9), HERE).unwrap();
    assert!(grant.is_anonymous && grant.is_read_only);
    assert_eq!(grant.root, Some(PathBuf::from("/pub")));
    assert!(!grant.permits_open("host", 80));

    assert!(!keys.grant_for(&key(1), HERE).unwrap().is_anonymous);
    // A key refused by its line does not come back in as nobody.
    keys.verify(&key(2)).unwrap_err();
}

#[test]
fn nobody_means_nobody() {
    let keys = AuthorizedKeys::nobody();
    assert!(keys.is_empty() && keys.problems().is_empty());
    keys.verify(&key(1)).unwrap_err();
}
