//! The plugin's root context: configured once per worker, ticks, and takes streams' ends as an access logger.

use std::cell::RefCell;
use std::rc::Rc;

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use tributary_host::random::{self, Hasher};
use tributary_host::{clock, logging, plugin};
use tributary_proto::limits::CONFIGURATION_BYTES_MAX;

use crate::config::WorkerConfig;
use crate::http::HttpStream;
use crate::worker::Worker;

/// The worker that the streams of one root context share; none until it is configured.
pub(crate) type SharedWorker = Rc<RefCell<Option<Worker<Hasher>>>>;

/// The root context of one plugin in one worker.
#[derive(Default)]
pub struct WorkerRoot {
    worker: SharedWorker,
}

impl Context for WorkerRoot {}

impl RootContext for WorkerRoot {
    fn on_vm_start(&mut self, _: usize) -> bool {
        logging::install();
        true
    }

    fn on_configure(&mut self, _: usize) -> bool {
        // One byte past the limit, so that a configuration that is too long is seen to be.
        let json = plugin::configuration(CONFIGURATION_BYTES_MAX + 1).unwrap_or_default();
        let config = match WorkerConfig::parse(&json) {
            Ok(config) => config,
            Err(problems) => {
                problems.iter().for_each(|problem| error!("configuration of the worker filter: {problem}"));
                return false;
            }
        };
        if let Err(status) = clock::tick_every(config.flush.interval) {
            error!("the host gives no ticks ({status:?}): nothing could ever be handed over");
            return false;
        }
        let producer = random::number().unwrap_or_else(|_| clock::now_unix_nano());
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            *worker = Some(Worker::new(config, producer, random::hasher()));
        }
        true
    }

    fn on_tick(&mut self) {
        with(&self.worker, Worker::flush);
    }

    /// As an access logger: one call per stream, without a context of its own.
    fn on_log(&mut self) {
        with(&self.worker, Worker::observe);
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(HttpStream::new(Rc::clone(&self.worker))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Drop for WorkerRoot {
    /// The last fold, when the worker ends. The host deletes the root context then, so the module need not export
    /// `proxy_on_done`, which would be an entry into the VM for each stream.
    fn drop(&mut self) {
        with(&self.worker, Worker::flush);
    }
}

/// Lets the worker do something. It is never in use already: the host does not re-enter a VM, except for memory.
pub(crate) fn with(worker: &SharedWorker, act: impl FnOnce(&mut Worker<Hasher>)) {
    if let Ok(mut worker) = worker.try_borrow_mut()
        && let Some(worker) = worker.as_mut()
    {
        act(worker);
    }
}
