//! Results of commands: text and tables for people, JSON for scripts.

use std::fmt::Display;

use anyhow::Result;
use comfy_table::{CellAlignment, Row, Table, presets};
use serde::Serialize;

/// Prints a result on the standard output. With `json`, prints the JSON as one line on the standard
/// output, and the text on the standard error.
pub(crate) fn print(text: &impl Display, json: Option<&impl Serialize>) -> Result<()> {
    match json {
        Some(json) => {
            eprintln!("{text}");
            println!("{}", serde_json::to_string(json)?);
        }
        None => println!("{text}"),
    }
    Ok(())
}

/// Makes a table without borders, in which all columns are aligned to the left.
pub(crate) fn text_table(header: impl Into<Row>, rows: impl IntoIterator<Item = impl Into<Row>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header).add_rows(rows);
    table
}

/// Makes a table without borders, in which all columns except the first are aligned to the right.
pub(crate) fn number_table(header: impl Into<Row>, rows: impl IntoIterator<Item = impl Into<Row>>) -> Table {
    let mut table = text_table(header, rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
