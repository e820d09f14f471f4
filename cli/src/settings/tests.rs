//! Precedence, defaults and the text of mistakes.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;

fn client(options: ClientOptions) -> Result<ClientSettings, String> {
    ClientSettings::new(options)
        .map(|(settings, _)| settings)
        .map_err(|failure| failure.text)
}

fn with_server() -> ClientOptions {
    ClientOptions {
        server: vec!["host".into()],
        ..ClientOptions::default()
    }
}

#[test]
fn typed_options_win_over_the_file_one_by_one() {
    let typed = ServerOptions {
        listen: Some("127.0.0.1:1".into()),
        allow: vec!["10.0.0.0/8".into()],
        ..ServerOptions::default()
    };
    let file: ServerOptions =
        toml::from_str("listen = '127.0.0.1:2'\nrate = '5M'\nallow = ['a', 'b']").unwrap();
    let both = typed.or(file);
    assert_eq!(both.listen.as_deref(), Some("127.0.0.1:1"));
    assert_eq!(both.rate.as_deref(), Some("5M"));
    assert_eq!(both.allow, ["10.0.0.0/8"]);
}

#[test]
fn effective_settings_can_be_read_back() {
    let (_, effective) = ClientSettings::new(with_server()).unwrap();
    let text = toml::to_string(&effective).unwrap();
    assert_eq!(toml::from_str::<ClientOptions>(&text).unwrap(), effective);
    assert_eq!(effective.listen.as_deref(), Some("127.0.0.1:1080"));
}

#[test]
fn mistakes_name_their_option() {
    assert!(
        client(ClientOptions::default())
            .unwrap_err()
            .contains("--server")
    );
    let mistake = |change: fn(&mut ClientOptions)| {
        let mut options = with_server();
        change(&mut options);
        client(options).unwrap_err()
    };
    assert!(mistake(|o| o.listen = Some("nowhere".into())).starts_with("--listen nowhere"));
    assert!(
        mistake(|o| o.optimistic = Some("443,https".into())).starts_with("--optimistic 443,https")
    );
    assert!(
        mistake(|o| o.udp_reply_address = Some("me:1".into()))
            .starts_with("--udp-reply-address me:1")
    );
    assert!(mistake(|o| o.rate = Some("fast".into())).starts_with("--rate"));
    assert!(mistake(|o| o.host_key = vec!["MD5:x".into()]).starts_with("--host-key"));
    assert!(mistake(|o| o.policy = Some("fixed".into())).contains("needs --rate"));
    assert!(mistake(|o| o.policy = Some("x".into())).contains("fair, low or fixed"));
}

#[test]
fn anonymous_needs_a_root() {
    let options = ServerOptions {
        anonymous: true,
        ..ServerOptions::default()
    };
    let failure = ServerSettings::new(options).unwrap_err();
    assert!(failure.text.contains("--root"), "{failure}");
}

#[test]
fn a_settings_file_with_a_slip_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.toml");
    fs::write(&path, "listen = '127.0.0.1:1'\nlisten-on = 'x'\n").unwrap();
    let failure = SettingsFile::<ServerOptions>::read(Some(&path), "unused").unwrap_err();
    assert!(failure.text.contains("line 2"), "{failure}");
    assert!(failure.text.contains("listen-on"), "{failure}");
    let missing = dir.path().join("missing");
    assert!(SettingsFile::<ServerOptions>::read(Some(&missing), "unused").is_err());
}

#[test]
fn users_are_read_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        read_users(&path).map_err(|failure| failure.text)
    };
    let users = read("# ours\n\nalice:open:sesame\nbob:\n").unwrap();
    assert!(users.accepts(b"alice", b"open:sesame") && users.accepts(b"bob", b""));
    assert!(read("alice\n").unwrap_err().contains("line 1"));
    assert!(read("").unwrap_err().contains("no users"));
    assert!(read("a:1\n:2\n").unwrap_err().contains("line 2"));
    let long = format!("a:{}\n", "x".repeat(256));
    assert!(read(&long).unwrap_err().contains("up to 255 bytes"));
    let twice = read("a:1\nb:2\na:3\n").unwrap_err();
    assert!(twice.contains("line 3: this user has a line"), "{twice}");
}

#[test]
fn settings_and_passwords_that_others_can_change_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (config, users) = (dir.path().join("s.toml"), dir.path().join("users"));
    fs::write(&config, "listen = '127.0.0.1:1'\n").unwrap();
    fs::write(&users, "alice:sesame\n").unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();
    let read = || {
        let config = SettingsFile::<ServerOptions>::read(Some(&config), "unused").map(drop);
        [config, read_users(&users).map(drop)]
    };
    assert!(read().iter().all(Result::is_ok));
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&config, 0o666);
    mode(&users, 0o620);
    for refused in read() {
        assert!(refused.unwrap_err().text.contains("chmod go-w"));
    }
    mode(&config, 0o644);
    mode(&users, 0o600);
    mode(dir.path(), 0o777);
    for refused in read() {
        let text = refused.unwrap_err().text;
        assert!(
            text.contains(&format!("chmod go-w {}", dir.path().display())),
            "{text}"
        );
    }
}

#[test]
fn several_servers_have_a_key_each_or_one_together() {
    let keys = [
        "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "SHA256:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA",
    ];
    let with = |servers: &[&str], keys: &[&str]| {
        client(ClientOptions {
            server: servers.iter().map(|&server| server.to_owned()).collect(),
            host_key: keys.iter().map(|&key| key.to_owned()).collect(),
            ..ClientOptions::default()
        })
        .map(|settings| {
            let servers = settings.servers.into_iter();
            let key = |trust: Trust| trust.host_key.map(|key| key.to_string());
            servers
                .map(|(server, trust)| (server.host, key(trust)))
                .collect::<Vec<_>>()
        })
    };
    let key = |at: usize| Some(keys[at].to_owned());
    let host = |name: &str| name.to_owned();
    assert_eq!(
        with(&["a", "b"], &[]),
        Ok(vec![(host("a"), None), (host("b"), None)])
    );
    assert_eq!(
        with(&["a", "b"], &keys),
        Ok(vec![(host("a"), key(0)), (host("b"), key(1))])
    );
    assert_eq!(
        with(&["a", "b"], &keys[..1]),
        Ok(vec![(host("a"), key(0)), (host("b"), key(0))])
    );
    let text = with(&["a", "b", "c"], &keys).unwrap_err();
    assert!(
        text.starts_with("--host-key: 2 keys for 3 servers"),
        "{text}"
    );
}

#[test]
fn a_settings_file_names_one_server_or_a_list() {
    let read = |text: &str| toml::from_str::<ClientOptions>(text).unwrap().server;
    assert_eq!(read("server = 'a'"), ["a"]);
    assert_eq!(read("server = ['a', 'b:1']"), ["a", "b:1"]);
}
