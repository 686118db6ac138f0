//! The memory of a module.

/// Returns the size of the module's memory in bytes. The memory never shrinks.
#[cfg(target_arch = "wasm32")]
pub fn bytes() -> u64 {
    // WebAssembly specification, "Memory Instances".
    const PAGE_BYTES: u64 = 64 * 1024;
    u64::try_from(core::arch::wasm32::memory_size::<0>()).unwrap_or(0).saturating_mul(PAGE_BYTES)
}

/// Returns 0, because a native build has no memory of its own.
#[cfg(not(target_arch = "wasm32"))]
pub fn bytes() -> u64 {
    0
}
