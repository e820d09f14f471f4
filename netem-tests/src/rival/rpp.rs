//! Our own programs, started as a user would start them.

use std::fs;

use super::{Invocation, Kit, Progress, Ready, Recipe, Rival, Side, Task, kit::SOURCE};
use crate::tun::FAR;

/// `rpcp` pushes a file to `rpserver`.
#[derive(Debug)]
pub(super) struct Rpcp;

impl Rival for Rpcp {
    fn name(&self) -> &'static str {
        "rpcp"
    }

    fn about(&self) -> &'static str {
        "a file pushed to rpserver, from memory to memory, sealed, its digest checked before it takes its name; default settings"
    }

    fn install(&self, kit: &Kit) -> anyhow::Result<()> {
        kit.programs().map(|_| ())
    }

    fn version(&self, kit: &Kit) -> anyhow::Result<String> {
        kit.said_by(&kit.programs()?.rpcp, &["--version"])
    }

    fn recipe(&self, task: &Task<'_>) -> anyhow::Result<Recipe> {
        let (programs, keys) = (task.kit.programs()?, task.kit.keys()?);
        let served = task.folder.join("served");
        fs::create_dir(&served)?;
        let address = format!("{FAR}:{}", task.port);
        let server = Invocation::new(Side::Far, &programs.rpserver)
            .args(["--listen", &address])
            .arg("--key")
            .arg(&keys.host)
            .arg("--authorized-keys")
            .arg(&keys.authorized)
            .arg("--root")
            .arg(&served);
        let client = Invocation::new(Side::Near, &programs.rpcp)
            .arg("-q")
            .arg("-i")
            .arg(&keys.user)
            .args(["--host-key", &keys.fingerprint])
            .arg(task.source)
            .arg(format!("rp://{address}/"));
        Ok(Recipe {
            before: vec![(server, Ready::Port(task.port))],
            trigger: client,
            progress: Progress::File {
                folder: served,
                name: SOURCE,
            },
        })
    }
}
