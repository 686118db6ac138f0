//! The configuration of a plugin, as Envoy passes it to `proxy_on_configure`.

use log::error;
use tributary_proto::config::Problems;
use tributary_proto::limits::CONFIGURATION_BYTES_MAX;

use crate::{buffer, capability};

/// Reads the configuration of the plugin and parses it with `parse`. Logs each problem with the name of the
/// plugin, and returns `None` if Envoy must reject the configuration.
pub fn read<C>(plugin: &str, parse: impl FnOnce(&[u8]) -> Result<C, Problems>) -> Option<C> {
    // Reads one byte more than the limit, to detect a configuration that is too long.
    let Ok(bytes) = buffer::plugin_configuration(CONFIGURATION_BYTES_MAX + 1) else {
        capability::log_withheld("proxy_get_buffer_bytes", "the configuration cannot be read");
        return None;
    };
    let problems = match parse(&bytes) {
        Ok(config) => return Some(config),
        Err(problems) => problems,
    };
    problems.iter().for_each(|problem| error!("configuration of the {plugin}: {problem}"));
    None
}
