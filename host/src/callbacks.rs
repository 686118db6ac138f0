//! The exports that the build keeps in every module. The SDK exports all callbacks of the ABI, and Envoy
//! calls each callback that a module exports.

/// The exports that are not callbacks: the memory, the SDK's allocator and ABI version, and the function that
/// registers the root context.
pub const BASE: [&str; 4] = ["_initialize", "malloc", "memory", "proxy_abi_version_0_2_1"];

/// The callbacks of every plugin: its start, its end, and ticks.
pub const PLUGIN: [&str; 4] =
    ["proxy_on_configure", "proxy_on_context_create", "proxy_on_delete", "proxy_on_tick"];
