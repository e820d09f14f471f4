//! Texts that fit, and texts that do not.

use super::*;

#[test]
fn wildcards_fit_as_shells_fit_them() {
    for (pattern, text, fits) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("a*", "a", true),
        ("*a", "ba", true),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b", "ab1b2", false),
        ("?", "", false),
        ("??", "ab", true),
        ("a?c", "abc", true),
        ("*.1", "10.1.1", true),
        ("**", "x", true),
        ("a", "ab", false),
    ] {
        assert_eq!(
            wildcard(pattern.as_bytes(), text.as_bytes()),
            fits,
            "{pattern} {text}"
        );
    }
}
