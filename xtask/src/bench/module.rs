//! The modules of the benchmark: those that are shipped, an empty one, one that only evaluates a CEL list,
//! and a worker filter without CEL.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use walrus::ModuleConfig;

use crate::workspace::Workspace;

/// The smallest module that Envoy loads and calls when a stream ends.
const EMPTY: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) i32.const 1024)
    (func (export "proxy_on_log") (param i32)))"#;

/// The smallest module that evaluates a CEL list when a stream ends. Its configuration is the list. It counts
/// failures.
const LIST: &str = r#"(module
    (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_call_foreign_function" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "expr_create" "expr_evaluate" "lists_failed")
    (func (export "proxy_abi_version_0_2_1"))
    ;; Returns the same memory each time: the previous result is not used any more.
    (func (export "malloc") (param i32) (result i32) i32.const 4096)
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        ;; 7: the plugin's configuration.
        (if (call $buffer (i32.const 7) (i32.const 0) (i32.const 60000) (i32.const 0) (i32.const 4))
            (then unreachable))
        (if (call $call (i32.const 64) (i32.const 11) (i32.load (i32.const 0)) (i32.load (i32.const 4))
                (i32.const 8) (i32.const 12))
            (then unreachable))
        (i32.store (i32.const 16) (i32.load (i32.load (i32.const 8))))
        (if (call $define (i32.const 0) (i32.const 88) (i32.const 12) (i32.const 20)) (then unreachable))
        i32.const 1)
    (func (export "proxy_on_log") (param i32)
        (if (call $call (i32.const 75) (i32.const 13) (i32.const 16) (i32.const 4) (i32.const 8) (i32.const 12))
            (then (drop (call $increment (i32.load (i32.const 20)) (i64.const 1)))))))"#;

/// The Proxy-Wasm status for a function that the host does not have.
const NOT_FOUND: i32 = 1;

/// The files that Envoy loads.
pub(crate) struct BenchModules {
    pub(crate) worker_filter: PathBuf,
    pub(crate) service: PathBuf,
    /// Does nothing.
    pub(crate) empty: PathBuf,
    /// Evaluates a CEL list and ignores the result.
    pub(crate) list: PathBuf,
    /// The worker filter without CEL: it reads each attribute by one host call.
    pub(crate) textbook: PathBuf,
}

impl BenchModules {
    /// Finds the modules of `cargo xtask build`, and writes the others to `target/bench`.
    pub(crate) fn prepare(workspace: &Workspace) -> Result<Self> {
        let built = |name: &str| {
            let path = workspace.modules().join(name);
            ensure!(path.is_file(), "{} is missing; run `cargo xtask build`", path.display());
            Ok(path)
        };
        let (worker_filter, service) = (built("worker_filter.wasm")?, built("service.wasm")?);
        let folder = workspace.target().join("bench");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let empty = write(&folder.join("empty.wasm"), &wat::parse_str(EMPTY)?)?;
        let list = write(&folder.join("list.wasm"), &wat::parse_str(LIST)?)?;
        let textbook = without_foreign_functions(&fs::read(&worker_filter)?)?;
        let textbook = write(&folder.join("worker_filter_textbook.wasm"), &textbook)?;
        Ok(Self { worker_filter, service, empty, list, textbook })
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.to_owned())
}

/// Replaces the import of foreign functions by one that is not found, so that the module works without them.
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
