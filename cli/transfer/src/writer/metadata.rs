//! What a file has besides its content: its time, its permissions, and the space it needs.

use std::{
    fs::File,
    os::fd::AsFd,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use rustix::fs::Mode;

use crate::{error::Error, message::Attributes};

/// Coarsest step of a file's time: that of FAT.
const TIME_STEP: Duration = Duration::from_secs(2);

/// Makes sure that `size` bytes fit where `at` is; says how many do.
pub(crate) fn check_space(at: impl AsFd, size: u64, shown: &str) -> Result<u64, Error> {
    //= spec/20-copy.md#files
    //# A receiver that knows the size MUST refuse a file that does not fit the free space
    //# before it takes any data.
    // Some file systems do not know their size and say 0 of 0, or nothing at all.
    let Ok(stat) = rustix::fs::fstatvfs(at) else {
        return Ok(u64::MAX);
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    match stat.f_blocks > 0 && size > free {
        true => Err(Error::NoSpace {
            name: shown.to_owned(),
            needed: size,
            free,
        }),
        false if stat.f_blocks == 0 => Ok(u64::MAX),
        false => Ok(free),
    }
}

/// The time the file is to have, where it has to be that of its source.
pub(super) fn wanted_time(attributes: &Attributes, preserve: bool) -> Option<SystemTime> {
    let modified = attributes.modified.filter(|_| preserve)?;
    modified.to_system_time()
}

/// Whether `file` was modified at `time`, as far as its file system can tell.
pub(super) fn is_of(file: &File, time: SystemTime) -> bool {
    let found = file.metadata().and_then(|metadata| metadata.modified());
    found.is_ok_and(|found| {
        let apart = found.duration_since(time);
        apart.unwrap_or_else(|earlier| earlier.duration()) <= TIME_STEP
    })
}

/// The process's umask. Reading it means setting it, so this is done once, and what is set for
/// that instant is the strictest.
pub(super) fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let mask = rustix::process::umask(Mode::RWXU | Mode::RWXG | Mode::RWXO);
        rustix::process::umask(mask);
        mask.bits() & 0o777
    })
}
