//! Removes from a linked module its unused exports, the code that only these exports reach, and the sections
//! that only tools read.
//!
//! The default methods of the SDK's traits, such as `get_http_request_header`, are in the vtables of every
//! context, although the SDK's dispatcher calls only callbacks through vtables. Most of these methods panic
//! on an unexpected status. Their bodies are removed too, together with the imports of host functions that
//! only these methods call. So a module imports only the functions that it calls.

use std::collections::HashSet;

use anyhow::{Context, Result};
use walrus::ir::{Call, Visitor, dfs_in_order};
use walrus::{FunctionBuilder, FunctionId, FunctionKind, Module, ModuleConfig, passes};

/// The prefix of the mangled names of the SDK's trait methods (Rust's legacy mangling). After the prefix come
/// the length and name of the trait, then the length and name of the method.
const SDK_TRAITS: &str = "_ZN10proxy_wasm6traits";

/// The prefixes of the methods that the SDK's dispatcher calls through a vtable.
const CALLBACK_PREFIXES: [&str; 3] = ["on_", "create_", "get_type"];

/// A stripped module.
pub(crate) struct Stripped {
    pub(crate) wasm: Vec<u8>,
    /// The exports that were removed.
    pub(crate) removed: Vec<String>,
}

/// Keeps only the exports in `keep` and the code that they reach. Keeps the names of functions if
/// `debug_names` is set.
pub(crate) fn strip<'a>(
    wasm: &[u8],
    keep: impl Iterator<Item = &'a str> + Clone,
    debug_names: bool,
) -> Result<Stripped> {
    let mut config = ModuleConfig::new();
    config.generate_producers_section(false).generate_name_section(debug_names);
    let mut module = config.parse(wasm).context("the linked module is not valid Wasm")?;

    replace_callbacks(&mut module);
    let unwanted: Vec<_> = module
        .exports
        .iter()
        .filter(|export| !keep.clone().any(|name| name == export.name))
        .map(|export| (export.id(), export.name.clone()))
        .collect();
    for (id, _) in &unwanted {
        module.exports.delete(*id);
    }
    empty_uncalled_methods(&mut module);
    let sections: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for id in sections {
        module.customs.delete(id);
    }
    passes::gc::run(&mut module);
    let removed = unwanted.into_iter().map(|(_, name)| name).collect();
    Ok(Stripped { wasm: module.emit_wasm(), removed })
}

/// Exports each `tributary_on_NAME` in place of the SDK's `proxy_on_NAME` (host/src/raw.rs).
fn replace_callbacks(module: &mut Module) {
    let own: Vec<_> = module
        .exports
        .iter()
        .filter_map(|export| {
            Some((export.id(), format!("proxy_on_{}", export.name.strip_prefix("tributary_on_")?)))
        })
        .collect();
    for (id, name) in own {
        // If the SDK does not export this callback, there is no export to remove.
        let _ = module.exports.remove(&name);
        module.exports.get_mut(id).name = name;
    }
}

/// Replaces the body of an SDK trait method by a trap, if no function calls the method directly and if the
/// method is no callback.
fn empty_uncalled_methods(module: &mut Module) {
    let called = directly_called(module);
    let is_uncalled = |id: FunctionId, name: &str| {
        !called.contains(&id) && method_name(name).is_some_and(|method| !is_callback(method))
    };
    let uncalled: Vec<FunctionId> = module
        .funcs
        .iter_local()
        .map(|(id, _)| id)
        .filter(|id| module.funcs.get(*id).name.as_deref().is_some_and(|name| is_uncalled(*id, name)))
        .collect();
    for id in uncalled {
        let (parameters, results) = module.types.params_results(module.funcs.get(id).ty());
        let (parameters, results) = (parameters.to_vec(), results.to_vec());
        let arguments = parameters.iter().map(|kind| module.locals.add(*kind)).collect();
        let mut builder = FunctionBuilder::new(&mut module.types, &parameters, &results);
        builder.func_body().unreachable();
        module.funcs.get_mut(id).kind = FunctionKind::Local(builder.local_func(arguments));
    }
}

/// Returns the functions that are called directly, not through a table.
fn directly_called(module: &Module) -> HashSet<FunctionId> {
    #[derive(Default)]
    struct Callees(HashSet<FunctionId>);

    impl<'a> Visitor<'a> for Callees {
        fn visit_call(&mut self, call: &Call) {
            self.0.insert(call.func);
        }
    }

    let mut callees = Callees::default();
    for (_, function) in module.funcs.iter_local() {
        dfs_in_order(&mut callees, function, function.entry_block());
    }
    callees.0
}

