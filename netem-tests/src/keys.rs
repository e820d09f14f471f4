//! Fresh keys for a server and its one user, as files the programs take. They live as long as the folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rp_cli::{identity::load_or_make_host_key, openssh::format_key, prompt::Terminal};

/// Where the keys are.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// For `rpserver --key`.
    pub(crate) host: PathBuf,
    /// For `rpcp -i` and `rpclient -i`.
    pub(crate) user: PathBuf,
    /// For `rpserver --authorized-keys`.
    pub(crate) authorized: PathBuf,
    /// Of the host key, for `--host-key`.
    pub(crate) fingerprint: String,
}

impl Keys {
    /// Makes them in `folder`.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let (host, user) = (folder.join("host_key"), folder.join("user_key"));
        let authorized = folder.join("authorized_keys");
        let host_identity = load_or_make_host_key(&host, &Terminal)?.identity;
        let user_identity = load_or_make_host_key(&user, &Terminal)?.identity;
        let line = format!("{}\n", format_key(&user_identity.public_key()));
        fs::write(&authorized, line)?;
        Ok(Self {
            host,
            user,
            authorized,
            fingerprint: host_identity.public_key().fingerprint(),
        })
    }

    /// Makes a key at `path` and lets its user in, too.
    pub(crate) fn add_user(&self, path: &Path) -> anyhow::Result<()> {
        let identity = load_or_make_host_key(path, &Terminal)?.identity;
        let mut authorized = fs::read_to_string(&self.authorized)?;
        authorized += &format!("{}\n", format_key(&identity.public_key()));
        Ok(fs::write(&self.authorized, authorized)?)
    }
}
