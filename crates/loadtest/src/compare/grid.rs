//! A table with a row for each server: medians of the runs, and ratios to the first, which is the floor.

use super::Runs;
use crate::report::{Bars, Table, number};
use crate::stats::median;

/// A figure of a report.
pub(super) struct Figure<R> {
    pub(super) name: &'static str,
    pub(super) digits: usize,
    pub(super) of: fn(&R) -> Option<f64>,
}

/// The figures of all servers.
pub(super) struct Grid<'a, R> {
    pub(super) servers: &'a [String],
    pub(super) runs: &'a Runs<R>,
    pub(super) figures: Vec<Figure<R>>,
}

impl<R> Grid<'_, R> {
    fn middle(&self, server: usize, figure: &Figure<R>) -> Option<f64> {
        median(self.runs.get(server)?.iter().filter_map(figure.of))
    }

    /// By the floor's; nothing where that is nothing.
    pub(super) fn ratio(&self, server: usize, figure: usize) -> Option<f64> {
        let figure = self.figures.get(figure)?;
        let floor = self.middle(0, figure).filter(|value| *value > 0.0)?;
        self.middle(server, figure).map(|value| value / floor)
    }

    /// A column for each figure, and one for its ratio.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::default();
        let heads = self.figures.iter().flat_map(|figure| [figure.name.to_owned(), "× floor".to_owned()]);
        table.line(std::iter::once(String::new()).chain(heads).collect());
        for (server, name) in self.servers.iter().enumerate() {
            let mut cells = vec![name.clone()];
            for (index, figure) in self.figures.iter().enumerate() {
                cells.push(number(self.middle(server, figure), figure.digits));
                cells.push(number(self.ratio(server, index), 2));
            }
            table.line(cells);
        }
        table
    }

    /// One figure of each server.
    pub(super) fn bars(&self, figure: usize, title: &str, unit: &'static str) -> Bars {
        let bars = self
            .servers
            .iter()
            .enumerate()
            .filter_map(|(server, name)| Some((name.clone(), self.middle(server, self.figures.get(figure)?)?)));
        Bars { title: title.to_owned(), unit, bars: bars.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let servers = ["floor", "hub", "absent"].map(str::to_owned);
        let runs = vec![vec![1.0, 9.0, 2.0], vec![3.0], vec![]];
        let figure = Figure { name: "µs", digits: 1, of: |value: &f64| Some(*value) };
        let grid = Grid { servers: &servers, runs: &runs, figures: vec![figure] };
        assert_eq!(grid.ratio(1, 0), Some(1.5));
        assert_eq!(grid.ratio(2, 0), None);
        let table = grid.table().to_string();
        assert_eq!(table, "         µs  × floor\nfloor   2.0     1.00\nhub     3.0     1.50\nabsent    -        -\n");
        assert_eq!(grid.bars(0, "cost", "µs").bars, [("floor".to_owned(), 2.0), ("hub".to_owned(), 3.0)]);
    }
}
