//! The tables of a report.

use std::fmt;

use comfy_table::Table;

use super::module::WasmBytes;
use super::report::{BenchReport, CpuFigure, InstructionsFigure};
use super::scaling::Scale;
use crate::output::number_table;

/// A column of numbers: its title, and the function that returns its cell in the row of a figure.
type Column<T> = (&'static str, fn(&T) -> String);

const INSTRUCTIONS: [Column<InstructionsFigure>; 7] = [
    ("total", |figure| format!("{:.0}", figure.total)),
    ("±", |figure| format!("{:.0}", figure.spread)),
    ("added", |figure| figure.added.map_or_else(String::new, |added| format!("{added:+.0}"))),
    ("x native", |figure| ratio(figure.vs_native)),
    ("Wasm/Lua", |figure| format!("{:.0}", figure.generated)),
    ("main", |figure| format!("{:.0}", figure.main)),
    ("allocator", |figure| format!("{:.0}", figure.allocator)),
];

const CPU: [Column<CpuFigure>; 8] = [
    ("worker", |figure| format!("{:.2}", figure.worker_us.median)),
    ("main", |figure| format!("{:.3}", figure.main_us.median)),
    ("added", |figure| format!("{:+.2}", figure.added_us.median)),
    ("±", |figure| format!("{:.2}", figure.added_us.half_width())),
    ("x native", |figure| ratio(figure.vs_native)),
    ("requests/s", |figure| format!("{:.0}", figure.requests_per_s.median)),
    ("RSS MiB", |figure| format!("{:.1}", figure.rss_mib.median)),
    ("added MiB", |figure| format!("{:+.1}", figure.rss_added_mib.median)),
];

const SCALING: [Column<Scale>; 6] = [
    ("workers", |scale| scale.workers.to_string()),
    ("worker us/request", |scale| format!("{:.2}", scale.worker_us)),
    ("main us/request", |scale| format!("{:.3}", scale.main_us)),
    ("main/worker", |scale| format!("{:.2} %", scale.main_thread_share * 100.0)),
    ("longest main turn ms", |scale| format!("{:.1}", scale.longest_main_turn_ms)),
    ("RSS MiB", |scale| format!("{:.1}", scale.rss_mib)),
];

/// Returns a table with a row for each named figure.
fn figures<T>(title: &str, rows: impl IntoIterator<Item = (String, T)>, columns: &[Column<T>]) -> Table {
    let row = |(name, figure)| {
        let cells = columns.iter().map(|(_, cell)| cell(&figure));
        [name].into_iter().chain(cells).collect::<Vec<_>>()
    };
    let titles = columns.iter().map(|(title, _)| *title);
    number_table([title].into_iter().chain(titles), rows.into_iter().map(row))
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

impl BenchReport {
    /// Returns all tables, each with the note below it. A table without measurements is empty.
    fn tables(&self) -> [(Table, &str); 4] {
        let parts = self.parts.iter().map(|(name, count)| [name.clone(), format!("{count:.0}")]);
        let instructions = self.by_case(|case| self.instructions_figure(case));
        let cpu = self.by_case(|case| self.cpu_figure(case));
        let scaling = self.scaling.iter().map(|scale| (scale.series.to_string(), *scale));
        let allocator_note =
            "All threads, without the allocator, which is slower under valgrind and has its own column.\n";
        let cpu_note =
            "One saturated worker. Added: both threads, relative to the first row in the same round.\n";
        [
            (figures("instructions per request", instructions, &INSTRUCTIONS), allocator_note),
            (number_table(["operation, as native code", "instructions"], parts), ""),
            (figures("CPU time per request, us", cpu, &CPU), cpu_note),
            (figures("series", scaling, &SCALING), ""),
        ]
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, note) in self.tables().iter().filter(|(table, _)| !table.is_empty()) {
            write!(f, "\n{table}\n\n{note}")?;
        }
        let WasmBytes { worker_filter, service } = self.wasm_bytes;
        writeln!(f, "worker_filter.wasm {worker_filter} bytes, service.wasm {service} bytes")?;
        for (name, reason) in &self.failures {
            writeln!(f, "\n{name} could not be measured: {reason}")?;
        }
        Ok(())
    }
}
