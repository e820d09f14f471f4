//! Requests of one copy that run at once.

use std::{future::Future, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::super::CopyError;

/// Requests at once; a server lets a connection have 16.
const MAX_RUNNING: usize = 10;

/// How long those that run may take to end when one of them failed.
const GRACE: Duration = Duration::from_secs(5);

/// The requests under way.
#[derive(Debug, Default)]
pub(super) struct Running {
    tasks: JoinSet<Result<(), CopyError>>,
}

impl Running {
    /// Whether as many run as may.
    pub(super) fn is_busy(&self) -> bool {
        self.tasks.len() >= MAX_RUNNING / 2
    }

    /// Has `task` run, when there is a place for it.
    pub(super) async fn spawn(
        &mut self,
        task: impl Future<Output = Result<(), CopyError>> + Send + 'static,
    ) -> Result<(), CopyError> {
        while self.tasks.len() >= MAX_RUNNING {
            self.join().await?;
        }
        self.tasks.spawn(task);
        Ok(())
    }

    /// Waits for all of them.
    pub(super) async fn finish(&mut self) -> Result<(), CopyError> {
        while !self.tasks.is_empty() {
            self.join().await?;
        }
        Ok(())
    }

    async fn join(&mut self) -> Result<(), CopyError> {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => {
                // What ends one ends all; what they have that is whole takes its name.
                let ending = async { while self.tasks.join_next().await.is_some() {} };
                let _ = timeout(GRACE, ending).await;
                Err(error)
            }
            _ => Ok(()),
        }
    }
}
