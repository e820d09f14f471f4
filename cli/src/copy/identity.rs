//! What a copy is called on both sides, so that it is known again after an interruption.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use rp_transfer::message::{CopyId, Durability};

use super::location::{Host, Location, Remote};

/// Gathers what makes a copy this one and no other.
#[derive(Clone, Debug)]
pub(super) struct Identity(blake3::Hasher);

impl Identity {
    /// Of a copy that this machine makes in this direction.
    fn new(direction: &str) -> Self {
        let mut identity = Self(blake3::Hasher::new());
        identity.add(direction.as_bytes());
        // Two machines that share a key, and the names of their files, make two copies.
        identity.add(&fs::read("/etc/machine-id").unwrap_or_default());
        identity
    }

    /// Of the copy that was typed; `None` where it cannot be known again.
    pub(super) fn of(locations: &[Location]) -> Option<Self> {
        let (to, from) = locations.split_last()?;
        let mut identity = Self::new("copy");
        for location in from {
            match location {
                Location::Local(path) => identity.add_source(path),
                Location::Remote(remote) => identity.add_remote(remote),
                Location::Standard => return None,
            }
        }
        match to {
            Location::Local(path) => identity.add_place(path),
            Location::Remote(remote) => identity.add_remote(remote),
            Location::Standard => return None,
        }
        Some(identity)
    }

    /// Adds a place of a server, by whatever port it is reached.
    fn add_remote(&mut self, remote: &Remote) {
        let host = match &remote.host {
            Host::Server(server) => server.host.clone(),
            Host::Ssh(host) => host.to_string(),
        };
        self.add(host.as_bytes());
        self.add(remote.typed());
    }

    /// Adds one part.
    pub(super) fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// Adds what changes how a file arrives.
    pub(super) fn add_options(&mut self, preserve: bool, durability: Durability) {
        self.add(&[u8::from(preserve), durability as u8]);
    }

    /// Adds a file or folder of this machine, however it is spelled; another one of the same name is another.
    fn add_source(&mut self, path: &Path) {
        self.add_place(path);
        let metadata = fs::metadata(path);
        let id = metadata.map_or((0, 0), |metadata| (metadata.dev(), metadata.ino()));
        self.add(&id.0.to_le_bytes());
        self.add(&id.1.to_le_bytes());
    }

    /// Adds a place of this machine, whatever is there.
    fn add_place(&mut self, path: &Path) {
        let whole = match fs::canonicalize(path) {
            Ok(whole) => whole,
            // Not there yet: then its folder and its name.
            Err(_) => {
                let parent = path.parent().unwrap_or_else(|| Path::new(""));
                let parent = match parent.as_os_str().is_empty() {
                    true => env::current_dir(),
                    false => fs::canonicalize(parent),
                };
                let name = path.file_name().unwrap_or_else(|| OsStr::new(""));
                parent.unwrap_or_default().join(name)
            }
        };
        self.add(whole.as_os_str().as_bytes());
    }

    /// What the copy is called.
    pub(super) fn finish(&self) -> CopyId {
        let mut id = CopyId::default();
        self.0.finalize_xof().fill(&mut id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_however_it_is_spelled() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tree")).unwrap();
        let id = |path: &str| {
            let mut identity = Identity::new("push");
            identity.add_place(&folder.path().join(path));
            identity.finish()
        };
        assert_eq!(id("tree"), id("tree/../tree/."));
        assert_ne!(id("tree"), id("other"));
        let before = id("other");
        assert_eq!(before, id("tree/../other"));
        fs::create_dir(folder.path().join("other")).unwrap();
        assert_eq!(before, id("other"));
    }
}