/// Returns the name of the SDK trait method in a mangled name; `None` for other functions.
fn method_name(mangled: &str) -> Option<&str> {
    let (_, rest) = split_segment(mangled.strip_prefix(SDK_TRAITS)?)?;
    split_segment(rest).map(|(method, _)| method)
}

fn is_callback(method: &str) -> bool {
    CALLBACK_PREFIXES.iter().any(|prefix| method.starts_with(prefix))
}

/// Splits a mangled path into its first segment and the rest. Each segment starts with its length.
fn split_segment(mangled: &str) -> Option<(&str, &str)> {
    let digits = mangled.find(|letter: char| !letter.is_ascii_digit())?;
    let (length, rest) = mangled.split_at_checked(digits)?;
    rest.split_at_checked(length.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"(module
        (import "env" "proxy_log" (func $log))
        (import "env" "proxy_done" (func $done))
        (import "env" "proxy_close_stream" (func $close))
        (memory (export "memory") 1)
        (global (export "__heap_base") i32 (i32.const 8))
        (table 1 1 funcref)
        (elem (i32.const 0) $indirect)
        (func $indirect call $close)
        (func $wanted (export "proxy_on_log") call $log i32.const 0 call_indirect)
        (func $unwanted (export "proxy_on_request_body") call $only_for_body)
        (func $only_for_body call $done)
        (@custom "notes" "for tools")
        (@producers (language "Rust" "1.95.0")))"#;

    fn strip_to(keep: &[&str], debug_names: bool) -> (Module, Stripped) {
        let wasm = wat::parse_str(MODULE).unwrap();
        let stripped = strip(&wasm, keep.iter().copied(), debug_names).unwrap();
        (Module::from_buffer(&stripped.wasm).unwrap(), stripped)
    }

    fn exports(module: &Module) -> Vec<&str> {
        module.exports.iter().map(|export| export.name.as_str()).collect()
    }

    #[test]
    fn an_own_callback_takes_the_place_of_the_sdk_s() {
        let module = r#"(module
            (import "env" "proxy_log" (func $log))
            (import "env" "proxy_done" (func $done))
            (func $sdk (export "proxy_on_tick") call $done)
            (func $own (export "tributary_on_tick") call $log)
            (func $other (export "tributary_on_log") call $done))"#;
        let wasm = wat::parse_str(module).unwrap();
        let stripped = strip(&wasm, ["proxy_on_tick"].into_iter(), false).unwrap();
        let module = Module::from_buffer(&stripped.wasm).unwrap();
        assert_eq!(exports(&module), ["proxy_on_tick"]);
        let imports: Vec<_> = module.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!(imports, ["proxy_log"], "the SDK's callback is gone");
    }

    #[test]
    fn only_listed_exports_stay() {
        let (module, stripped) = strip_to(&["memory", "proxy_on_log"], false);
        assert_eq!(exports(&module), ["memory", "proxy_on_log"]);
        assert_eq!(stripped.removed, ["__heap_base", "proxy_on_request_body"]);
    }

    #[test]
    fn code_that_only_a_removed_export_reached_is_removed() {
        let (module, _) = strip_to(&["memory", "proxy_on_log"], false);
        let imports: Vec<_> = module.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!(imports, ["proxy_log", "proxy_close_stream"]);
        assert_eq!(module.globals.iter().count(), 0);
    }

    #[test]
    fn code_that_is_reached_through_the_table_stays() {
        let (module, _) = strip_to(&["proxy_on_log"], false);
        assert_eq!(module.tables.iter().count(), 1);
        assert_eq!(module.elements.iter().count(), 1);
    }

    #[test]
    fn custom_sections_are_removed_and_names_stay_on_demand() {
        let find = |wasm: &[u8], text: &str| wasm.windows(text.len()).any(|window| window == text.as_bytes());
        let (_, release) = strip_to(&["proxy_on_log"], false);
        for text in ["for tools", "producers", "wanted"] {
            assert!(!find(&release.wasm, text), "{text}");
        }
        let (_, debug) = strip_to(&["proxy_on_log"], true);
        assert!(find(&debug.wasm, "wanted"));
        assert!(!find(&debug.wasm, "for tools"));
    }

    #[test]
    fn bytes_that_are_not_wasm_are_an_error() {
        let error = strip(b"not wasm", ["memory"].into_iter(), false).err().unwrap();
        assert!(format!("{error:#}").starts_with("the linked module is not valid Wasm"), "{error:#}");
    }
}
