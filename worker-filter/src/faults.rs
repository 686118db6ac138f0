//! What goes wrong in a worker and lasts: said once a minute, with how often it was not said.

use std::time::Duration;

use log::warn;
use tributary_host::clock;
use tributary_host::counter::AddError;
use tributary_host::logging::RateLimit;
use tributary_plan::plan::Streams;

use crate::outbox::HeldBack;

/// How often a fault that lasts is logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// The faults of one worker.
#[derive(Debug)]
pub(crate) struct Faults {
    held_back: RateLimit,
    counter: RateLimit,
    misattached: RateLimit,
}

impl Default for Faults {
    fn default() -> Self {
        let limit = || RateLimit::new(INTERVAL);
        Self { held_back: limit(), counter: limit(), misattached: limit() }
    }
}

impl Faults {
    /// So many requests wait in the worker instead of going into the queue.
    #[inline(never)]
    pub(crate) fn held_back(&mut self, reason: HeldBack, waiting: u64, queue: &str) {
        let Some(suppressed) = self.held_back.permit(clock::now_unix_nano()) else { return };
        match reason {
            HeldBack::NoService => warn!(
                "no service has registered the queue \"{queue}\": {waiting} requests wait in this worker, none is lost. Is \
                 service.wasm a bootstrap extension with the same vm_id? ({suppressed} more since)"
            ),
            HeldBack::Behind => warn!(
                "the service does not keep up: {waiting} requests wait in this worker, none is lost ({suppressed} more \
                 since)"
            ),
            HeldBack::Silent => warn!(
                "the service is dead or hangs: {waiting} requests wait in this worker, none is lost until Envoy ends. \
                 Look in the log for why; attached as a stat sink it would come back ({suppressed} more since)"
            ),
            HeldBack::Host(_) => warn!(
                "the host refused a batch: {waiting} requests wait in this worker, none is lost \
                 ({suppressed} more since)"
            ),
        }
    }

    /// Additions to a counter wait in the worker. Contention passes by itself, with the next flush.
    #[inline(never)]
    pub(crate) fn counter(&mut self, error: AddError) {
        let reason = match error {
            AddError::Contended => return,
            AddError::NotACounter => "another plugin has written to its key",
            AddError::Host(_) => "Envoy refuses it",
        };
        if let Some(suppressed) = self.counter.permit(clock::now_unix_nano()) {
            warn!(
                "a counter in shared data cannot be written: {reason}; its additions wait ({suppressed} more since)"
            );
        }
    }

    /// The worker is attached where streams are of the other kind.
    #[inline(never)]
    pub(crate) fn misattached(&mut self, configured: Streams) {
        let Some(suppressed) = self.misattached.permit(clock::now_unix_nano()) else { return };
        match configured {
            Streams::Http => warn!(
                "streams here are TCP connections, but the configuration is for HTTP requests: set preset to \"tcp\" or \
                 \"istio_tcp\" ({suppressed} more since)"
            ),
            Streams::Tcp => warn!(
                "streams here are HTTP requests, but the configuration is for TCP connections: set preset to \"otel\" or \
                 \"istio\" ({suppressed} more since)"
            ),
        }
    }
}
