//! A thin layer over the proxy-wasm SDK: only what the SDK lacks, or does in a way that could trap.
//!
//! The SDK carries the modules: its dispatcher calls their contexts, its traits and types are theirs, its
//! `dispatch_http_call` sends. Beneath lies [`raw`](self), the one file with `unsafe`, whose calls give a status where the SDK's
//! own panic. The other modules here are what plugins call: [`attributes`], [`headers`], [`buffer`], [`http_call`], the
//! [`queue`]s, [`shared_data`] and [`counter`]s in it, Envoy's [`stats`], [`logging`], the [`clock`] and [`random`] numbers.
//!
//! Natively the same calls, and those of the SDK, reach [`fake`], an Envoy in memory.

pub mod attributes;
pub mod buffer;
pub mod callbacks;
pub mod capability;
pub mod clock;
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

/// Makes a module of the function that gives its root contexts.
///
/// A module is finished by `cargo xtask build`, which strips the callbacks that it does not use. As cargo links it, it has every
/// callback of the SDK, and some would trap. So it also imports a function that no host has, which only a stripped export
/// reaches: Envoy refuses a module that is not finished, and names this function.
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
