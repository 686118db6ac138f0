//! The aggregation table: everything that was counted since the service started, within limits.
//!
//! 1. The [`Table`] merges a batch; each metric has its own rows (`metric_table`), by [`MetricOrigin`].
//! 2. An `index` finds the row of a series by the hash of its attributes; `rows` never move.
//! 3. A [`Row`] sums the points of a series, and keeps what each destination has confirmed.
//! 4. For an export, a `destination` gets rows as [`DataPoint`]s, marks them as sent, and confirms or
//!    discards them.
//! 5. A `timeline` gives updates and exports timestamps that never decrease.
//!
//! This module depends on no other module of the service: not on wire formats, configuration or delivery.

mod data_point;
mod destination;
mod index;
mod metric_table;
mod origin;
mod row;
mod rows;
mod table;
mod timeline;

pub use data_point::DataPoint;
pub use origin::MetricOrigin;
pub use row::{DESTINATIONS_CAPACITY, DeltaBaseline, DestinationId, Row};
pub use table::{Cursor, MergeResult, Table, TableLimits};
pub use timeline::STEP_NS;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Returns the Rust files below a folder of `src`, except tests, with their paths.
    fn sources(folder: &Path) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if folder.ends_with("tests") {
            return found;
        }
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(sources(&path));
            } else if !path.ends_with("tests.rs") {
                found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
        found
    }

    /// Returns the modules of this crate that a file imports or names, except in its tests.
    fn imports(text: &str) -> Vec<&str> {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let paths = code.flat_map(|line| line.split("crate::").skip(1));
        paths
            .map(|path| path.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap())
            .collect()
    }

    /// Each folder, with the modules of this crate that it may import.
    const LAYERS: [(&str, &[&str]); 5] = [
        ("aggregate", &["aggregate"]),
        ("checkpoint", &["aggregate", "checkpoint"]),
        ("intake", &["aggregate", "budget", "checkpoint", "intake", "stats"]),
        ("export", &["aggregate", "budget", "checkpoint", "export", "http_calls", "stats"]),
        ("values", &["export", "http_calls", "values"]),
    ];

    #[test]
    fn imports_point_downward() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for (folder, allowed) in LAYERS {
            let mut files = sources(&src.join(folder));
            assert!(!files.is_empty(), "{folder}");
            files.push((
                folder.to_owned(),
                fs::read_to_string(src.join(folder).with_extension("rs")).unwrap(),
            ));
            for (path, text) in files {
                for import in imports(&text) {
                    assert!(allowed.contains(&import), "{path} must not import {import}");
                }
            }
        }
    }

    #[test]
    fn an_upward_import_is_found() {
        assert_eq!(
            imports("use crate::export::Encoding;\n// crate::config\n#[cfg(test)]\nuse crate::x;"),
            ["export"]
        );
        assert_eq!(imports("const MAX: usize = crate::config::MAX;"), ["config"]);
    }
}
