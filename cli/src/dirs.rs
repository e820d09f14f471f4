//! Where the programs keep their files: `$XDG_CONFIG_HOME/rapidpath`, or `~/.config/rapidpath`; and what they
//! remember by themselves: `$XDG_STATE_HOME/rapidpath`, or `~/.local/state/rapidpath`.
//! What the files mean is told by the modules that read them.

use std::{
    env,
    ffi::OsString,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

#[cfg(test)]
mod tests;

/// The user's folder of settings, keys and trusted hosts; `None` if there is no home.
pub fn config() -> Option<PathBuf> {
    let (xdg, home) = (env::var_os("XDG_CONFIG_HOME"), env::var_os("HOME"));
    folder_from(xdg, home, ".config")
}

/// The user's folder of what programs remember by themselves; `None` if there is no home.
pub fn state() -> Option<PathBuf> {
    let (xdg, home) = (env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
    folder_from(xdg, home, ".local/state")
}

/// The user's home; `None` if the environment names none.
pub fn home() -> Option<PathBuf> {
    absolute(env::var_os("HOME"))
}

/// By the XDG base directory specification a relative path counts as unset.
fn folder_from(xdg: Option<OsString>, home: Option<OsString>, usual: &str) -> Option<PathBuf> {
    let base = absolute(xdg).or_else(|| absolute(home).map(|home| home.join(usual)))?;
    Some(base.join("rapidpath"))
}

fn absolute(value: Option<OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Makes the folder `path` is to lie in, for the user's eyes only, and those above it.
pub(crate) fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)
        }
        _ => Ok(()),
    }
}
