//! The plugins of one VM and their streams: takes Envoy's callbacks to whom they are meant for.
//!
//! It stands in for the SDK's dispatcher, which panics on a callback for a context that it does not know, makes an object
//! for each stream, and fixes for the whole module whether streams are HTTP or TCP: one module here serves both.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::logging;
use crate::plugin::Plugin;
use crate::stream::StreamId;

/// Streams that are told apart by their root context and have their end recorded; far more than one worker of Envoy has at
/// a time. The ones past it go to the first plugin, and are recorded when they are logged.
const STREAMS_MAX: usize = 1 << 20;

/// The plugins of one VM and their streams. Envoy puts all plugins with the same `vm_id`, code and VM configuration into one.
#[derive(Debug)]
pub struct Vm<P> {
    plugins: Vec<(u32, Option<P>)>,
    streams: HashMap<u32, Stream, BuildHasherDefault<IdHasher>>,
}

#[derive(Debug)]
struct Stream {
    root: u32,
    ended: bool,
}

impl<P> Default for Vm<P> {
    fn default() -> Self {
        Self { plugins: Vec::new(), streams: HashMap::default() }
    }
}

impl<P: Plugin> Vm<P> {
    /// `proxy_on_context_create`: a root context has no parent.
    pub fn context_created(&mut self, context: u32, parent: u32) {
        if parent == 0 {
            self.plugins.push((context, None));
            return;
        }
        if self.streams.len() < STREAMS_MAX {
            self.streams.insert(context, Stream { root: parent, ended: false });
        }
        if let Some(plugin) = self.plugin(parent) {
            plugin.stream_created(StreamId::new(context));
        }
    }

    /// `proxy_on_configure`.
    pub fn configured(&mut self, root: u32) -> bool {
        logging::install();
        let plugin = P::configured();
        let accepted = plugin.is_some();
        match self.plugins.iter_mut().find(|(context, _)| *context == root) {
            Some((_, place)) => *place = plugin,
            None => self.plugins.push((root, plugin)),
        }
        accepted
    }

    /// `proxy_on_log`: of a root context as an access logger, of a stream as a filter.
    pub fn logged(&mut self, context: u32) {
        if let Some(stream) = self.streams.get_mut(&context) {
            stream.ended = true;
            let root = stream.root;
            if let Some(plugin) = self.plugin(root) {
                plugin.stream_ended(StreamId::new(context));
            }
        } else if let Some(plugin) = self.plugin(context) {
            plugin.log_entry();
        } else if let Some((_, Some(plugin))) = self.plugins.first_mut() {
            plugin.stream_ended(StreamId::new(context));
        }
    }

    /// `proxy_on_delete`: the last callback of a context. On HTTP/3 it is the only one after the stream's end: the filter's
    /// `on_log` never comes there (Envoy 1.40).
    pub fn deleted(&mut self, context: u32) {
        if let Some(stream) = self.streams.remove(&context) {
            if !stream.ended
                && let Some(plugin) = self.plugin(stream.root)
            {
                plugin.stream_ended(StreamId::new(context));
            }
        } else if let Some(at) = self.plugins.iter().position(|(root, _)| *root == context)
            && let (_, Some(mut plugin)) = self.plugins.remove(at)
        {
            plugin.ended();
        }
    }

    /// The plugin that a root context or a stream belongs to.
    pub fn plugin_of(&mut self, context: u32) -> Option<&mut P> {
        let root = self.streams.get(&context).map_or(context, |stream| stream.root);
        self.plugin(root)
    }

    fn plugin(&mut self, root: u32) -> Option<&mut P> {
        self.plugins.iter_mut().find(|(context, _)| *context == root).and_then(|(_, plugin)| plugin.as_mut())
    }
}

/// Spreads the host's numbers, which it gives out in turn: nobody outside chooses them.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        // Fibonacci hashing: 2^64 divided by the golden ratio.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests;
