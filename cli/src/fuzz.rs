//! What the fuzz test runs for what users and other programs of the machine write: each function takes any bytes,
//! must not panic and checks what must hold whatever they are. `tests/fuzz` feeds them.
//!
//! Public, because an integration test is another crate; not part of the API. It is no feature of the crate, as that
//! would have everything built twice for the tests; a program that does not call it has nothing of it.

use std::{
    ffi::OsStr,
    fmt::{Debug, Display},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    str::FromStr,
};

use clap::Args;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    address::ListenAddress,
    connect::Server,
    copy::location::{Host, Location},
    exit_code::Failure,
    forward::{ForwardKey, ForwardSpec},
    openssh::Fingerprint,
    rate,
    servers::ServerOrder,
    settings::{ClientSettings, ServerSettings, SettingsFile},
    tproxy::plan::Ports,
};
pub use crate::{
    authorized_keys::fuzz::authorized_keys, control::fuzz::control_messages,
    known_hosts::fuzz::known_hosts,
};

/// Settings files: a mistake is told with its line, and what `--check` prints is a file that means the same.
pub fn settings(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        settings_of(text, ServerSettings::new);
        settings_of(text, ClientSettings::new);
    }
}

fn settings_of<T, S>(text: &str, understand: impl Fn(T) -> Result<(S, T), Failure>)
where
    T: Args + Clone + Debug + Default + DeserializeOwned + PartialEq + Serialize,
{
    let read = |text| SettingsFile::<T>::parse(PathBuf::from("file"), text);
    let file = match read(text) {
        Ok(file) => file,
        Err(failure) => {
            let line = failure.text.strip_prefix("file line ");
            let line = line.and_then(|rest| rest.split_once(": "));
            assert!(
                line.is_some_and(|(line, _)| line.parse::<u32>().is_ok()),
                "{}",
                failure.text
            );
            return;
        }
    };
    if let Ok((_, effective)) = understand(file.options) {
        let shown = toml::to_string(&effective).expect("options can be written");
        let again = read(&shown).expect("what is shown can be read");
        assert_eq!(again.options, effective);
    }
}

/// Values that stand on a command line or in settings: what is understood means the same when it is printed.
pub fn values(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    printed_again::<ForwardSpec>(text);
    printed_again::<ForwardKey>(text);
    printed_again::<ListenAddress>(text);
    printed_again::<Server>(text);
    printed_again::<Fingerprint>(text);
    printed_again::<Ports>(text);
    if let Ok(forward) = text.parse::<ForwardSpec>() {
        let key = forward.key();
        assert_eq!(key.to_string().parse(), Ok(key));
        let _ = forward.listen.at_server();
    }
    let _ = text.parse::<ServerOrder>();
    if let Ok(rate) = rate::parse(text) {
        assert!(rate.bytes_per_second() > 0);
    }
}

fn printed_again<T>(text: &str)
where
    T: FromStr + Display + PartialEq + Debug,
    T::Err: Debug + PartialEq,
{
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse(), Ok(value));
    }
}

/// The places of `rpcp`: a remote one is of a machine that can be named again.
pub fn locations(data: &[u8]) {
    let location = match Location::parse(OsStr::from_bytes(data)) {
        Ok(location) => location,
        Err(error) => return is_printable(&error.to_string()),
    };
    is_printable(&location.to_string());
    let _ = location.source_name();
    if let Location::Remote(remote) = location {
        match &remote.host {
            Host::Server(server) => assert_eq!(server.to_string().parse(), Ok(server.clone())),
            Host::Ssh(host) => {
                let again = Location::parse(OsStr::new(&format!("{host}:")));
                assert!(matches!(again, Ok(Location::Remote(again)) if again.host == remote.host));
            }
        }
        let _ = (remote.file_name(), remote.folder_name());
    }
}

/// Checks that `text` cannot steer a terminal.
fn is_printable(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}
