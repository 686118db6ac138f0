//! Checks the imports, exports and size of a finished module.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use walrus::Module;

use crate::artefact::{Artefact, may_import};

/// The file that lists exports and budgets; error messages name it.
const LISTS: &str = "xtask/src/artefact.rs";
/// The file that lists the host functions that modules call; error messages name it.
const FUNCTIONS: &str = "cli/check/src/rules/capability.rs";

/// The parts of a module that its host sees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Surface {
    /// The module and the name of each import, sorted.
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

    /// Returns the differences from the artefact's lists and its budget, one line each.
    ///
    /// `check_size` is false for a module that is not optimised or contains names, which is not shipped.
    pub(crate) fn violations(&self, artefact: &Artefact, check_size: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for (module, name) in &self.imports {
            if !may_import(module, name) {
                lines.push(format!(
                    "imports {module}.{name}: it is not in the list of called functions, and Envoy may not have it (list: {FUNCTIONS})"
                ));
            }
        }
        let expected: BTreeSet<&str> = artefact.exports().collect();
        for name in expected.iter().filter(|name| !self.exports.contains(**name)) {
            lines.push(format!(
                "does not export {name}: Envoy needs it; does {} still call tributary_host::main!? (list: {LISTS})",
                artefact.package
            ));
        }
        for name in self.exports.iter().filter(|name| !expected.contains(name.as_str())) {
            let allowed = expected.iter().copied().collect::<Vec<_>>().join(", ");
            lines.push(format!("exports {name}: allowed are only {allowed} (list: {LISTS})"));
        }
        if check_size && self.size_bytes > artefact.budget_bytes {
            lines.push(format!(
                "has {} bytes, {} more than its budget of {}: find what grew (--debug-names, then twiggy or \
                 wasm-objdump), or raise the budget in {LISTS} with a reason",
                self.size_bytes,
                self.size_bytes - artefact.budget_bytes,
                artefact.budget_bytes
            ));
        }
        lines
    }
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
    fn the_expected_module_passes_at_exactly_the_budget() {
        for artefact in &ALL {
            assert_eq!(surface_of(artefact).violations(artefact, true), Vec::<String>::new());
        }
    }

    #[test]
    fn an_unknown_import_is_reported_with_the_file_of_the_list() {
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
    fn a_module_that_is_not_stripped_is_rejected() {
        let mut surface = surface_of(&ALL[0]);
        surface
            .imports
            .insert(("tributary".into(), "this_module_must_be_finished_by_cargo_xtask_build".into()));
        assert_eq!(surface.violations(&ALL[0], true).len(), 1);
    }

    #[test]
    fn missing_and_extra_exports_are_reported() {
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
    fn one_byte_over_budget_is_rejected_if_the_size_is_checked() {
        let mut surface = surface_of(&ALL[0]);
        surface.size_bytes += 1;
        let lines = surface.violations(&ALL[0], true);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with(&format!("has {} bytes, 1 more than its budget of ", surface.size_bytes)),
            "{}",
            lines[0]
        );
        assert!(surface.violations(&ALL[0], false).is_empty());
    }
}
