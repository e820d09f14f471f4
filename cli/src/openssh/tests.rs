//! Keys made by ssh-keygen, and what is none.

use super::*;

const BASE64: &str = "AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
const PRINT: &str = "SHA256:bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU8";

#[test]
fn key_is_read_and_written_alike() {
    let key = parse_key(KEY_TYPE, BASE64).unwrap();
    assert_eq!(key.fingerprint(), PRINT);
    assert_eq!(format_key(&key), format!("{KEY_TYPE} {BASE64}"));
}

#[test]
fn damaged_keys_are_refused() {
    for base64 in [
        "",
        "AAAA",
        "not base64",
        &BASE64[..60],
        &format!("{BASE64}AAAA"),
    ] {
        assert_eq!(
            parse_key(KEY_TYPE, base64),
            Err(KeyTextError::Damaged),
            "{base64}"
        );
    }
}

#[test]
fn other_types_are_named() {
    let error = parse_key("ssh-rsa", BASE64).unwrap_err();
    assert_eq!(error, KeyTextError::OtherType("ssh-rsa".into()));
    assert!(error.to_string().contains("ssh-keygen -t ed25519"));
}

#[test]
fn fingerprint_names_its_key_only() {
    let print: Fingerprint = PRINT.parse().unwrap();
    assert_eq!(print.to_string(), PRINT);
    assert!(print.names(&parse_key(KEY_TYPE, BASE64).unwrap()));
    assert!(!print.names(&PublicKey::from_bytes([0; 32])));
}

#[test]
fn what_is_no_fingerprint_is_refused() {
    for text in [
        "",
        "SHA256:",
        "bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU8",
        "SHA256:bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU",
        "MD5:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff",
        "SHA256:bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU8=",
    ] {
        assert_eq!(
            text.parse::<Fingerprint>(),
            Err(KeyTextError::Fingerprint),
            "{text}"
        );
    }
}
