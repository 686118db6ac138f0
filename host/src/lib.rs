//! A thin layer over the proxy-wasm SDK. It contains only functions that the SDK lacks, or that could trap
//! in the SDK.
//!
//! The SDK provides the dispatcher, the traits and types of contexts, and `dispatch_http_call`. All other
//! calls are in `raw`, the only file with `unsafe`, which returns a status where the SDK panics. Plugins use
//! the other modules: a callback reads [`attributes`], [`headers`] and a [`buffer`]; data goes through a
//! [`queue`], [`shared_data`] with its [`counter`]s, or an [`http_call`]; [`stats`] and [`logging`] report;
//! [`clock`] and [`random`] are the sources of time and randomness. In native tests, [`fake`] is an in-memory
//! Envoy.

pub mod attributes;
pub mod buffer;
pub mod callbacks;
pub mod capability;
pub mod clock;
pub mod configuration;
pub mod counter;
pub mod headers;
pub mod http_call;
pub mod kind;
pub mod logging;
pub mod memory;
pub mod queue;
pub mod random;
pub mod shared_data;
pub mod stats;
pub mod status;
pub mod stream;

mod raw;

#[cfg(not(target_arch = "wasm32"))]
pub mod fake;

pub use proxy_wasm::types::Status;

/// Makes a Wasm module from the function that creates its root contexts.
///
/// `cargo xtask build` finishes a module by removing the callbacks that it does not use. Before that, a
/// module has all callbacks of the SDK, and some of them would trap. So an unfinished module also imports a
/// function that no host has and that only a removed export calls: Envoy rejects the module and names this
/// function.
#[macro_export]
macro_rules! main {
    ($new_root:expr) => {
        $crate::unfinished!();

        #[allow(missing_docs, unreachable_pub)]
        mod start {
            proxy_wasm::main! {{
                $crate::logging::install_panic_hook();
                proxy_wasm::set_root_context($new_root);
            }}
        }
    };
}
