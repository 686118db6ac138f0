//! Modules that trap when a test requires it: the built modules, in which one callback is replaced.
//!
//! Tests make them from the modules in `target/wasm`, so that the product contains no code for traps.

use std::ops::Deref;

use anyhow::{Context, Result};
use tempfile::TempPath;
use walrus::ir::{BinaryOp, Value};
use walrus::{ConstExpr, DataKind, FunctionBuilder, FunctionId, ImportKind, LocalId, Module};

use crate::repository;
use crate::sink;

/// The request header that makes the VM of [`worker`] trap after it has logged the request.
pub const HEADER: &str = "x-trap";

/// The size of a page of WebAssembly memory.
const PAGE_BYTES: u64 = 65_536;

/// A file with a module that traps; it dereferences to the name of the file. Dropping it removes the file.
#[derive(Debug)]
pub struct TrapModule {
    name: String,
    _file: TempPath,
}

impl TrapModule {
    fn write(module: &mut Module) -> Result<Self> {
        let file = tempfile::Builder::new().prefix("trap").suffix(".wasm").tempfile()?.into_temp_path();
        std::fs::write(&file, module.emit_wasm())?;
        Ok(Self { name: file.display().to_string(), _file: file })
    }
}

impl Deref for TrapModule {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

/// Builds a service that traps whenever a collector responds.
pub fn service() -> Result<TrapModule> {
    let mut module = module("service.wasm")?;
    replace(&mut module, "proxy_on_http_call_response", |builder, _, _| {
        builder.func_body().unreachable();
    })?;
    TrapModule::write(&mut module)
}

/// Builds a service that traps when a sink responds with the status of a [`sink::Fault`].
pub fn service_on_fault() -> Result<TrapModule> {
    let size = i32::try_from(sink::FAULT_TEXT.len())?;
    let mut module = module("service.wasm")?;
    replace(&mut module, "proxy_on_http_call_response", |builder, arguments, original| {
        // The arguments are the context, the call, the number of headers, the size of the body, and the
        // number of trailers.
        if let [_, _, _, body_bytes, _] = arguments {
            let mut body = builder.func_body();
            body.local_get(*body_bytes).i32_const(size).binop(BinaryOp::I32Eq);
            body.if_else(None, |then| _ = then.unreachable(), |_| ());
            arguments.iter().for_each(|argument| _ = body.local_get(*argument));
            body.call(original);
        }
    })?;
    TrapModule::write(&mut module)
}

/// Builds a worker filter from the module `file`, which traps after it has logged a request with the header
/// [`HEADER`].
///
/// # Errors
/// The module is not built.
pub fn worker(file: &str) -> Result<TrapModule> {
    let mut module = module(file)?;
    let import =
        module.imports.find("env", "proxy_get_property").context("no import of proxy_get_property")?;
    let ImportKind::Function(get_property) = module.imports.get(import).kind else {
        anyhow::bail!("proxy_get_property is not a function")
    };
    // Adds a page after the initial memory. The allocator continues after this page.
    let memory = module.memories.iter_mut().next().context("no memory")?;
    let page = i32::try_from(memory.initial * PAGE_BYTES)?;
    memory.initial += 1;
    let (memory, path) = (memory.id(), format!("request\0headers\0{HEADER}").into_bytes());
    let (path_bytes, pointer) = (i32::try_from(path.len())?, page + 1024);
    let offset = ConstExpr::Value(Value::I32(page));
    module.data.add(DataKind::Active { memory, offset }, path);
    replace(&mut module, "proxy_on_log", |builder, arguments, original| {
        let mut body = builder.func_body();
        arguments.iter().for_each(|argument| _ = body.local_get(*argument));
        body.call(original);
        body.i32_const(page).i32_const(path_bytes).i32_const(pointer).i32_const(pointer + 4);
        body.call(get_property).i32_const(0).binop(BinaryOp::I32Eq);
        body.if_else(None, |then| _ = then.unreachable(), |_| ());
    })?;
    TrapModule::write(&mut module)
}

/// Builds a worker filter that traps after it has received more than 20,000 bytes of a log stream at
/// once.
pub fn log_stream() -> Result<TrapModule> {
    let mut module = module("worker_filter.wasm")?;
    replace(&mut module, "proxy_on_downstream_data", |builder, arguments, original| {
        // The arguments are the context, the number of bytes, and whether these are the last bytes.
        if let [_, size, _] = arguments {
            let mut body = builder.func_body();
            arguments.iter().for_each(|argument| _ = body.local_get(*argument));
            body.call(original);
            body.local_get(*size).i32_const(20_000).binop(BinaryOp::I32GtU);
            body.if_else(None, |then| _ = then.unreachable(), |_| ());
        }
    })?;
    TrapModule::write(&mut module)
}

fn module(file: &str) -> Result<Module> {
    let file = repository::root().join("target/wasm").join(file);
    Module::from_file(&file).with_context(|| file.display().to_string())
}

/// Replaces an exported callback with a function. `write` makes its body, given its arguments and the
/// original callback.
fn replace(
    module: &mut Module,
    callback: &str,
    write: impl FnOnce(&mut FunctionBuilder, &[LocalId], FunctionId),
) -> Result<()> {
    let original = module.exports.get_func(callback)?;
    let kind = module.types.get(module.funcs.get(original).ty());
    let (parameters, results) = (kind.params().to_vec(), kind.results().to_vec());
    let arguments: Vec<LocalId> = parameters.iter().map(|kind| module.locals.add(*kind)).collect();
    let mut function = FunctionBuilder::new(&mut module.types, &parameters, &results);
    write(&mut function, &arguments, original);
    let replacement = function.finish(arguments, &mut module.funcs);
    module.exports.remove(callback)?;
    module.exports.add(callback, replacement);
    Ok(())
}
