//! `cargo xtask image`: an OCI image layout with the modules, which Istio and Envoy Gateway load by `oci://`.
//!
//! Each module has two images (Wasm Image Specification): "compat", with one layer that contains plugin.wasm,
//! for every registry and tool; and "artifact", whose layer is the module itself. Istio and Envoy Gateway
//! read both.

mod layout;

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use crate::artefact::ALL;
use crate::file::replace;
use crate::output;
use crate::workspace::Workspace;
pub(crate) use layout::sha256;
use layout::{Format, Layout};

/// The arguments of `cargo xtask image`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

/// One image in the layout.
#[derive(Serialize)]
struct Image {
    /// The name of the image in the layout.
    tag: String,
    format: Format,
    /// The manifest's digest, for `oci://…@sha256:…` and the `sha256` of a WasmPlugin.
    digest: String,
    /// The module's path, relative to the repository's root.
    module: String,
    module_sha256: String,
}

const FOLDER: &str = "target/oci";
/// Checksums of the modules, as `sha256sum --check` reads them.
const CHECKSUMS: &str = "SHA256SUMS";

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut layout = Layout::new(&workspace.target().join("oci"));
    let (mut images, mut checksums) = (Vec::new(), String::new());
    for artefact in &ALL {
        let path = workspace.modules().join(artefact.file());
        let module = fs::read(&path)
            .with_context(|| format!("cannot read {}; run `cargo xtask build` first", path.display()))?;
        let module_sha256 = sha256(&module);
        checksums.push_str(&format!("{module_sha256}  {}\n", artefact.file()));
        for (format, tag) in [
            (Format::Compat, artefact.name.to_owned()),
            (Format::Artifact, format!("{}-artifact", artefact.name)),
        ] {
            let digest = layout.add(&tag, artefact.name, format, &module)?;
            let module = format!("target/wasm/{}", artefact.file());
            images.push(Image { tag, format, digest, module, module_sha256: module_sha256.clone() });
        }
    }
    layout.finish()?;
    replace(&workspace.modules().join(CHECKSUMS), checksums.as_bytes())?;
    println!("{}", table(&images));
    println!("the images are in {FOLDER}; to push one:");
    println!(
        "  skopeo copy oci:{FOLDER}:worker_filter docker://registry.example.com/tributary/worker_filter:0.1.0"
    );
    if args.json {
        println!("{}", json!({"layout": FOLDER, "images": images}));
    }
    Ok(())
}

fn table(images: &[Image]) -> comfy_table::Table {
    let rows = images.iter();
    let rows = rows.map(|image| [image.tag.clone(), image.format.to_string(), image.digest.clone()]);
    output::text_table(["image", "format", "digest"], rows)
}
