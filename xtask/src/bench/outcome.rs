//! Everything that was measured, as tables for people and as one JSON object for scripts.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use anyhow::{Context, Result, bail};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::callgrind::Instructions;
use super::module::Modules;
use super::statistic::Spread;
use super::subject::{Subject, Way};

/// What a run found out.
pub(crate) struct Outcome {
    /// In the order of the tables.
    subjects: Vec<Subject>,
    wasm_bytes: WasmBytes,
    /// By the subjects' names.
    pub(crate) instructions: BTreeMap<String, Instructions>,
    /// Why a subject has no figures.
    pub(crate) faults: BTreeMap<String, String>,
}

/// The sizes of the modules.
#[derive(Clone, Copy, Serialize)]
struct WasmBytes {
    worker_filter: u64,
    service: u64,
}

/// What `--json` prints. Ratios are of what is added to an Envoy without any of it; none where a part was not measured.
#[derive(Serialize)]
pub(crate) struct Summary {
    access_log_vs_native: Option<f64>,
    http_filter_vs_native: Option<f64>,
    wide_vs_native: Option<f64>,
    small_vs_native: Option<f64>,
    wasm_bytes: WasmBytes,
    instructions: BTreeMap<String, InstructionsFigure>,
    failed: BTreeMap<String, String>,
}

/// Instructions per request of one subject.
#[derive(Serialize)]
struct InstructionsFigure {
    total: f64,
    spread: f64,
    /// To an Envoy with nothing.
    added: Option<f64>,
    /// Added by ours, for each one that the native logger adds with the same set.
    vs_native: Option<f64>,
    generated: f64,
    main: f64,
    allocator: f64,
}

impl Outcome {
    /// Nothing measured yet, but the modules' sizes.
    pub(crate) fn new(modules: &Modules, subjects: &[Subject]) -> Result<Self> {
        let bytes = |path: &std::path::Path| {
            let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
            anyhow::Ok(metadata.len())
        };
        Ok(Self {
            subjects: subjects.to_vec(),
            wasm_bytes: WasmBytes {
                worker_filter: bytes(&modules.worker_filter)?,
                service: bytes(&modules.service)?,
            },
            instructions: BTreeMap::new(),
            faults: BTreeMap::new(),
        })
    }

    /// Fails if a subject could not be measured.
    pub(crate) fn verdict(&self) -> Result<()> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.faults.keys().map(String::as_str).collect();
        bail!("{} could not be measured: {}", names.len(), names.join(", "));
    }

    pub(crate) fn summary(&self) -> Summary {
        let ratio = |way, set| self.find(way, set).and_then(|subject| self.instructions_vs_native(&subject));
        Summary {
            access_log_vs_native: ratio(Way::AccessLog, "full"),
            http_filter_vs_native: ratio(Way::HttpFilter, "full"),
            wide_vs_native: ratio(Way::AccessLog, "wide"),
            small_vs_native: ratio(Way::AccessLog, "small"),
            wasm_bytes: self.wasm_bytes,
            instructions: self
                .subjects
                .iter()
                .filter_map(|subject| Some((subject.to_string(), self.instructions_figure(subject)?)))
                .collect(),
            failed: self.faults.clone(),
        }
    }

    fn instructions_figure(&self, subject: &Subject) -> Option<InstructionsFigure> {
        let found = self.instructions.get(&subject.to_string())?;
        Some(InstructionsFigure {
            total: found.total.median,
            spread: found.total.half_range(),
            added: self.added_instructions(subject),
            vs_native: self.instructions_vs_native(subject),
            generated: found.generated.median,
            main: found.main.median,
            allocator: found.allocator.median,
        })
    }

    /// What ours adds, for each instruction that the native logger adds with the same set.
    fn instructions_vs_native(&self, subject: &Subject) -> Option<f64> {
        if !subject.way.is_ours() {
            return None;
        }
        let native = self.find(Way::Native, subject.set?.name)?;
        Some(self.added_instructions(subject)? / self.added_instructions(&native)?)
    }

    fn added_instructions(&self, subject: &Subject) -> Option<f64> {
        let none = self.subjects.iter().find(|other| other.way == Way::None)?;
        let of = |subject: &Subject| Some(self.instructions.get(&subject.to_string())?.total.median);
        Some(of(subject)? - of(none)?)
    }

    fn find(&self, way: Way, set: &str) -> Option<Subject> {
        self.subjects.iter().find(|subject| subject.is(way, set)).copied()
    }

    fn instructions_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "instructions per request",
            "total",
            "±",
            "added",
            "x native",
            "Wasm/Lua",
            "main",
            "allocator",
        ]);
        for subject in &self.subjects {
            let Some(found) = self.instructions.get(&subject.to_string()) else { continue };
            let whole = |spread: &Spread| format!("{:.0}", spread.median);
            table.add_row([
                subject.to_string(),
                whole(&found.total),
                format!("{:.0}", found.total.half_range()),
                self.added_instructions(subject).map_or_else(String::new, |added| format!("{added:+.0}")),
                self.instructions_vs_native(subject).map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                whole(&found.generated),
                whole(&found.main),
                whole(&found.allocator),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.instructions.is_empty() {
            writeln!(f, "\n{}\n", self.instructions_table())?;
            writeln!(
                f,
                "All threads, without the allocator (its column is apart: valgrind makes it slower than it is)."
            )?;
        }
        let WasmBytes { worker_filter, service } = self.wasm_bytes;
        writeln!(f, "worker_filter.wasm {worker_filter} bytes, service.wasm {service} bytes")?;
        for (name, reason) in &self.faults {
            writeln!(f, "\n{name} could not be measured: {reason}")?;
        }
        Ok(())
    }
}
