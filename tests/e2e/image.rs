//! The OCI images of the modules, read by skopeo and unpacked as by Istio and Envoy Gateway.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;
use tributary_tests::tools::skopeo;
use tributary_tests::{cargo, repository};

const MODULES: [&str; 4] = ["worker_filter", "worker_filter_full", "service", "console"];

/// Builds the images and returns the summary of each.
fn images() -> Result<Vec<Value>> {
    let output = cargo::xtask(&["image", "--json"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout)?;
    let mut summary: Value = serde_json::from_str(printed.lines().last().context("a last line")?)?;
    match summary.get_mut("images").map(Value::take) {
        Some(Value::Array(images)) => Ok(images),
        other => anyhow::bail!("no list of images: {other:?}"),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("no {key} in {value}"))
}

/// Extracts the module as both control planes do, by media types: from the last layer if that is a gzipped
/// tar with a plugin.wasm, else from whichever of two layers is a module.
fn module_in(copy: &Path) -> Result<Vec<u8>> {
    let manifest: Value = serde_json::from_slice(&std::fs::read(copy.join("manifest.json"))?)?;
    let layers = manifest.get("layers").and_then(Value::as_array).context("layers")?;
    let blob = |layer: &Value| {
        let digest = text(layer, "digest")?.trim_start_matches("sha256:").to_owned();
        std::fs::read(copy.join(&digest)).with_context(|| digest)
    };
    let last = layers.last().context("a layer")?;
    if text(last, "mediaType")? == "application/vnd.oci.image.layer.v1.tar+gzip" {
        let mut tar = Vec::new();
        GzDecoder::new(blob(last)?.as_slice()).read_to_end(&mut tar)?;
        // One ustar header: the name, then the size in octal.
        let (name, size) = (tar.get(..11).context("a name")?, tar.get(124..135).context("a size")?);
        ensure!(name == b"plugin.wasm", "{name:?}");
        let size = usize::from_str_radix(std::str::from_utf8(size)?, 8)?;
        return Ok(tar.get(512..512 + size).context("a module")?.to_vec());
    }
    ensure!(layers.len() == 2, "an artifact has two layers");
    let kind = "application/vnd.module.wasm.content.layer.v1+wasm";
    let layer = layers.iter().find(|layer| layer["mediaType"] == kind).context("no layer with a module")?;
    blob(layer)
}

#[tokio::test]
async fn each_image_contains_its_module_unchanged_and_the_checksums_are_right() -> Result<()> {
    let images = images()?;
    assert_eq!(images.len(), 2 * MODULES.len());
    let layout = repository::root().join("target/oci");
    for image in &images {
        let tag = text(image, "tag")?;
        let source = format!("oci:{}:{tag}", layout.display());
        let raw = skopeo::run(&["inspect", "--raw", &source]).await?;
        let manifest: Value = serde_json::from_str(&raw)?;
        assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json", "{tag}");
        // skopeo compares every blob with its digest as it copies.
        let copy = tempfile::tempdir()?;
        skopeo::run(&["copy", &source, &format!("dir:{}", copy.path().display())]).await?;
        let module = std::fs::read(repository::root().join(text(image, "module")?))?;
        ensure!(module_in(copy.path())? == module, "{tag} contains another module");
        let file = copy.path().join("manifest.json").display().to_string();
        let digest = skopeo::run(&["manifest-digest", &file]).await?;
        assert_eq!(digest.trim(), text(image, "digest")?, "{tag}");
    }
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]).current_dir(repository::root().join("target/wasm"));
    let output = check.output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && printed.matches(": OK").count() == MODULES.len(), "{printed}");
    Ok(())
}
