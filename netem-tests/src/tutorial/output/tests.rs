//! Outputs are compared as a reader would.

use super::*;

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn lines_stand_in_their_order_with_others_between() {
    let mut captures = Captures::default();
    let output = "a\nb 1 of 2\nc\nd\n";
    for (expected, missing) in [
        ("a\nc", None),
        ("a\nb ... of 2\n...\nd", None),
        ("c\na", Some("a")),
        ("a\nb ... of 3", Some("b ... of 3")),
        ("a\nb", Some("b")),
        ("... of ...", None),
    ] {
        let expected = lines(expected);
        assert_eq!(captures.look(&expected, output).err(), missing);
    }
    assert_eq!(captures, Captures::default());
}

#[test]
fn a_word_seen_once_is_meant_by_later_commands() {
    let mut captures = Captures::default();
    let expected = lines("host key SHA256:... (made)");
    captures
        .look(&expected, "host key SHA256:abc/1 (made)\n")
        .unwrap();
    assert_eq!(
        captures.apply("rpclient --host-key SHA256:..."),
        "rpclient --host-key SHA256:abc/1"
    );
    // The last one counts, unless something else is missing.
    let more = lines("key SHA256:...\nready");
    assert!(captures.look(&more, "key SHA256:no\n").is_err());
    assert_eq!(captures.apply("SHA256:..."), "SHA256:abc/1");
    captures.look(&more, "key SHA256:xyz\nready\n").unwrap();
    assert_eq!(captures.apply("SHA256:..."), "SHA256:xyz");
}

#[test]
fn dots_stand_for_text_and_nothing_else_does() {
    assert!(is_match("HTTP/1.1 ... OK", "HTTP/1.1 200 OK"));
    assert!(is_match("...", ""));
    assert!(!is_match("ab...bc", "abc"));
    assert!(!is_match("a.c", "abc"));
}
