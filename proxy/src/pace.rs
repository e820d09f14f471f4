//! How fast newcomers are taken on: at once, or one after the other while their host is short of memory. Whether it
//! is, its owner says.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::sleep;

/// Time between two newcomers while memory is short: fifty in a second find out that they are served, and what is
/// there already has time to end.
const PAUSE: Duration = Duration::from_millis(20);

/// When newcomers have to wait. Default: never.
///
/// ```
/// use rp_proxy::{ExitConfig, pace::Pace};
///
/// let is_short = || std::env::var_os("SHORT").is_some();
/// let config = ExitConfig::default().pace(Pace::slow_while(is_short));
/// # drop(config);
/// ```
#[derive(Clone, Default)]
pub struct Pace(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Pace {
    /// Newcomers wait while `is_short` says so, which is asked before each of them.
    pub fn slow_while(is_short: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_short)))
    }

    /// Waits until the next one may come. Nobody is refused.
    pub async fn turn(&self) {
        if let Self(Some(is_short)) = self
            && is_short()
        {
            sleep(PAUSE).await;
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Pace(slow while memory is short)",
            None => "Pace(at once)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn newcomers_wait_while_memory_is_short_and_no_longer() {
        let is_short = Arc::new(AtomicBool::new(false));
        let pace = {
            let is_short = is_short.clone();
            Pace::slow_while(move || is_short.load(Ordering::Relaxed))
        };
        let ten = async || {
            let began = Instant::now();
            for _ in 0..10 {
                pace.turn().await;
            }
            began.elapsed()
        };
        assert_eq!(ten().await, Duration::ZERO);
        is_short.store(true, Ordering::Relaxed);
        assert!(ten().await >= 10 * PAUSE);
        is_short.store(false, Ordering::Relaxed);
        assert_eq!(ten().await, Duration::ZERO);
    }
}
