//! The tables in which a run's figures are shown to people.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::latency;
use super::outcome::{Outcome, WasmBytes};
use super::statistic::Spread;

impl Outcome {
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
                format!("{:.0}", found.total.half_width()),
                self.added_instructions(subject).map_or_else(String::new, |added| format!("{added:+.0}")),
                ratio(self.instructions_vs_native(subject)),
                whole(&found.generated),
                whole(&found.main),
                whole(&found.allocator),
            ]);
        }
        align(&mut table);
        table
    }

    fn items_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["an item of the CEL list", "instructions", "CEL"]);
        for (item, added) in &self.items {
            table.add_row([item.name.clone(), format!("{added:+.0}"), item.cel.clone()]);
        }
        table
    }

    fn parts_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["a part, as native code", "instructions"]);
        for (name, instructions) in &self.parts {
            table.add_row([(*name).to_owned(), format!("{instructions:.0}")]);
        }
        align(&mut table);
        table
    }

    fn cpu_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "CPU time per request, us",
            "worker",
            "main",
            "added",
            "±",
            "x native",
            "requests/s",
            "RSS MiB",
            "added MiB",
        ]);
        for subject in &self.subjects {
            let Some(figure) = self.cpu_figure(subject) else { continue };
            table.add_row([
                subject.to_string(),
                format!("{:.2}", figure.worker_us.median),
                format!("{:.3}", figure.main_us.median),
                format!("{:+.2}", figure.added_us.median),
                format!("{:.2}", figure.added_us.half_width()),
                ratio(figure.vs_native),
                format!("{:.0}", figure.requests_per_s.median),
                format!("{:.1}", figure.rss_mib.median),
                format!("{:+.1}", figure.rss_added_mib.median),
            ]);
        }
        align(&mut table);
        table
    }

    fn latency_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["latency, us", "p50", "added", "±", "p99", "added", "±"]);
        for subject in &self.subjects {
            let Some(figure) = self.latency_figure(subject) else { continue };
            table.add_row([
                subject.to_string(),
                format!("{:.1}", figure.p50_us.median),
                format!("{:+.1}", figure.added_p50_us.median),
                format!("{:.1}", figure.added_p50_us.half_width()),
                format!("{:.1}", figure.p99_us.median),
                format!("{:+.1}", figure.added_p99_us.median),
                format!("{:.1}", figure.added_p99_us.half_width()),
            ]);
        }
        align(&mut table);
        table
    }

    fn scaling_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "series",
            "workers",
            "worker us/request",
            "main us/request",
            "main/worker",
            "longest main turn ms",
            "RSS MiB",
        ]);
        for scale in &self.scaling {
            table.add_row([
                scale.series.to_string(),
                scale.workers.to_string(),
                format!("{:.2}", scale.worker_us),
                format!("{:.3}", scale.main_us),
                format!("{:.2} %", scale.main_thread_share * 100.0),
                format!("{:.1}", scale.longest_main_turn_ms),
                format!("{:.1}", scale.rss_mib),
            ]);
        }
        align(&mut table);
        table
    }

    fn dimensions_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["instructions per request", "total"]);
        for (name, found) in &self.dimensions {
            table.add_row([name.clone(), format!("{:.0}", found.total.median)]);
        }
        align(&mut table);
        table
    }

    fn start_up_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["start to first connection, ms", "median", "from", "to"]);
        for subject in &self.subjects {
            let Some(values) = self.start_up_ms.get(&subject.to_string()) else { continue };
            let spread = Spread::of(values.clone());
            table.add_row([
                subject.to_string(),
                format!("{:.0}", spread.median),
                format!("{:.0}", spread.low),
                format!("{:.0}", spread.high),
            ]);
        }
        align(&mut table);
        table
    }
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

fn align(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
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
        if !self.items.is_empty() {
            writeln!(f, "\n{}\n", self.items_table())?;
        }
        if !self.parts.is_empty() {
            writeln!(f, "\n{}\n", self.parts_table())?;
        }
        if !self.cpu.is_empty() {
            writeln!(f, "\n{}\n", self.cpu_table())?;
            writeln!(
                f,
                "One worker at saturation; added: main and worker, to the first row in the same round."
            )?;
        }
        if !self.latency.is_empty() {
            writeln!(f, "\n{}\n", self.latency_table())?;
            writeln!(f, "At {} requests per second; each counts from when it was due.", latency::RATE)?;
        }
        if !self.scaling.is_empty() {
            writeln!(f, "\n{}\n", self.scaling_table())?;
        }
        if !self.dimensions.is_empty() {
            writeln!(f, "\n{}\n", self.dimensions_table())?;
        }
        if !self.start_up_ms.is_empty() {
            writeln!(f, "\n{}\n", self.start_up_table())?;
        }
        let WasmBytes { worker_filter, service } = self.wasm_bytes;
        writeln!(f, "worker_filter.wasm {worker_filter} bytes, service.wasm {service} bytes")?;
        for (name, reason) in &self.faults {
            writeln!(f, "\n{name} could not be measured: {reason}")?;
        }
        Ok(())
    }
}
