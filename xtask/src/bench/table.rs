//! The tables of a report.

use std::fmt;

use comfy_table::Table;

use super::latency;
use super::report::{BenchReport, WasmBytes};
use crate::output::{number_table, text_table};

impl BenchReport {
    fn instructions_table(&self) -> Table {
        let header =
            ["instructions per request", "total", "±", "added", "x native", "Wasm/Lua", "main", "allocator"];
        let rows = self.cases.iter().filter_map(|case| {
            let figure = self.instructions_figure(case)?;
            Some([
                case.to_string(),
                format!("{:.0}", figure.total),
                format!("{:.0}", figure.spread),
                figure.added.map_or_else(String::new, |added| format!("{added:+.0}")),
                ratio(figure.vs_native),
                format!("{:.0}", figure.generated),
                format!("{:.0}", figure.main),
                format!("{:.0}", figure.allocator),
            ])
        });
        number_table(header, rows)
    }

    fn items_table(&self) -> Table {
        let rows = self.items.iter();
        let rows = rows.map(|(item, added)| [item.name.clone(), format!("{added:+.0}"), item.cel.clone()]);
        text_table(["item of the CEL list", "instructions", "CEL"], rows)
    }

    fn parts_table(&self) -> Table {
        let rows = self.parts.iter().map(|(name, count)| [(*name).to_owned(), format!("{count:.0}")]);
        number_table(["operation, as native code", "instructions"], rows)
    }

    fn cpu_table(&self) -> Table {
        let header = [
            "CPU time per request, us",
            "worker",
            "main",
            "added",
            "±",
            "x native",
            "requests/s",
            "RSS MiB",
            "added MiB",
        ];
        let rows = self.cases.iter().filter_map(|case| {
            let figure = self.cpu_figure(case)?;
            Some([
                case.to_string(),
                format!("{:.2}", figure.worker_us.median),
                format!("{:.3}", figure.main_us.median),
                format!("{:+.2}", figure.added_us.median),
                format!("{:.2}", figure.added_us.half_width()),
                ratio(figure.vs_native),
                format!("{:.0}", figure.requests_per_s.median),
                format!("{:.1}", figure.rss_mib.median),
                format!("{:+.1}", figure.rss_added_mib.median),
            ])
        });
        number_table(header, rows)
    }

    fn latency_table(&self) -> Table {
        let rows = self.cases.iter().filter_map(|case| {
            let figure = self.latency_figure(case)?;
            Some([
                case.to_string(),
                format!("{:.1}", figure.p50_us.median),
                format!("{:+.1}", figure.added_p50_us.median),
                format!("{:.1}", figure.added_p50_us.half_width()),
                format!("{:.1}", figure.p99_us.median),
                format!("{:+.1}", figure.added_p99_us.median),
                format!("{:.1}", figure.added_p99_us.half_width()),
            ])
        });
        number_table(["latency, us", "p50", "added", "±", "p99", "added", "±"], rows)
    }

    fn scaling_table(&self) -> Table {
        let header = [
            "series",
            "workers",
            "worker us/request",
            "main us/request",
            "main/worker",
            "longest main turn ms",
            "RSS MiB",
        ];
        let rows = self.scaling.iter().map(|scale| {
            [
                scale.series.to_string(),
                scale.workers.to_string(),
                format!("{:.2}", scale.worker_us),
                format!("{:.3}", scale.main_us),
                format!("{:.2} %", scale.main_thread_share * 100.0),
                format!("{:.1}", scale.longest_main_turn_ms),
                format!("{:.1}", scale.rss_mib),
            ]
        });
        number_table(header, rows)
    }

    fn dimensions_table(&self) -> Table {
        let rows = self.dimensions.iter();
        let rows = rows.map(|(name, found)| [name.clone(), format!("{:.0}", found.total.median)]);
        number_table(["instructions per request", "total"], rows)
    }
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency_note =
            format!("At {} requests per second, from when each request was due.\n", latency::RATE);
        let tables = [
            (
                self.instructions_table(),
                "All threads, without the allocator, which is slower under valgrind and has its own column.\n",
            ),
            (self.items_table(), ""),
            (self.parts_table(), ""),
            (
                self.cpu_table(),
                "One saturated worker. Added: both threads, relative to the first row in the same round.\n",
            ),
            (self.latency_table(), &latency_note),
            (self.scaling_table(), ""),
            (self.dimensions_table(), ""),
        ];
        for (table, note) in tables.iter().filter(|(table, _)| !table.is_empty()) {
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
