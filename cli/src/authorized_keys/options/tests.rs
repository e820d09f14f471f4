//! Options understood, and options that refuse the key.

use super::*;

fn options(text: &str) -> Options {
    Options::parse(text).unwrap()
}

fn reason(text: &str) -> String {
    Options::parse(text).unwrap_err()
}

fn at(seconds: u64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn lets_pass(from: &str, source: &str) -> bool {
    Sources::parse("from", from)
        .unwrap()
        .contains(source.parse().unwrap())
}

#[test]
fn no_options_allow_everything() {
    let options = options("");
    assert_eq!(options, Options::default());
    assert_eq!(options.forwarding(), Forwarding::Any);
}

#[test]
fn all_options_together_are_understood_in_any_case() {
    let options = options(
        "Expiry-Time=\"20300101\",from=\"10.0.0.0/8\",PERMITOPEN=\"Db.example:5432\",\
         permitopen=\"[::1]:*\",root=\"/srv/a \\\"b\\\", c\",read-only,rate=\"200M\"",
    );
    // 2030-01-01T00:00:00Z by `date -u -d 2030-01-01 +%s`.
    assert_eq!(options.expiry, at(1_893_456_000));
    assert_eq!(options.root, Some(PathBuf::from("/srv/a \"b\", c")));
    assert!(options.is_read_only);
    assert_eq!(
        options.rate,
        Some(Bandwidth::from_bits_per_second(200_000_000))
    );
    let wanted = [("db.example", Some(5432)), ("::1", None)].map(|(host, port)| PermitOpen {
        host: host.to_owned(),
        port,
    });
    assert_eq!(options.forwarding(), Forwarding::Only(wanted.to_vec()));
}

#[test]
fn no_port_forwarding_wins_over_permitopen() {
    for text in [
        "no-port-forwarding,permitopen=\"a:1\"",
        "permitopen=\"a:1\",no-port-forwarding",
    ] {
        assert_eq!(options(text).forwarding(), Forwarding::None);
    }
}

#[test]
fn last_of_restrict_and_port_forwarding_counts() {
    for (text, wanted) in [
        ("restrict", Forwarding::None),
        ("RESTRICT", Forwarding::None),
        ("restrict,port-forwarding", Forwarding::Any),
        ("port-forwarding,restrict", Forwarding::None),
        ("no-port-forwarding,port-forwarding", Forwarding::Any),
        ("port-forwarding,no-port-forwarding", Forwarding::None),
        ("restrict,pty,X11-forwarding", Forwarding::None),
        ("restrict,permitopen=\"a:1\"", Forwarding::None),
        (
            "restrict,port-forwarding,permitopen=\"a:1\"",
            Forwarding::Only(vec![PermitOpen {
                host: "a".to_owned(),
                port: Some(1),
            }]),
        ),
    ] {
        assert_eq!(options(text).forwarding(), wanted, "{text}");
    }
}

#[test]
fn options_about_what_is_not_there_change_nothing() {
    for text in [
        "no-pty",
        "pty",
        "no-X11-forwarding",
        "X11-forwarding",
        "no-agent-forwarding",
        "agent-forwarding",
        "no-user-rc",
        "user-rc",
        "no-touch-required",
        "environment=\"LANG=C, really\"",
        "tunnel=\"0\"",
        "no-pty,No-User-Rc,no-agent-forwarding,no-x11-forwarding",
    ] {
        assert_eq!(options(text), Options::default(), "{text}");
    }
}

#[test]
fn permitopen_takes_any_host_and_permitlisten_a_bare_port() {
    let open = options("permitopen=\"*:80\"").forwarding();
    let wanted = PermitOpen {
        host: "*".to_owned(),
        port: Some(80),
    };
    assert_eq!(open, Forwarding::Only(vec![wanted]));

    let text = "permitlisten=\"8080\",permitlisten=\"LocalHost:*\",permitlisten=\"[::1]:1\"";
    let wanted = [
        ("localhost", Some(8080)),
        ("localhost", None),
        ("::1", Some(1)),
    ];
    let wanted = wanted.map(|(host, port)| PermitListen {
        host: host.to_owned(),
        port,
    });
    assert_eq!(options(text).listeners, wanted);
    // What may be listened on says nothing of what may be dialled.
    assert_eq!(options(text).forwarding(), Forwarding::Any);
}

#[test]
fn options_that_cannot_be_honoured_are_named() {
    for (text, wanted) in [
        ("no-ptty", "unknown option `no-ptty`"),
        ("read-only,restricted", "unknown option `restricted`"),
        ("no-read-only", "unknown option `no-read-only`"),
        ("evil\u{1b}[2J", "unknown option `evil\\u{1b}[2j`"),
        (
            "command=\"ls\"",
            "the option command: this server runs no commands",
        ),
        ("cert-authority", "the option cert-authority: certificates"),
        ("principals=\"ada\"", "the option principals: certificates"),
        (
            "verify-required",
            "the option verify-required: it is about FIDO",
        ),
        ("tunnel", "the option tunnel needs a value"),
        ("permitlisten", "the option permitlisten needs a value"),
        ("restrict=\"yes\"", "the option restrict takes no value"),
        ("no-pty=\"yes\"", "the option no-pty takes no value"),
    ] {
        let reason = reason(text);
        assert!(reason.starts_with(wanted), "{text}: {reason}");
    }
}

#[test]
fn options_written_wrongly_are_refused() {
    for text in [
        ",",
        "read-only,",
        ",read-only",
        "read-only,,read-only",
        "from=10.0.0.1",
        "from=\"10.0.0.1",
        "from=\"10.0.0.1\"read-only",
        "from",
        "read-only=\"yes\"",
        "root=\"relative\"",
        "root=\"\"",
        "root=\"/a\",root=\"/b\"",
        "rate=\"fast\"",
        "rate=\"0\"",
        "permitopen=\"\"",
        "permitopen=\"host\"",
        "permitopen=\"host:\"",
        "permitopen=\"host:0\"",
        "permitopen=\"host:65536\"",
        "permitopen=\"::1:80\"",
        "permitopen=\"[::1:80\"",
        "permitopen=\"*.example:80\"",
        "permitopen=\"80\"",
        "permitopen=\"a:+80\"",
        "permitlisten=\"\"",
        "permitlisten=\"0\"",
        "permitlisten=\"host\"",
        "permitlisten=\"::1\"",
        "permitlisten=\":80\"",
        "from=\"\"",
        "from=\"10.0.0.1,\"",
        "from=\"host.example\"",
        "from=\"*.example\"",
        "from=\"10.0.0.1/8\"",
        "from=\"!\"",
        "expiry-time=\"soon\"",
    ] {
        assert!(Options::parse(text).is_err(), "{text}");
    }
}

#[test]
fn time_is_read_with_and_without_its_parts() {
    // Seconds by `date -u -d ... +%s`.
    assert_eq!(time("19700101"), at(0));
    assert_eq!(time("20240229"), at(1_709_164_800));
    assert_eq!(time("202402291230"), at(1_709_209_800));
    assert_eq!(time("20240229123015Z"), at(1_709_209_815));
    assert_eq!(time("20000301"), at(951_868_800));
    assert_eq!(time("20991231"), at(4_102_358_400));
}

#[test]
fn times_that_are_none_are_refused() {
    for text in [
        "",
        "Z",
        "2024",
        "2024022",
        "20230229",
        "20241301",
        "20240001",
        "20240100",
        "20240132",
        "202401012400",
        "202401011260",
        "20240101126",
        "20240101000060",
        "2024-01-01",
        "19691231",
        "+2024010",
        "202401010",
        "20240101ZZ",
    ] {
        assert_eq!(time(text), None, "{text}");
    }
}

#[test]
fn earliest_expiry_and_lowest_rate_count() {
    let options =
        options("expiry-time=\"20300101\",expiry-time=\"20240229\",rate=\"1G\",rate=\"2G\"");
    assert_eq!(options.expiry, at(1_709_164_800));
    assert_eq!(
        options.rate,
        Some(Bandwidth::from_bits_per_second(1_000_000_000))
    );
}

#[test]
fn sources_are_nets_addresses_and_wildcards() {
    assert!(lets_pass("10.0.0.0/8", "10.255.1.2"));
    assert!(!lets_pass("10.0.0.0/8", "11.0.0.1"));
    assert!(lets_pass("192.0.2.7", "192.0.2.7"));
    assert!(!lets_pass("192.0.2.7", "192.0.2.70"));
    assert!(lets_pass("192.0.2.*", "192.0.2.70"));
    assert!(lets_pass("192.?.2.*", "192.0.2.70"));
    assert!(!lets_pass("192.?.2.*", "192.10.2.70"));
    assert!(lets_pass("2001:db8::/32, 192.0.2.1", "2001:db8::5"));
    assert!(lets_pass("2001:DB8:*", "2001:db8:1::5"));
    assert!(!lets_pass("10.0.0.0/8", "2001:db8::5"));
    assert!(lets_pass("*", "2001:db8::5"));
    assert!(lets_pass("::ffff:192.0.2.7", "192.0.2.7"));
}

#[test]
fn exclusion_wins_wherever_it_stands_and_allows_nothing_by_itself() {
    for from in ["10.0.0.0/8,!10.1.0.0/16", "!10.1.0.0/16,10.0.0.0/8"] {
        assert!(lets_pass(from, "10.2.0.1"));
        assert!(!lets_pass(from, "10.1.0.1"));
    }
    assert!(!lets_pass("!10.1.0.0/16", "10.2.0.1"));
}

#[test]
fn a_key_may_say_sources_only_as_far_as_its_line_says() {
    let sources = options(r#"proxy-source="10.0.0.0/8,!10.1.0.0/16""#).proxy_source;
    let may = |source: &str| {
        let sources = sources.as_ref().unwrap();
        sources.contains(source.parse().unwrap())
    };
    assert!(may("10.2.3.4"));
    assert!(!may("10.1.2.3") && !may("192.0.2.1"));
    assert_eq!(options("").proxy_source, None);
    let wrong = reason(r#"proxy-source="elsewhere""#);
    assert!(wrong.starts_with("proxy-source `elsewhere`"), "{wrong}");
    reason(r#"proxy-source="10.0.0.0/8",proxy-source="0.0.0.0/0""#);
    reason("proxy-source");
}
