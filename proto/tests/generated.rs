//! Checks that the generated code matches the schemas. So a build needs no generator, and a schema cannot
//! change without its code.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

const SCHEMAS: [&str; 5] =
    ["batch.proto", "console.proto", "exports.proto", "otlp.proto", "remote_write.proto"];

#[test]
fn generated_code_matches_the_schemas() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/generated");
    let fresh = std::env::temp_dir().join(format!("tributary-generated-{}", std::process::id()));
    std::fs::create_dir_all(&fresh).unwrap();

    let descriptors = protox::compile(SCHEMAS, [root.join("schema")]).unwrap();
    prost_build::Config::new()
        .out_dir(&fresh)
        .format(true)
        // Attributes stay slices of the queue's item, which saves an allocation and a copy for each series.
        .bytes([".tributary.batch.v1.Series.attributes"])
        .compile_fds(descriptors)
        .unwrap();

    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for file in files(&fresh) {
        let name = file.file_name().unwrap();
        let generated = std::fs::read_to_string(&file).unwrap();
        let target = committed.join(name);
        if update {
            std::fs::write(&target, &generated).unwrap();
        }
        let present = std::fs::read_to_string(&target).unwrap_or_default();
        assert!(
            present == generated,
            "{} is not what its schema generates. Run: UPDATE_GOLDEN=1 cargo test -p tributary-proto --test generated",
            target.display(),
        );
    }
    assert_eq!(files(&fresh).len(), files(&committed).len(), "a generated file has no schema any more");
    std::fs::remove_dir_all(&fresh).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
