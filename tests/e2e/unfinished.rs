//! Envoy rejects a module as cargo links it: with the callbacks that `cargo xtask build` removes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tributary_tests::config::{AttachPoint, AttachedPlugin, EnvoyConfig};
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::repository;
use tributary_tests::scene::LIMIT;

/// Returns the module files that cargo has linked for a package, one for each compiler
/// (xtask/src/toolchain.rs).
fn linked(package: &str) -> Result<Vec<PathBuf>> {
    let folder = repository::root().join("target/wasm-build");
    let compilers = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = Vec::new();
    for compiler in compilers {
        let file = compiler?.path().join("wasm32-unknown-unknown/release").join(format!("{package}.wasm"));
        files.extend(file.is_file().then_some(file));
    }
    ensure!(!files.is_empty(), "{} has no {package}.wasm: run cargo xtask build", folder.display());
    Ok(files)
}

async fn expect_rejection(file: &Path, point: AttachPoint) -> Result<()> {
    let file = file.display().to_string();
    let plugin = AttachedPlugin::new("unfinished", "", &json!({})).file(&file);
    let config = EnvoyConfig::load("tests/e2e/config/attached.yaml")?.attach(point, "unfinished", &plugin);
    let mut envoy = Envoy::spawn(&config.free_ports(), &EnvoyOptions::workers(1)).await?;
    ensure!(!envoy.wait_for_exit(LIMIT).await?.success(), "Envoy runs {file}");
    let names_build = envoy.log_contains("this_module_must_be_finished_by_cargo_xtask_build")?;
    ensure!(names_build, "{file}: {}", envoy.log()?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_rejects_a_module_that_the_build_has_not_finished_and_names_the_build() -> Result<()> {
    for (package, points) in [
        ("tributary_worker_filter", &[AttachPoint::HttpFilter, AttachPoint::HttpLogger][..]),
        ("tributary_service", &[AttachPoint::Bootstrap { singleton: true }, AttachPoint::StatSink]),
    ] {
        for file in linked(package)? {
            for point in points {
                expect_rejection(&file, *point).await?;
            }
        }
    }
    Ok(())
}
