//! `cargo xtask build`: links, strips, optimises and checks the Wasm modules.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use comfy_table::Table;
use serde::Serialize;
use serde_json::json;

use crate::artefact::{ALL, Artefact, linked_file};
use crate::compiler::TARGET;
use crate::contract::Surface;
use crate::file::{remove, replace};
use crate::optimiser::Optimiser;
use crate::strip::strip;
use crate::toolchain::{Toolchain, ToolchainSource};
use crate::workspace::Workspace;
use crate::{output, process};

/// The arguments of `cargo xtask build`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// Build only the module of this package, as cargo links it: a plugin that is not Tributary's.
    #[arg(long, value_name = "PACKAGE", conflicts_with = "json")]
    plugin: Option<String>,
}

/// The options of every command that builds the modules.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The Rust standard library for Wasm [default: the first source that works].
    #[arg(long, value_enum, value_name = "SOURCE", env = "TRIBUTARY_WASM_TOOLCHAIN")]
    pub(crate) toolchain: Option<ToolchainSource>,
    /// Keep the functions' names, for profiles and backtraces; skips the check of the size.
    #[arg(long)]
    pub(crate) debug_names: bool,
    /// Do not run wasm-opt; skips the check of the size.
    #[arg(long)]
    pub(crate) no_opt: bool,
}

/// A finished module, with its size after each step.
#[derive(Serialize)]
pub(crate) struct BuiltModule {
    name: &'static str,
    /// The path of the file, relative to the repository's root.
    path: String,
    linked_bytes: usize,
    stripped_bytes: usize,
    /// The size of the file, in bytes.
    bytes: usize,
    budget_bytes: usize,
    exports: Vec<String>,
    imports: Vec<String>,
    exports_removed: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let started = Instant::now();
    let toolchain = Toolchain::find(args.options.toolchain)?;
    if let Some(package) = &args.plugin {
        let file = linked_file(package);
        replace(&workspace.modules().join(&file), &link(package, &[], workspace, &toolchain)?)?;
        println!("target/wasm/{file}");
        return Ok(());
    }
    let modules = modules(workspace, &toolchain, &args.options)?;
    println!("{}", table(&modules));
    if args.json {
        let summary = json!({
            "artefacts": modules,
            "toolchain": toolchain.to_string(),
            "optimised": !args.options.no_opt,
            "elapsed_s": started.elapsed().as_secs_f64(),
        });
        println!("{summary}");
    }
    Ok(())
}

/// Builds every module. The error lists all violations of all modules.
pub(crate) fn modules(
    workspace: &Workspace,
    toolchain: &Toolchain,
    options: &Options,
) -> Result<Vec<BuiltModule>> {
    let optimised = toolchain.target_dir(workspace).join("optimised");
    let optimiser = if options.no_opt { None } else { Some(Optimiser::find(&optimised)?) };
    eprintln!("compiling with {toolchain}");
    let folder = workspace.modules();
    let (mut modules, mut violations) = (Vec::new(), Vec::new());
    for artefact in &ALL {
        let linked = link(artefact.package, artefact.features, workspace, toolchain)?;
        let (module, found) = finish(artefact, &linked, &folder, optimiser.as_ref(), options)?;
        modules.push(module);
        violations.extend(found.into_iter().map(|line| format!("\n  {} {line}", artefact.file())));
    }
    let lines = violations.concat();
    ensure!(lines.is_empty(), "modules were rejected (they are in target/wasm/rejected):{lines}");
    Ok(modules)
}

/// Links one package and returns its module. If cargo linked several packages together, each would get the
/// features of the others.
fn link(package: &str, features: &[&str], workspace: &Workspace, toolchain: &Toolchain) -> Result<Vec<u8>> {
    let mut cargo = toolchain.cargo(workspace);
    cargo.args(["build", "--release", "--lib", "--target", TARGET, "--package", package]);
    if !features.is_empty() {
        cargo.args(["--features", &features.join(",")]);
    }
    process::run(&mut cargo)?;
    let file = linked_file(package);
    fs::read(toolchain.target_dir(workspace).join(TARGET).join("release").join(&file))
        .with_context(|| format!("cargo linked no {file}; is {package} a cdylib?"))
}

/// Writes the file of an artefact. A module with violations is written to the folder of rejected modules.
fn finish(
    artefact: &Artefact,
    linked: &[u8],
    folder: &Path,
    optimiser: Option<&Optimiser>,
    options: &Options,
) -> Result<(BuiltModule, Vec<String>)> {
    let stripped = strip(linked, artefact.exports(), options.debug_names)
        .with_context(|| format!("cannot strip {}", linked_file(artefact.package)))?;
    let finished = match optimiser {
        Some(optimiser) => optimiser.optimise(&stripped.wasm, options.debug_names)?,
        None => stripped.wasm.clone(),
    };
    let surface = Surface::read(&finished)?;
    let violations = surface.violations(artefact, optimiser.is_some() && !options.debug_names);
    let (accepted, rejected) = (folder.join(artefact.file()), folder.join("rejected").join(artefact.file()));
    // Removes the older module in the other folder, which could be mistaken for this module.
    let (path, other) = if violations.is_empty() { (accepted, rejected) } else { (rejected, accepted) };
    remove(&other)?;
    replace(&path, &finished).with_context(|| format!("cannot write {}", path.display()))?;
    let module = BuiltModule {
        name: artefact.name,
        path: format!("target/wasm/{}", artefact.file()),
        linked_bytes: linked.len(),
        stripped_bytes: stripped.wasm.len(),
        bytes: finished.len(),
        budget_bytes: artefact.budget_bytes,
        exports: surface.exports.into_iter().collect(),
        imports: surface.imports.into_iter().map(|(module, name)| format!("{module}.{name}")).collect(),
        exports_removed: stripped.removed,
    };
    Ok((module, violations))
}

/// Returns a table of the modules and their sizes.
pub(crate) fn table(modules: &[BuiltModule]) -> Table {
    let rows = modules.iter().map(|module| {
        [
            module.path.clone(),
            kib(module.linked_bytes),
            kib(module.stripped_bytes),
            kib(module.bytes),
            kib(module.budget_bytes),
            module.exports.len().to_string(),
            module.imports.len().to_string(),
        ]
    });
    output::number_table(["artefact", "linked", "stripped", "final", "budget", "exports", "imports"], rows)
}

/// Formats a size in KiB, rounded up, so that a size over the budget never looks equal to the budget.
fn kib(bytes: usize) -> String {
    let tenths = bytes.saturating_mul(10).div_ceil(1024);
    format!("{}.{} KiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_rounded_up() {
        assert_eq!(kib(0), "0.0 KiB");
        assert_eq!(kib(200 * 1024), "200.0 KiB");
        assert_eq!(kib(200 * 1024 + 1), "200.1 KiB");
    }
}
