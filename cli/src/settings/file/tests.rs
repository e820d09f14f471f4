//! What is said of a file with a mistake in it.

use super::*;
use crate::args::{client::ClientOptions, server::ServerOptions};

fn server(text: &str) -> Result<SettingsFile<ServerOptions>, String> {
    SettingsFile::parse("s.toml".into(), text).map_err(|failure| failure.text)
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_one() {
    let text = "# ours\nlisten = '127.0.0.1:1'\nmax-conections = 5\n";
    assert_eq!(
        server(text).unwrap_err(),
        "s.toml line 3: unknown key `max-conections`; did you mean `max-connections`?"
    );
    assert_eq!(
        server("\nauthorized_keys = 'f'").unwrap_err(),
        "s.toml line 2: unknown key `authorized_keys`; did you mean `authorized-keys`?"
    );
    assert_eq!(
        server("[[zzz]]\n").unwrap_err(),
        "s.toml line 1: unknown key `zzz`; the keys are the names of the flags, see --help"
    );
}

#[test]
fn a_wrong_type_is_named_with_its_line_and_key() {
    let wrong = |text| server(text).unwrap_err();
    assert_eq!(
        wrong("anonymous = true\nrate = 5\n"),
        "s.toml line 2: rate: invalid type: integer `5`, expected a string"
    );
    assert!(wrong("max-targets = '9'").starts_with("s.toml line 1: max-targets: invalid type"));
    assert!(wrong("max-targets = -1").starts_with("s.toml line 1: max-targets: "));
    assert!(wrong("allow = [\n  '10.0.0.0/8',\n  7,\n]").starts_with("s.toml line 3: allow: "));
}

#[test]
fn what_is_no_toml_is_named_with_its_line() {
    assert!(
        server("listen = '1'\nrate = \n")
            .unwrap_err()
            .starts_with("s.toml line 2: ")
    );
    assert!(
        server("rate = '1M'\nrate = '2M'\n")
            .unwrap_err()
            .contains("duplicate key")
    );
}

#[test]
fn a_bad_value_of_the_file_is_told_with_its_line_and_a_typed_one_without() {
    let file = server("listen = ':1'\nrate = 'fast'\n").unwrap();
    let failure = |option| Failure {
        option: Some(option),
        ..Failure::usage("--rate: not a rate")
    };
    let typed = ServerOptions {
        listen: Some(":2".into()),
        ..ServerOptions::default()
    };
    let text = |failure| file.blame(failure, &typed).text;
    assert_eq!(text(failure("rate")), "s.toml line 2: --rate: not a rate");
    assert_eq!(text(failure("listen")), "--rate: not a rate");
    assert_eq!(text(failure("root")), "--rate: not a rate");
    assert_eq!(text(Failure::usage("lost")), "lost");
}

#[test]
fn every_flag_is_a_key_that_the_file_may_have() {
    fn check<T: Args + DeserializeOwned + Default>() {
        let keys = keys::<T>();
        assert!(keys.len() > 5);
        for key in keys {
            // No option is a date, but where the key is known it is the value that is at fault.
            let failure = toml::from_str::<T>(&format!("{key} = 1979-05-27"))
                .err()
                .unwrap();
            assert!(
                !failure.message().contains("unknown field"),
                "{key}: {failure}"
            );
        }
    }
    check::<ServerOptions>();
    check::<ClientOptions>();
}
