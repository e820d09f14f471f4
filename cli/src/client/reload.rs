//! What signals tell a running `rpclient`, and which settings it takes up.

use std::time::Duration;

use rp_proxy::{Client, auth::Credentials};

use crate::{
    args::client::ClientOptions,
    exit_code::Failure,
    logging::{self, Level},
    reach::Reach,
    reload::Source,
    service_manager,
    settings::ClientSettings,
    signals::{Draining, Signals, Told},
};

/// The options that a running client applies.
const APPLIED: [&str; 5] = ["proxy-users", "policy", "rate", "drain", "log-level"];

/// A running client, as far as signals change it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) client: Client,
    pub(super) reach: Reach,
    /// Shared with the front ends.
    pub(super) credentials: Credentials,
    pub(super) source: Source<ClientOptions>,
    pub(super) drain: Duration,
    pub(super) draining: Draining,
}

impl Service {
    /// Does what signals say, until it is time to end.
    pub(super) async fn heed(mut self, mut signals: Signals) {
        loop {
            match signals.next().await {
                Told::Reload => service_manager::reload(|| self.reload()),
                Told::End => return,
                Told::Drain => break,
            }
        }
        service_manager::stopping(self.drain);
        self.draining.start();
        let link = self.client.link();
        signals.drain(self.drain, || link.users() as u64).await;
    }

    /// Reads the settings and the users again and applies what is different; a mistake in them changes
    /// nothing.
    ///
    /// # Errors
    /// That mistake.
    fn reload(&mut self) -> Result<(), Failure> {
        let (settings, effective) = self.source.read(ClientOptions::or, ClientSettings::new)?;
        self.credentials.replace(&settings.credentials);
        self.reach.set_rate(settings.policy, settings.rate);
        self.drain = settings.drain;
        logging::set_level(settings.log_level.unwrap_or(Level::INFO));
        self.source.say_changed(&effective, &APPLIED);
        Ok(())
    }
}
