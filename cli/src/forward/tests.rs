//! Forwards as they are typed.

use super::*;

fn spec(text: &str) -> ForwardSpec {
    text.parse().unwrap()
}

fn refusal(text: &str) -> String {
    text.parse::<ForwardSpec>().unwrap_err().to_string()
}

#[test]
fn every_form_of_ssh_is_understood() {
    for (text, same) in [
        ("8080:a.example:80", "8080:a.example:80"),
        ("localhost:8080:a.example:80", "8080:a.example:80"),
        ("127.0.0.1:8080:10.0.0.1:80", "127.0.0.1:8080:10.0.0.1:80"),
        (
            "[0::1]:8080:[2001:db8::0:1]:80",
            "[::1]:8080:[2001:db8::1]:80",
        ),
        ("*:8080:a.example:80", "*:8080:a.example:80"),
        (":8080:a.example:80", "*:8080:a.example:80"),
        ("0:a.example:80", "0:a.example:80"),
        ("8080:/run/db.sock", "8080:/run/db.sock"),
        ("*:8080:/run/db.sock", "*:8080:/run/db.sock"),
        ("/run/near:a.example:80", "/run/near:a.example:80"),
        ("/run/near:[::1]:80", "/run/near:[::1]:80"),
        ("/run/near:/run/far", "/run/near:/run/far"),
        ("53:10.0.0.1:53/udp", "53:10.0.0.1:53/udp"),
        ("53:10.0.0.1:53/tcp", "53:10.0.0.1:53"),
    ] {
        assert_eq!(spec(text).to_string(), same, "{text}");
        assert_eq!(spec(same), spec(text), "{text}");
    }
}

#[test]
fn what_is_no_forward_is_refused_with_the_reason() {
    for text in [
        "",
        "8080",
        "a.example:80",
        "8080:a.example",
        "1:2:3:4:5",
        "[::1:80:a:1",
        "1:a:2/sctp",
    ] {
        assert!(
            refusal(text).contains("write [BIND:]PORT:HOST:PORT"),
            "{text}"
        );
    }
    assert!(refusal("70000:a.example:80").contains("\"70000\" is no port"));
    assert!(refusal("+1:a.example:80").contains("\"+1\" is no port"));
    assert!(refusal("8080:a.example:0").contains("\"0\" is no port"));
    assert!(refusal("8080:a b:80").contains("\"a b\" is neither"));
    for host in ["[[::1]", "[*]", "[localhost]"] {
        assert!(refusal(&format!("{host}:8080:a.example:80")).contains("is neither"));
    }
    assert!(refusal("8080:/run/../x").contains("absolute"));
    for text in ["53", "53/udp", "*:53/udp", "[::1]:53/udp", "/run/s/udp"] {
        assert_eq!(text.parse::<ForwardKey>().unwrap().to_string(), text);
    }
    assert!(refusal("/run/near:a.example:53/udp").contains("/udp goes from a port"));
    // An IPv6 address without its brackets.
    assert!(refusal("8080:2001:db8::1:80").contains("brackets"));
}

#[test]
fn the_listening_side_stands_alone_where_one_is_named() {
    let listen = |text: &str| text.parse::<ListenSpec>().unwrap();
    for (alone, whole) in [
        ("8080", "8080:a.example:80"),
        ("*:8080", "*:8080:a.example:80"),
        ("[::1]:8080", "[::1]:8080:/run/db.sock"),
        ("/run/near", "/run/near:/run/far"),
    ] {
        assert_eq!(listen(alone), spec(whole).listen);
    }
    assert!("8080:a.example:80".parse::<ListenSpec>().is_err());
}

#[test]
fn the_server_is_told_localhost_where_no_address_is_named() {
    let at = |text: &str| spec(text).listen.at_server().map(|at| at.to_string());
    assert_eq!(at("8080:a:80").unwrap(), "localhost:8080");
    assert_eq!(at("*:8080:a:80").unwrap(), "[::]:8080");
    assert_eq!(at("192.0.2.1:8080:a:80").unwrap(), "192.0.2.1:8080");
    assert_eq!(at("/run/far:a:80").unwrap(), "unix:/run/far");
}
