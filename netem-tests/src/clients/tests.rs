use std::collections::BTreeSet;

use super::*;
use crate::clients::row::{Through, VIA};

fn all() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().copied().flatten()
}

fn names_of(only: &[&str]) -> Vec<&'static str> {
    let only: Vec<String> = only.iter().map(|&name| name.to_owned()).collect();
    let rows = chosen(&only).unwrap();
    rows.iter().map(|row| row.name).collect()
}

#[test]
fn every_client_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = all().map(|row| row.name).collect();
    assert_eq!(names.len(), all().count());
    assert!(!names.contains(""));
}

#[test]
fn a_client_has_words_for_the_proxy_exactly_if_it_has_a_setting() {
    for row in all() {
        let has_words = matches!(row.through, Through::Setting(words) if !words.is_empty());
        assert_eq!(row.command.contains(VIA), has_words, "{}", row.name);
    }
}

#[test]
fn what_is_not_named_is_everything_but_what_is_on_request() {
    let names = names_of(&[]);
    assert_eq!(names.len(), all().filter(|row| !row.is_on_request).count());
}

#[test]
fn a_whole_name_means_one_client_and_a_beginning_all_that_have_it() {
    assert_eq!(names_of(&["curl-socks4"]), ["curl-socks4"]);
    assert_eq!(
        names_of(&["curl-socks"]),
        ["curl-socks4", "curl-socks4a", "curl-socks5", "curl-socks5h"]
    );
}

#[test]
fn a_name_that_nobody_has_is_an_error() {
    assert!(chosen(&["curl-gopher".to_owned()]).is_err());
}

#[test]
fn every_script_is_one_that_a_shell_can_read() {
    for row in all() {
        let servers = row
            .servers
            .iter()
            .map(|server| format!("{}\n{}", server.prepare, server.run));
        let own = [row.site, row.before].map(str::to_owned);
        let scripts = [row.script(true), row.script(false)];
        for script in own.into_iter().chain(scripts).chain(servers) {
            let mut shell = std::process::Command::new("sh");
            let output = shell.args(["-n", "-c", &script]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}\n{script}", row.name);
        }
    }
}

#[test]
fn every_client_has_a_server_with_a_port_of_its_own() {
    for row in all() {
        let ports: BTreeSet<u16> = row.servers.iter().map(|server| server.port).collect();
        assert_eq!(ports.len(), row.servers.len(), "{}", row.name);
        assert!(!ports.is_empty() && !ports.contains(&0), "{}", row.name);
    }
}
