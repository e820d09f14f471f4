//! What is typed means what scp's and URIs' users expect.

use super::*;

fn parse(typed: &str) -> Result<Location, LocationError> {
    Location::parse(OsStr::new(typed))
}

fn remote(typed: &str) -> (String, u16, String) {
    match parse(typed) {
        Ok(Location::Remote(Remote {
            host: Host::Server(server),
            path,
            ..
        })) => (server.host, server.port, String::from_utf8(path).unwrap()),
        other => panic!("{typed}: {other:?}"),
    }
}

#[test]
fn remote_locations_give_host_port_and_path() {
    for (typed, host, port, path) in [
        ("rp://host/file", "host", 7377, "file"),
        ("rp://host:8000/a/b", "host", 8000, "a/b"),
        ("rp://host", "host", 7377, ""),
        ("rp://host/", "host", 7377, ""),
        ("rp://host/a/", "host", 7377, "a/"),
        ("rp://10.0.0.1:1/x", "10.0.0.1", 1, "x"),
        ("rp://[::1]/x", "::1", 7377, "x"),
        ("rp://[2001:db8::7]:99/x", "2001:db8::7", 99, "x"),
        ("rp://[fe80::1%25eth0]:99/x", "fe80::1%eth0", 99, "x"),
        ("rp://[fe80::1%25br%2D0]/x", "fe80::1%br-0", 7377, "x"),
        ("rp://[fe80::1%eth0]/x", "fe80::1%eth0", 7377, "x"),
        ("rp://[fe80::1%25]/x", "fe80::1%25", 7377, "x"),
        ("rp://host/a%20b%2fc", "host", 7377, "a b/c"),
        ("rp://host/a b?c#d", "host", 7377, "a b?c#d"),
        ("rp://host//etc", "host", 7377, "/etc"),
    ] {
        let expected = (host.to_owned(), port, path.to_owned());
        assert_eq!(remote(typed), expected, "{typed}");
    }
}

#[test]
fn local_paths_and_standard_streams_are_told_apart() {
    assert_eq!(parse("-"), Ok(Location::Standard));
    for path in [
        "file",
        "./-",
        "/a/b:c",
        "./a:b",
        "a/b:c",
        "~",
        ":",
        ":a",
        "[a]",
        "[::1]",
        "[::1]/x:y",
    ] {
        assert_eq!(parse(path), Ok(Location::Local(path.into())), "{path}");
    }
}

#[test]
fn a_host_before_a_colon_is_reached_over_ssh() {
    for (typed, user, host, path) in [
        ("host:file", None, "host", "file"),
        ("host:", None, "host", ""),
        ("rp:", None, "rp", ""),
        ("me@host:/a/b c", Some("me"), "host", "/a/b c"),
        ("me@office@host:x", Some("me@office"), "host", "x"),
        ("host:a:b", None, "host", "a:b"),
        ("host:./x", None, "host", "./x"),
        ("[::1]:x", None, "::1", "x"),
        ("me@[fe80::1%eth0]:x", Some("me"), "fe80::1%eth0", "x"),
        ("me@[10.0.0.1]:x", Some("me"), "10.0.0.1", "x"),
        ("host:'$(x) \"`", None, "host", "'$(x) \"`"),
        ("me@host://x", Some("me"), "host", "//x"),
    ] {
        let parsed = parse(typed);
        let Ok(Location::Remote(remote)) = &parsed else {
            panic!("{typed}: {parsed:?}");
        };
        let expected = SshHost {
            user: user.map(str::to_owned),
            host: host.to_owned(),
        };
        assert_eq!(remote.host, Host::Ssh(expected), "{typed}");
        assert_eq!(remote.path, path.as_bytes(), "{typed}");
    }
}

#[test]
fn what_cannot_be_done_is_named() {
    for typed in [
        "-oProxyCommand=x:file",
        "me@-host:file",
        "-me@host:file",
        "@host:file",
        "me@:file",
        "ho st:file",
        "host$(x):file",
        "me;x@host:file",
        "[::1:]:file",
        "[]:file",
    ] {
        assert!(
            matches!(parse(typed), Err(LocationError::Ssh(_))),
            "{typed}"
        );
    }
    for typed in ["http://host/file", "scp://host/file"] {
        assert!(
            matches!(parse(typed), Err(LocationError::Scheme(_))),
            "{typed}"
        );
    }
    for typed in [
        "rp://",
        "rp:///file",
        "rp://:80/file",
        "rp://host:/file",
        "rp://host:0/file",
        "rp://host:65536/file",
        "rp://::1/file",
        "rp://[::1/file",
        "rp://[fe80::1%]/file",
        "rp://[fe80::1%25eth0/file",
        "rp://[fe80::1%25a%2]/file",
        "rp://[fe80::1%25a%00b]/file",
        "rp://[fe80::1%25a%ffb]/file",
        "rp://host%25eth0/file",
        "rp://[::1]x/file",
        "rp://[host]/file",
        "rp://ho st/file",
    ] {
        assert!(
            matches!(parse(typed), Err(LocationError::Host(_))),
            "{typed}"
        );
    }
    assert!(matches!(parse("host:a\nb"), Err(LocationError::Control(_))));
    assert!(matches!(
        parse("rp://me@host/f"),
        Err(LocationError::User(_))
    ));
    for typed in [
        "rp://host/%",
        "rp://host/%4",
        "rp://host/%zz",
        "rp://host/%+1",
    ] {
        assert!(
            matches!(parse(typed), Err(LocationError::Escape(_))),
            "{typed}"
        );
    }
    assert_eq!(parse(""), Err(LocationError::Empty));
}

#[test]
fn a_source_has_the_name_it_keeps_in_a_folder() {
    for (typed, name) in [
        ("-", ""),
        ("a/b", "b"),
        ("rp://host/a/b", "b"),
        ("rp://host/a/", ""),
        ("rp://host", ""),
    ] {
        assert_eq!(parse(typed).unwrap().source_name(), name.as_bytes());
    }
}

#[test]
fn a_location_is_shown_as_it_can_be_typed() {
    for (typed, shown) in [
        ("rp://host/a", "rp://host:7377/a"),
        ("rp://[fe80::1%25eth0]/a", "rp://[fe80::1%25eth0]:7377/a"),
        ("me@[::1]:a", "me@[::1]:a"),
        ("host:", "host:"),
    ] {
        assert_eq!(parse(typed).unwrap().to_string(), shown);
        assert_eq!(parse(shown), parse(typed));
    }
}
