//! Which settings differ, and which stay in force.

use super::*;
use crate::args::server::ServerOptions;

fn options(text: &str) -> ServerOptions {
    toml::from_str(text).unwrap()
}

#[test]
fn what_was_added_removed_or_changed_is_named() {
    let table = |text| text_table(text);
    let before = table("a = 1\nb = [1]\nc = 'x'");
    let after = table("b = [1, 2]\nc = 'x'\nd = true");
    assert_eq!(changed(&before, &after), ["a", "b", "d"]);
    assert_eq!(changed(&after, &after), Vec::<String>::new());
}

fn text_table(text: &str) -> Table {
    text.parse().unwrap()
}

#[test]
fn what_cannot_be_applied_stays_in_force() {
    let mut source = Source::new(ServerOptions::default(), None, "unused");
    source.hold(&options("listen = ':1'\nallow = ['10.0.0.0/8']"));
    source.say_changed(&options("listen = ':2'\nrate = '1M'"), &["allow", "rate"]);
    assert_eq!(source.effective["listen"].as_str(), Some(":1"));
    assert_eq!(source.effective["rate"].as_str(), Some("1M"));
    assert!(!source.effective.contains_key("allow"));
}

#[test]
fn the_file_is_read_again_under_what_was_typed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let typed = options("listen = ':1'");
    let source = Source::new(typed, Some(path.clone()), "unused");
    let read = || {
        source.read(ServerOptions::or, |options| {
            Ok((options.rate.clone(), options))
        })
    };
    std::fs::write(&path, "rate = '1M'\nlisten = ':2'").unwrap();
    let (rate, effective) = read().unwrap();
    assert_eq!(rate.as_deref(), Some("1M"));
    assert_eq!(effective.listen.as_deref(), Some(":1"));
    std::fs::write(&path, "rat = '1M'").unwrap();
    assert!(read().unwrap_err().text.contains("did you mean `rate`?"));
}
