//! Ending on a signal in good order: what a subcommand has made goes with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rp_netem_tests::leftovers;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
    time::timeout,
};

use crate::End;

/// How long work may take to notice that its programs are gone.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Whether somebody wants us to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` until it ends or somebody wants us to stop; then everything this process has made is removed,
/// whatever `work` is at.
pub(crate) fn guard(
    work: impl FnOnce(&Interrupt) -> anyhow::Result<End> + Send + 'static,
) -> anyhow::Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let end = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let interrupt = Interrupt::default();
        let inside = interrupt.clone();
        let mut work = spawn_blocking(move || work(&inside));
        tokio::select! {
            ended = &mut work => return ended?,
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
        interrupt.0.store(true, Ordering::Relaxed);
        // Its programs end, so it soon does; what it made meanwhile goes below.
        leftovers::remove_own();
        let _ = timeout(TIMEOUT, work).await;
        Ok(End::Interrupted)
    });
    runtime.shutdown_background();
    leftovers::remove_own();
    end
}
