//! A result for people, as blocks that both the terminal and the page can show.

use std::fmt;

use super::{Bars, Lines, Table};

/// A part of a document.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    Heading(String),
    Text(String),
    /// What must not be overlooked.
    Failure(String),
    Table(Table),
    /// Only on the page.
    Bars(Bars),
    /// Only on the page.
    Lines(Lines),
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

impl Document {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), blocks: Vec::new() }
    }

    pub(crate) fn heading(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Heading(text.into()))
    }

    pub(crate) fn text(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Text(text.into()))
    }

    pub(crate) fn failure(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Failure(text.into()))
    }

    pub(crate) fn table(&mut self, table: Table) -> &mut Self {
        self.push(Block::Table(table))
    }

    pub(crate) fn bars(&mut self, bars: Bars) -> &mut Self {
        self.push(Block::Bars(bars))
    }

    pub(crate) fn lines(&mut self, lines: Lines) -> &mut Self {
        self.push(Block::Lines(lines))
    }

    /// Appends another document as a part of this one.
    pub(crate) fn part(&mut self, part: Self) -> &mut Self {
        self.heading(part.title.clone()).blocks(part)
    }

    /// Appends the blocks of another document.
    pub(crate) fn blocks(&mut self, other: Self) -> &mut Self {
        self.blocks.extend(other.blocks);
        self
    }

    fn push(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }
}

/// For the terminal: without the charts, as their figures are in the tables.
impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for block in &self.blocks {
            match block {
                Block::Heading(text) => write!(f, "\n\n{text}\n")?,
                Block::Text(text) | Block::Failure(text) => write!(f, "\n{text}\n")?,
                Block::Table(table) => write!(f, "\n{table}")?,
                Block::Bars(_) | Block::Lines(_) => {}
            }
        }
        Ok(())
    }
}
