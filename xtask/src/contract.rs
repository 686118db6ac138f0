//! Checks a finished module against what its artefact promises: imports, exports and size.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use walrus::Module;

use crate::artefact::{Artefact, may_import};

/// Where the lists are that a message speaks of.
const LISTS: &str = "xtask/src/artefact.rs";
/// Where the host functions are that modules call.
const FUNCTIONS: &str = "cli/check/src/rules/capability.rs";

/// What a host sees of a module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Surface {
    /// Module and name, sorted.
    pub(crate) imports: BTreeSet<(String, String)>,
    pub(crate) exports: BTreeSet<String>,
    pub(crate) size_bytes: usize,
}

impl Surface {
    pub(crate) fn read(wasm: &[u8]) -> Result<Self> {
        let module = Module::from_buffer(wasm).context("the finished module is not valid Wasm")?;
        Ok(Self {
            imports: module.imports.iter().map(|item| (item.module.clone(), item.name.clone())).collect(),
            exports: module.exports.iter().map(|item| item.name.clone()).collect(),
            size_bytes: wasm.len(),
        })
    }

    /// Everything in which the module breaks its artefact's promises, one line each.
    ///
    /// The budget is for the module that is shipped: `weigh` is false for one that is not optimised or has names.
    pub(crate) fn violations(&self, artefact: &Artefact, weigh: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for (module, name) in &self.imports {
            if !may_import(module, name) {
                lines.push(format!(
                    "imports {module}.{name}: no module is known to call it, and Envoy may not have it (list: {FUNCTIONS})"
                ));
            }
        }
        let promised: BTreeSet<&str> = artefact.exports().collect();
        for name in promised.iter().filter(|name| !self.exports.contains(**name)) {
            lines.push(format!(
                "does not export {name}: Envoy needs it; does {} still call tributary_host::main!? (list: {LISTS})",
                artefact.package
            ));
        }
        for name in self.exports.iter().filter(|name| !promised.contains(name.as_str())) {
            lines.push(format!("exports {name}: allowed are only {} (list: {LISTS})", join(promised.iter())));
        }
        if weigh && self.size_bytes > artefact.budget_bytes {
            lines.push(format!(
                "weighs {} bytes, {} more than its budget of {}: find what grew (--debug-names, then twiggy or \
                 wasm-objdump), or raise the budget in {LISTS} and say why",
                self.size_bytes,
                self.size_bytes - artefact.budget_bytes,
                artefact.budget_bytes
            ));
        }
        lines
    }
}

fn join<'a>(names: impl Iterator<Item = &'a &'a str>) -> String {
    names.copied().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artefact::ALL;

    fn surface_of(artefact: &Artefact) -> Surface {
        Surface {
            imports: [("env".to_owned(), "proxy_log".to_owned())].into(),
            exports: artefact.exports().map(str::to_owned).collect(),
            size_bytes: artefact.budget_bytes,
        }
    }

    #[test]
    fn a_module_is_read_from_its_bytes() {
        let wasm = wat::parse_str(
            r#"(module (import "env" "proxy_log" (func $log)) (memory (export "memory") 1)
                (func (export "proxy_on_log") call $log))"#,
        );
        let wasm = wasm.unwrap();
        let surface = Surface::read(&wasm).unwrap();
        assert_eq!(surface.imports, [("env".to_owned(), "proxy_log".to_owned())].into());
        assert_eq!(surface.exports, ["memory".to_owned(), "proxy_on_log".to_owned()].into());
        assert_eq!(surface.size_bytes, wasm.len());
    }

    #[test]
    fn what_is_promised_passes_at_exactly_the_budget() {
        for artefact in &ALL {
            assert_eq!(surface_of(artefact).violations(artefact, true), Vec::<String>::new());
        }
    }

    #[test]
    fn a_foreign_import_is_named_with_where_the_list_is() {
        let mut surface = surface_of(&ALL[2]);
        surface.imports.insert(("wasi_snapshot_preview1".into(), "fd_write".into()));
        surface.imports.insert(("__wbindgen_placeholder__".into(), "__wbindgen_throw".into()));
        let lines = surface.violations(&ALL[2], true);
        let [module, name] = &lines[..] else { panic!("{lines:?}") };
        assert!(module.starts_with("imports __wbindgen_placeholder__.__wbindgen_throw: "), "{module}");
        assert!(name.starts_with("imports wasi_snapshot_preview1.fd_write: "), "{name}");
        assert!(name.ends_with("(list: cli/check/src/rules/capability.rs)"), "{name}");
    }

    #[test]
    fn a_module_that_is_not_stripped_cannot_ship() {
        let mut surface = surface_of(&ALL[0]);
        surface
            .imports
            .insert(("tributary".into(), "this_module_must_be_finished_by_cargo_xtask_build".into()));
        assert_eq!(surface.violations(&ALL[0], true).len(), 1);
    }

    #[test]
    fn a_missing_and_a_surplus_export_are_both_named() {
        let mut surface = surface_of(&ALL[0]);
        surface.exports.remove("malloc");
        surface.exports.insert("proxy_on_request_headers".into());
        let lines = surface.violations(&ALL[0], true);
        let [missing, surplus] = &lines[..] else { panic!("{lines:?}") };
        assert!(missing.starts_with("does not export malloc: "), "{missing}");
        assert!(
            surplus.starts_with("exports proxy_on_request_headers: allowed are only _initialize, "),
            "{surplus}"
        );
    }

    #[test]
    fn one_byte_over_budget_is_refused_unless_the_module_is_not_for_shipping() {
        let mut surface = surface_of(&ALL[0]);
        surface.size_bytes += 1;
        let lines = surface.violations(&ALL[0], true);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with(&format!("weighs {} bytes, 1 more than its budget of ", surface.size_bytes)),
            "{}",
            lines[0]
        );
        assert!(surface.violations(&ALL[0], false).is_empty());
    }
}
