//! An OCI image layout on disk (image-spec 1.0): blobs by their checksums, and an index of the images.
//!
//! The layout is reproducible: it contains no time, user or file mode of the machine that wrote it. Several
//! programs can write the same images at the same time, while other programs read them.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::file::{remove, replace};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media types of the two layers of an artifact.
const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
/// The name of the module's file in the layer of a compat image, as the specification demands.
const FILE_IN_LAYER: &str = "plugin.wasm";
const ABI: &str = "0.2.1";
/// The folder of the blobs, whose names are checksums in hexadecimal.
const BLOBS: &str = "blobs/sha256";
const CHECKSUM_LENGTH: usize = 64;

/// The format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// An image with one layer, a tar archive that contains plugin.wasm.
    Compat,
    /// An image with two layers. The second layer is the module.
    Artifact,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// A layout that is being written.
pub(super) struct Layout {
    folder: PathBuf,
    manifests: Vec<Value>,
    /// The checksums of all blobs.
    blobs: BTreeSet<String>,
}

impl Layout {
    /// Starts a layout without images. When it is finished, it replaces the layout in the folder.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), manifests: Vec::new(), blobs: BTreeSet::new() }
    }

    /// Adds an image of a module and returns its digest.
    pub(super) fn add(&mut self, tag: &str, title: &str, format: Format, module: &[u8]) -> Result<String> {
        let (layers, diff_ids) = match format {
            Format::Compat => {
                let tar = tar_of(module)?;
                (vec![self.blob(LAYER, &gzip(&tar)?)?], vec![format!("sha256:{}", sha256(&tar))])
            }
            Format::Artifact => {
                let config = json!({"type": "envoy_proxy", "abiVersions": [ABI], "config": {"root_ids": []}});
                let config = serde_json::to_vec(&config)?;
                let mut layers = vec![self.blob(WASM_CONFIG, &config)?, self.blob(WASM_LAYER, module)?];
                let titles = ["runtime-config.json", FILE_IN_LAYER];
                for (layer, title) in layers.iter_mut().zip(titles) {
                    annotate(layer, json!({"org.opencontainers.image.title": title}));
                }
                let blobs = [config.as_slice(), module];
                (layers, blobs.iter().map(|blob| format!("sha256:{}", sha256(blob))).collect())
            }
        };
        // A module runs on any platform, but an image must name a platform to be mounted as a volume.
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(CONFIG, &serde_json::to_vec(&config)?)?,
            "layers": layers,
            "annotations": {
                "module.wasm.image/variant": if format == Format::Compat { "compat" } else { "oci" },
                "org.opencontainers.image.title": title,
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": "Apache-2.0"
            }
        });
        let mut descriptor = self.blob(MANIFEST, &serde_json::to_vec(&manifest)?)?;
        annotate(&mut descriptor, json!({"org.opencontainers.image.ref.name": tag}));
        let digest = descriptor.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.manifests.push(descriptor);
        Ok(digest)
    }

    /// Writes the index, which completes the layout, and deletes the blobs of other images.
    pub(super) fn finish(self) -> Result<()> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests});
        replace(&self.folder.join("index.json"), &serde_json::to_vec(&index)?)?;
        replace(&self.folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        for entry in fs::read_dir(self.folder.join(BLOBS))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // Files with other names are not blobs: another program is writing them.
            if name.len() == CHECKSUM_LENGTH && !self.blobs.contains(&name) {
                remove(&self.folder.join(BLOBS).join(name))?;
            }
        }
        Ok(())
    }

    /// Writes a blob and returns its descriptor.
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let checksum = sha256(bytes);
        replace(&self.folder.join(BLOBS).join(&checksum), bytes)?;
        let descriptor =
            json!({"mediaType": media_type, "digest": format!("sha256:{checksum}"), "size": bytes.len()});
        self.blobs.insert(checksum);
        Ok(descriptor)
    }
}

/// Returns the SHA-256 checksum, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn annotate(descriptor: &mut Value, annotations: Value) {
    if let Some(fields) = descriptor.as_object_mut() {
        fields.insert("annotations".to_owned(), annotations);
    }
}

fn tar_of(module: &[u8]) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(module.len())?);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, FILE_IN_LAYER, module)?;
    Ok(archive.into_inner()?)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn read(folder: &Path, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let blob = fs::read(folder.join("blobs/sha256").join(digest)).unwrap();
        assert_eq!(sha256(&blob), digest);
        assert_eq!(Some(blob.len() as u64), descriptor["size"].as_u64());
        blob
    }

    fn manifest(folder: &Path, index: usize) -> Value {
        let all: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
        serde_json::from_slice(&read(folder, &all["manifests"][index])).unwrap()
    }

    fn layout(folder: &Path) -> Vec<String> {
        let mut layout = Layout::new(folder);
        let formats = [Format::Compat, Format::Artifact];
        let digests =
            formats.map(|format| layout.add(&format.to_string(), "module", format, MODULE).unwrap());
        layout.finish().unwrap();
        digests.to_vec()
    }

    #[test]
    fn a_compat_image_has_one_layer_with_the_module_under_its_fixed_name() {
        let folder = tempfile::tempdir().unwrap();
        layout(folder.path());
        let manifest = manifest(folder.path(), 0);
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        assert_eq!(manifest["layers"][0]["mediaType"], LAYER);
        let layer = read(folder.path(), &manifest["layers"][0]);
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(layer.as_slice()).read_to_end(&mut tar).unwrap();
        let config: Value = serde_json::from_slice(&read(folder.path(), &manifest["config"])).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256(&tar)));
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut entries = archive.entries().unwrap();
        let mut entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some(FILE_IN_LAYER));
        assert_eq!(entry.header().mode().unwrap(), 0o644);
        let mut module = Vec::new();
        entry.read_to_end(&mut module).unwrap();
        assert_eq!(module, MODULE);
    }

    #[test]
    fn an_artifact_has_two_layers_and_one_is_the_module_itself() {
        let folder = tempfile::tempdir().unwrap();
        layout(folder.path());
        let manifest = manifest(folder.path(), 1);
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 2);
        let module = layers.iter().find(|layer| layer["mediaType"] == WASM_LAYER).unwrap();
        assert_eq!(read(folder.path(), module), MODULE);
    }

    #[test]
    fn the_same_modules_give_the_same_images() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(layout(one.path()), layout(other.path()));
    }

    #[test]
    fn a_new_layout_deletes_the_blobs_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(sha256(b"old")), "old").unwrap();
        layout(folder.path());
        assert!(!blobs.join(sha256(b"old")).exists());
    }

    #[test]
    fn a_layout_can_be_written_by_several_and_read_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        layout(folder.path());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        layout(folder.path());
                        let manifest = manifest(folder.path(), 1);
                        read(folder.path(), &manifest["layers"][1]);
                    }
                });
            }
        });
    }

    #[test]
    fn a_checksum_is_in_hexadecimal() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
