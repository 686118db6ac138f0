//! The exports that each module keeps. The SDK exports every callback of the ABI, and Envoy enters the VM for each that exists.

/// Exports that every module keeps: its memory, the SDK's allocator and version, and the function that registers its root
/// context.
pub const BASE: [&str; 4] = ["_initialize", "malloc", "memory", "proxy_abi_version_0_2_1"];

/// Callbacks that every module takes: its beginning, its end, and ticks.
pub const PLUGIN: [&str; 4] =
    ["proxy_on_configure", "proxy_on_context_create", "proxy_on_delete", "proxy_on_tick"];
