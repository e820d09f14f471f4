//! A download by unmodified `curl` through a pair of proxy programs. The pair is its caller's.

use std::fs;

use super::{Invocation, Progress, Ready, Recipe, Side, Task, kit::SOURCE};

/// The port of the web server, and the one at which the near program of the pair is asked.
pub(super) fn ports(task: &Task<'_>) -> (u16, u16) {
    (task.port + 1, task.port + 2)
}

/// `curl` downloads by `scheme` from a web server beside `server`, through `client`; the data goes from near to far.
pub(super) fn recipe(
    task: &Task<'_>,
    scheme: &str,
    server: Invocation,
    client: Invocation,
) -> anyhow::Result<Recipe> {
    let arrived = task.folder.join("arrived");
    fs::create_dir(&arrived)?;
    let (web, front_end) = ports(task);
    let site = Invocation::new(Side::Near, task.kit.lab())
        .args(["peer", "web", "--port", &web.to_string()])
        .arg(task.source);
    let curl = Invocation::new(Side::Far, "curl")
        .args(["--silent", "--show-error", "--fail", "--disable"])
        .args(["--proxy", &format!("{scheme}://127.0.0.1:{front_end}")])
        .arg("--output")
        .arg(arrived.join(SOURCE))
        .arg(format!("http://127.0.0.1:{web}/file"));
    Ok(Recipe {
        before: vec![
            (site, Ready::Port(web)),
            (server, Ready::Port(task.port)),
            (client, Ready::Port(front_end)),
        ],
        trigger: curl,
        progress: Progress::File {
            folder: arrived,
            name: SOURCE,
        },
    })
}
