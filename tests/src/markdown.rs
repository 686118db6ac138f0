//! The fenced blocks of the documentation, with what each says of itself.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::repository;

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The file, relative to the repository's root.
    pub file: String,
    /// The line of its fence, from 1.
    pub line: usize,
    /// What follows the fence: the language, and what the block is.
    pub info: String,
    /// Its text, without the indentation of the fence.
    pub text: String,
}

/// The text of a file of the repository.
///
/// # Errors
/// It cannot be read.
pub fn read(file: impl AsRef<Path>) -> Result<String> {
    let file = repository::root().join(file);
    std::fs::read_to_string(&file).with_context(|| file.display().to_string())
}

/// The documents for users: README.md and everything in docs.
///
/// # Errors
/// The folder cannot be read.
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

/// Every block of every document.
///
/// # Errors
/// A document cannot be read, or a block does not end.
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
    ensure!(open.is_none(), "{file}: a block has no end");
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_told_by_its_fence() {
        let text = "a\n```yaml worker\nb: 1\n\n  c\n```\n1. d\n\n   ```promql\n   up\n     down\n   ```\n";
        let blocks = blocks_in("x.md", text).unwrap();
        let told: Vec<_> = blocks.iter().map(|block| (block.line, &*block.info, &*block.text)).collect();
        assert_eq!(told, [(2, "yaml worker", "b: 1\n\n  c\n"), (9, "promql", "up\n  down\n")]);
        assert!(blocks_in("x.md", "```\n").is_err());
    }
}
