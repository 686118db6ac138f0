//! An untrusted plugin in the same Envoy. It writes random and forged items into the queue of the service.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The number of random items per tick.
const RANDOM_PER_TICK: u64 = 200;
/// The number of forged items per tick.
const FORGED_PER_TICK: u64 = 50;
/// The number of ticks, at intervals of 10 ms, after which the plugin stops.
const TICKS: u64 = 100;
/// The address of the table of forged items in the module's memory. An entry has two words: the address and
/// the size of an item.
const TABLE: usize = 4096;
const ENTRY_BYTES: usize = 8;
const PAGE_BYTES: usize = 65536;

/// The total number of random items.
pub const RANDOM: u64 = RANDOM_PER_TICK * TICKS;
/// The total number of forged items.
pub const FORGED: u64 = FORGED_PER_TICK * TICKS;

/// Builds the module. It writes [`RANDOM`] items of up to 511 random bytes (the same in every run). It also
/// writes [`FORGED`] items: the items in `forged`, in turn. `forged` must not be empty.
pub fn module(forged: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut at = TABLE + forged.len() * ENTRY_BYTES;
    let (mut table, mut items) = (Vec::new(), Vec::new());
    for item in forged {
        for number in [at, item.len()] {
            table.extend(u32::try_from(number)?.to_le_bytes());
        }
        items.extend(item);
        at += item.len();
    }
    let pages = at / PAGE_BYTES + 1;
    let (table, items, items_at) = (escaped(&table), escaped(&items), TABLE + forged.len() * ENTRY_BYTES);
    let count = forged.len();
    let text = format!(
        r#"(module
  (import "env" "proxy_resolve_shared_queue" (func $resolve (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $every (param i32) (result i32)))
  (memory (export "memory") {pages})
  (data (i32.const 0) "tributary")
  (data (i32.const 16) "http")
  (data (i32.const {TABLE}) "{table}")
  (data (i32.const {items_at}) "{items}")
  (global $random (mut i64) (i64.const 88172645463325252))
  (global $ticks (mut i32) (i32.const 0))
  (global $next (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "_initialize"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 2048))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $every (i32.const 10)))
    (i32.const 1))
  ;; Xorshift (Marsaglia, 2003) over 512 bytes at 1024; the size is its last word.
  (func $shuffle (result i32) (local $at i32)
    (local.set $at (i32.const 1024))
    (loop $words
      (global.set $random (i64.xor (global.get $random) (i64.shl (global.get $random) (i64.const 13))))
      (global.set $random (i64.xor (global.get $random) (i64.shr_u (global.get $random) (i64.const 7))))
      (global.set $random (i64.xor (global.get $random) (i64.shl (global.get $random) (i64.const 17))))
      (i64.store (local.get $at) (global.get $random))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $words (i32.lt_u (local.get $at) (i32.const 1536))))
    (i32.and (i32.wrap_i64 (global.get $random)) (i32.const 511)))
  (func (export "proxy_on_tick") (param i32) (local $left i32) (local $entry i32)
    (if (i32.ge_u (global.get $ticks) (i32.const {TICKS})) (then (return)))
    ;; Without a queue, tries again at the next tick.
    (if (call $resolve (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 4) (i32.const 24)) (then (return)))
    (global.set $ticks (i32.add (global.get $ticks) (i32.const 1)))
    (local.set $left (i32.const {RANDOM_PER_TICK}))
    (loop $randoms
      (drop (call $enqueue (i32.load (i32.const 24)) (i32.const 1024) (call $shuffle)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $randoms (local.get $left)))
    (local.set $left (i32.const {FORGED_PER_TICK}))
    (loop $forged
      (local.set $entry
        (i32.add (i32.const {TABLE}) (i32.mul (global.get $next) (i32.const {ENTRY_BYTES}))))
      (drop (call $enqueue (i32.load (i32.const 24))
        (i32.load (local.get $entry)) (i32.load offset=4 (local.get $entry))))
      (global.set $next (i32.rem_u (i32.add (global.get $next) (i32.const 1)) (i32.const {count})))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $forged (local.get $left)))))"#
    );
    wat::parse_str(text).context("the text of the module is invalid")
}

/// Builds a module that takes every item out of the queue `http` of its own `vm_id`: it registers the queue
/// again, so that Envoy notifies it instead of the service.
pub fn thief() -> Result<Vec<u8>> {
    let text = r#"(module
  (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
  (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $every (param i32) (result i32)))
  (memory (export "memory") 32)
  (data (i32.const 16) "http")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "_initialize"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $every (i32.const 10)))
    (i32.const 1))
  (func $take
    (loop $items
      (br_if $items
        (i32.eqz (call $dequeue (i32.load (i32.const 24)) (i32.const 28) (i32.const 32))))))
  (func (export "proxy_on_tick") (param i32)
    (drop (call $register (i32.const 16) (i32.const 4) (i32.const 24)))
    (call $take))
  (func (export "proxy_on_queue_ready") (param i32 i32) (call $take)))"#;
    wat::parse_str(text).context("the text of the module is invalid")
}

/// Makes a bootstrap extension that runs the module in `file` with this `vm_id`.
pub fn extension(file: &str, vm_id: &str) -> Value {
    json!({
        "name": "untrusted",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.wasm.v3.WasmService",
            "singleton": true,
            "config": {
                "name": "untrusted",
                "vm_config": {
                    "vm_id": vm_id,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": file}}
                }
            }
        }
    })
}

/// Escapes bytes for a string of the WebAssembly text format.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\{byte:02x}");
        text
    })
}
