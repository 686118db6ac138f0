//! The Wasm modules that are shipped: their packages, exports, imports and size limits.
//!
//! Each module declares its callbacks itself (`CALLBACKS` in its `root.rs`), because each exported callback
//! costs every request an entry into the VM. The host functions that a module calls are in
//! `cli/check/src/rules/capability.rs`.

use std::collections::BTreeSet;

use tributary_check::rules::{LINKED_BY_SDK, needed_by_all};
use tributary_console::root as console;
use tributary_host::callbacks;
use tributary_service::root as service;
use tributary_worker_filter::root as worker_filter;

/// A module in target/wasm.
pub(crate) struct Artefact {
    /// The file's name without `.wasm`.
    pub(crate) name: &'static str,
    /// The package from which the module is linked.
    pub(crate) package: &'static str,
    /// The features of the package with which the module is built.
    pub(crate) features: &'static [&'static str],
    /// Groups of callbacks, as the module declares them. The module exports exactly these callbacks and the
    /// SDK's own exports.
    callbacks: &'static [&'static [&'static str]],
    /// The size limit of the file, in bytes.
    pub(crate) budget_bytes: usize,
}

impl Artefact {
    /// Returns the names that the module exports.
    pub(crate) fn exports(&self) -> impl Iterator<Item = &'static str> + Clone {
        [&callbacks::BASE[..]].into_iter().chain(self.callbacks.iter().copied()).flatten().copied()
    }

    /// Returns the file in target/wasm.
    pub(crate) fn file(&self) -> String {
        format!("{}.wasm", self.name)
    }
}

/// All modules that `cargo xtask build` builds.
///
/// The size limit of a module is its size plus room for small changes.
pub(crate) const ALL: [Artefact; 4] = [
    Artefact {
        name: "worker_filter",
        package: "tributary-worker-filter",
        features: &[],
        callbacks: &worker_filter::CALLBACKS,
        budget_bytes: 245 * 1024,
    },
    Artefact {
        name: "worker_filter_full",
        package: "tributary-worker-filter",
        features: &["full"],
        callbacks: &[&callbacks::PLUGIN, worker_filter::CALLBACKS[1], worker_filter::CALLBACKS_FULL],
        budget_bytes: 345 * 1024,
    },
    Artefact {
        name: "service",
        package: "tributary-service",
        features: &[],
        callbacks: &service::CALLBACKS,
        budget_bytes: 310 * 1024,
    },
    Artefact {
        name: "console",
        package: "tributary-console",
        features: &[],
        callbacks: &console::CALLBACKS,
        budget_bytes: 186 * 1024,
    },
];

/// Returns the name of the file that cargo creates when it links a package.
pub(crate) fn linked_file(package: &str) -> String {
    format!("{}.wasm", package.replace('-', "_"))
}

/// Returns the packages from which the artefacts are linked.
pub(crate) fn packages() -> BTreeSet<&'static str> {
    ALL.iter().map(|artefact| artefact.package).collect()
}

/// Returns whether a module may import a function: `tributary-check` lists it as called by a module or as
/// linked by the SDK. Every supported Envoy (1.36 to 1.40) has all these functions; an Envoy that lacks an
/// imported function would reject the module.
pub(crate) fn may_import(module: &str, name: &str) -> bool {
    let expected = if name == "random_get" { "wasi_snapshot_preview1" } else { "env" };
    module == expected && (needed_by_all().contains(name) || LINKED_BY_SDK.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_worker_filter_has_no_callback_during_a_request() {
        let [small, ..] = &ALL;
        let entered =
            |name: &str| ["request", "response", "upstream", "done"].iter().any(|part| name.contains(part));
        assert!(small.exports().all(|name| !entered(name)));
    }

    #[test]
    fn no_export_is_listed_twice() {
        for artefact in &ALL {
            let names: Vec<_> = artefact.exports().collect();
            let distinct: BTreeSet<_> = names.iter().collect();
            assert_eq!(names.len(), distinct.len(), "{}", artefact.name);
        }
    }

    #[test]
    fn cargo_links_a_package_to_a_file_with_underscores() {
        assert_eq!(linked_file(ALL[0].package), "tributary_worker_filter.wasm");
    }
}
