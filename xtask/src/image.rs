//! `cargo xtask image`: an OCI image layout with the modules, as Istio and Envoy Gateway take them by `oci://`.
//!
//! Each module comes in the two formats that both of them read (the Wasm Image Specification): "compat", an image with one layer
//! that holds plugin.wasm, which every registry and tool takes; and "artifact", whose layer is the module itself.

mod layout;

use std::fs;

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::artefact::ALL;
use crate::workspace::Workspace;
use layout::{Format, Layout, sha256};

/// What `cargo xtask image` can be told.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

/// One image in the layout.
#[derive(Serialize)]
struct Image {
    /// The name by which the layout knows it.
    tag: String,
    format: Format,
    /// Of the manifest: what `oci://…@sha256:…` and the `sha256` of a WasmPlugin name.
    digest: String,
    /// The module in it, relative to the repository's root, and its own checksum.
    module: String,
    module_sha256: String,
}

#[derive(Serialize)]
struct Summary {
    layout: &'static str,
    images: Vec<Image>,
}

const FOLDER: &str = "target/oci";
/// Checksums of the modules, as `sha256sum --check` reads them.
const CHECKSUMS: &str = "SHA256SUMS";

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut layout = Layout::create(&workspace.target().join("oci"))?;
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
    fs::write(workspace.modules().join(CHECKSUMS), checksums)?;
    println!("{}", table(&images));
    println!("{FOLDER} holds the images; to push one:");
    println!(
        "  skopeo copy oci:{FOLDER}:worker_filter docker://registry.example.com/tributary/worker_filter:0.1.0"
    );
    if args.json {
        println!("{}", serde_json::to_string(&Summary { layout: FOLDER, images })?);
    }
    Ok(())
}

fn table(images: &[Image]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["image", "format", "digest"]);
    for image in images {
        table.add_row([image.tag.as_str(), image.format.name(), image.digest.as_str()]);
    }
    table
}
