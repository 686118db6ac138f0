//! The fenced blocks of the documentation with their info strings.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::repository;

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The file, relative to the root of the repository.
    pub file: String,
    /// The line number of its fence, from 1.
    pub line: usize,
    /// The info string after the fence: the language, and the purpose of the block.
    pub info: String,
    /// The text, without the indentation of the fence.
    pub text: String,
}

/// Reads a file of the repository.
pub fn read(file: impl AsRef<Path>) -> Result<String> {
    let file = repository::root().join(file);
    std::fs::read_to_string(&file).with_context(|| file.display().to_string())
}

/// Lists the user documentation: README.md and everything in docs.
pub fn documents() -> Result<Vec<String>> {
    let mut files = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(repository::root().join("docs"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            files.push(format!("docs/{name}"));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads every block of every document.
pub fn blocks() -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for file in documents()? {
        blocks.extend(blocks_in(&file, &read(&file)?)?);
    }
    Ok(blocks)
}

fn blocks_in(file: &str, text: &str) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (open.take(), fence) {
            (None, None) => {}
            (None, Some(info)) => {
                let indentation = line.len() - line.trim_start().len();
                let info = info.trim().to_owned();
                let block = Block { file: file.to_owned(), line: number + 1, info, text: String::new() };
                open = Some((indentation, block));
            }
            (Some((_, block)), Some(_)) => blocks.push(block),
            (Some((indentation, mut block)), None) => {
                block.text.push_str(line.get(indentation..).unwrap_or_default());
                block.text.push('\n');
                open = Some((indentation, block));
            }
        }
    }
    ensure!(open.is_none(), "{file}: a fenced block is not closed");
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_their_fences() {
        let text = "a\n```yaml worker\nb: 1\n\n  c\n```\n1. d\n\n   ```promql\n   up\n     down\n   ```\n";
        let blocks = blocks_in("x.md", text).unwrap();
        let found: Vec<_> = blocks.iter().map(|block| (block.line, &*block.info, &*block.text)).collect();
        assert_eq!(found, [(2, "yaml worker", "b: 1\n\n  c\n"), (9, "promql", "up\n  down\n")]);
        assert!(blocks_in("x.md", "```\n").is_err());
    }
}
