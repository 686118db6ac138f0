//! Modules whose clock jumps back by an hour: the built modules, in which the import of the host's clock is
//! wrapped.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use walrus::ir::{BinaryOp, LoadKind, MemArg, StoreKind};
use walrus::{Module, ValType};

use crate::repository;

const CLOCK: &str = "proxy_get_current_time_nanoseconds";
/// How far the clock jumps back.
const BACK: Duration = Duration::from_secs(3600);

/// The time at which the clocks of the modules jump back, as Unix time of the real clock.
#[derive(Debug, Clone, Copy)]
pub struct BackwardClockJump(Duration);

impl BackwardClockJump {
    /// Creates a jump that happens after `wait`.
    pub fn after(wait: Duration) -> Result<Self> {
        Ok(Self(SystemTime::now().duration_since(UNIX_EPOCH)? + wait))
    }

    /// Returns whether the clocks have jumped back.
    pub fn has_happened(self) -> bool {
        SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now > self.0)
    }

    /// Builds a module from `target/wasm/FILE` whose clock jumps back at this time.
    pub fn module(self, file: &str) -> Result<Vec<u8>> {
        let mut module = Module::from_file(repository::root().join("target/wasm").join(file))?;
        let (at, back) = (i64::try_from(self.0.as_nanos())?, i64::try_from(BACK.as_nanos())?);
        let memory = module.get_memory_id()?;
        let shown = module.imports.get_func("env", CLOCK).context("it imports no clock")?;
        let kind = module.funcs.get(shown).ty();
        let (real, _) = module.add_import_func("env", CLOCK, kind);
        let (status, now) = (module.locals.add(ValType::I32), module.locals.add(ValType::I64));
        let aligned = MemArg { align: 8, offset: 0 };
        module.replace_imported_func(shown, |(body, arguments)| {
            let Some(place) = arguments.first().copied() else { return };
            body.local_get(place).call(real).local_set(status);
            // The host has written the time to this address: the code below replaces it.
            body.local_get(place);
            body.local_get(place).load(memory, LoadKind::I64 { atomic: false }, aligned).local_tee(now);
            body.i64_const(back).i64_const(0);
            body.local_get(now).i64_const(at).binop(BinaryOp::I64GtU).select(Some(ValType::I64));
            body.binop(BinaryOp::I64Sub).store(memory, StoreKind::I64 { atomic: false }, aligned);
            body.local_get(status);
        })?;
        Ok(module.emit_wasm())
    }
}
