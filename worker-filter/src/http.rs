//! One HTTP stream, for the HTTP filter.

use proxy_wasm::traits::{Context, HttpContext};

use crate::root::{self, SharedWorker};
use crate::worker::Worker;

/// The context of one stream: it only waits for the stream's end.
pub struct HttpStream {
    worker: SharedWorker,
}

impl HttpStream {
    /// A stream of this worker.
    pub(crate) fn new(worker: SharedWorker) -> Self {
        Self { worker }
    }
}

impl Context for HttpStream {}

impl HttpContext for HttpStream {
    fn on_log(&mut self) {
        root::with(&self.worker, Worker::observe);
    }
}
