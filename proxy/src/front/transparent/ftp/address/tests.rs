//! What servers and clients write.

use super::*;

#[test]
fn six_numbers_are_found_whatever_stands_around_them() {
    for (text, expected) in [
        (
            "227 Entering Passive Mode (10,0,0,5,4,1).\r\n",
            "10.0.0.5:1025",
        ),
        (
            "227 Entering Passive Mode 10,0,0,5,4,1\r\n",
            "10.0.0.5:1025",
        ),
        ("227 =10,0,0,5,0,21", "10.0.0.5:21"),
        (
            "227 5 users, mode (255,255,255,255,255,255)",
            "255.255.255.255:65535",
        ),
        ("PORT 192,168,0,9,200,3\r\n", "192.168.0.9:51203"),
    ] {
        let (span, address) = find_six_numbers(text.as_bytes()).expect(text);
        assert_eq!(address, expected.parse().unwrap(), "{text}");
        assert_eq!(&text[span], format_six_numbers(address), "{text}");
    }
    for text in [
        "",
        "227 ok",
        "1,2,3,4,5",
        "1,2,3,4,5,6,7",
        "1,2,3,4,5,256",
        "1,2,3,4,,6",
        "1, 2, 3, 4, 5, 6",
        "-1,2,3,4,5",
        "99999999999999999999,2,3,4,5,6",
    ] {
        assert_eq!(find_six_numbers(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn extended_addresses_are_read_and_written() {
    for text in ["|1|132.235.1.2|6275|", "|2|1080::8:800:200c:417a|5282|"] {
        let address = parse_extended(text.as_bytes()).expect(text);
        assert_eq!(format_extended(address), text);
        let other_bar = text.replace('|', "!");
        assert_eq!(parse_extended(other_bar.as_bytes()), Some(address));
        assert_eq!(
            parse_extended(format!("{text}\r\n").as_bytes()),
            Some(address)
        );
    }
    for text in [
        "",
        "|",
        "|||6446|",
        "|1|::1|80|",
        "|2|127.0.0.1|80|",
        "|1|127.0.0.1|80",
        "|1|127.0.0.1|99999|",
        "|1|127.0.0.1|80||",
        "\u{e9}1\u{e9}127.0.0.1\u{e9}80\u{e9}",
    ] {
        assert_eq!(parse_extended(text.as_bytes()), None, "{text}");
    }
}
