//! How much memory a module has.

/// Bytes of a Wasm page (WebAssembly specification, "Memory Instances").
#[cfg(target_arch = "wasm32")]
const PAGE_BYTES: u64 = 64 * 1024;

/// Bytes of the module's memory, which only grows: what Envoy has for it.
#[cfg(target_arch = "wasm32")]
pub fn bytes() -> u64 {
    u64::try_from(core::arch::wasm32::memory_size::<0>()).unwrap_or(0).saturating_mul(PAGE_BYTES)
}

/// A native build has no memory of its own.
#[cfg(not(target_arch = "wasm32"))]
pub fn bytes() -> u64 {
    0
}
