//! The modules of the benchmark: the shipped modules, an empty module, a module that only evaluates a CEL
//! list, and a worker filter without CEL.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;
use walrus::ModuleConfig;

use crate::workspace::Workspace;

const EMPTY: &str = include_str!("empty.wat");
const LIST: &str = include_str!("list.wat");
/// The Proxy-Wasm status for a function that the host does not have.
const NOT_FOUND: i32 = 1;

/// The sizes of the shipped modules, in bytes.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct WasmBytes {
    pub(crate) worker_filter: usize,
    pub(crate) service: usize,
}

/// Reads the modules of `cargo xtask build`, and writes the other modules to `target/bench`, where
/// `extensions.yaml` expects them.
pub(crate) fn prepare(workspace: &Workspace) -> Result<WasmBytes> {
    let built = |name: &str| {
        let path = workspace.modules().join(name);
        fs::read(&path).with_context(|| format!("cannot read {}; run `cargo xtask build`", path.display()))
    };
    let (worker_filter, service) = (built("worker_filter.wasm")?, built("service.wasm")?);
    let folder = workspace.target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, wasm) in [
        ("empty.wasm", wat::parse_str(EMPTY)?),
        ("list.wasm", wat::parse_str(LIST)?),
        ("worker_filter_textbook.wasm", without_foreign_functions(&worker_filter)?),
    ] {
        fs::write(folder.join(name), wasm).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(WasmBytes { worker_filter: worker_filter.len(), service: service.len() })
}

/// Replaces the import of the call of foreign functions by a function that returns `NotFound`, so that the
/// module works without foreign functions.
fn without_foreign_functions(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = ModuleConfig::new().generate_producers_section(false).parse(wasm)?;
    let import = module
        .imports
        .get_func("env", "proxy_call_foreign_function")
        .context("the worker filter imports no foreign functions, so it has no mode without them")?;
    module.replace_imported_func(import, |(body, _)| {
        body.i32_const(NOT_FOUND);
    })?;
    Ok(module.emit_wasm())
}

#[cfg(test)]
mod tests {
    use walrus::Module;

    use super::*;

    #[test]
    fn the_empty_module_is_valid_and_imports_nothing() {
        let module = Module::from_buffer(&wat::parse_str(EMPTY).unwrap()).unwrap();
        assert_eq!(module.imports.iter().count(), 0);
        assert!(module.exports.iter().any(|export| export.name == "proxy_on_log"));
    }

    #[test]
    fn the_list_module_is_called_once_per_stream() {
        let module = Module::from_buffer(&wat::parse_str(LIST).unwrap()).unwrap();
        let exports: Vec<_> = module.exports.iter().map(|export| export.name.as_str()).collect();
        assert_eq!(
            exports,
            ["memory", "proxy_abi_version_0_2_1", "malloc", "proxy_on_configure", "proxy_on_log"]
        );
    }

    #[test]
    fn the_textbook_module_imports_everything_but_foreign_functions() {
        let wasm = wat::parse_str(
            r#"(module
                (import "env" "proxy_call_foreign_function"
                    (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
                (import "env" "proxy_get_property" (func $property (param i32) (result i32)))
                (func (export "proxy_on_log") (param i32)
                    (drop (call $foreign (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                        (i32.const 0)))
                    (drop (call $property (i32.const 0)))))"#,
        );
        let module = Module::from_buffer(&without_foreign_functions(&wasm.unwrap()).unwrap()).unwrap();
        let imports: Vec<_> = module.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!(imports, ["proxy_get_property"]);
    }
}
