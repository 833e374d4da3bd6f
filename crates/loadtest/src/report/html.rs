//! The page: one file with its style and its charts inside, which asks for nothing from anywhere.

use super::Table;
use super::document::{Block, Document};
use crate::machine::Machine;

const STYLE: &str = include_str!("page.css");

/// The page of a document.
pub(super) fn page(document: &Document, machine: &Machine) -> String {
    let body: String = document.blocks.iter().map(block).collect();
    let title = escape(&document.title);
    let about = escape(&format!(
        "{}; towncrier {}, {} build; {}, {} cores, Linux {}; load average {:.1} before",
        machine.day(),
        machine.version,
        if machine.optimised { "optimised" } else { "unoptimised" },
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.load_average
    ));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p class=\"about\">{about}</p>\n{body}</body>\n</html>\n"
    )
}

/// Text that cannot be taken for markup, in an attribute either.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(text) => format!("<h2>{}</h2>\n", escape(text)),
        Block::Text(text) => format!("<p>{}</p>\n", escape(text)),
        Block::Failure(text) => format!("<p class=\"failure\">{}</p>\n", escape(text)),
        Block::Table(table) => table_of(table),
        Block::Bars(bars) => figure(&bars.title, &bars.svg()),
        Block::Lines(lines) => figure(&lines.title, &lines.svg()),
    }
}

fn figure(title: &str, chart: &str) -> String {
    format!("<figure><figcaption>{}</figcaption>{chart}</figure>\n", escape(title))
}

fn table_of(table: &Table) -> String {
    let row = |cells: &[String], tag: &str| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let Some((head, rows)) = table.rows().split_first() else {
        return String::new();
    };
    let rows: String = rows.iter().map(|cells| row(cells, "td")).collect();
    format!(
        "<div class=\"wide\"><table>\n<thead>{}</thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
        row(head, "th")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::Axis;
    use crate::report::{Bars, Lines};

    #[test]
    fn a_page_is_whole_and_asks_for_nothing() {
        let mut table = Table::default();
        table.row([&"server", &"µs"]).row([&"a<b>&\"c\"", &1]);
        let mut document = Document::new("A <title>");
        document.heading("part").text("some").failure("bad").table(table);
        document.bars(Bars { title: "cost".to_owned(), unit: "µs", bars: vec![("x<y".to_owned(), 2.0)] });
        let series = vec![("one".to_owned(), vec![(1.0, 2.0), (10.0, 3.0)]), ("two".to_owned(), vec![])];
        let (x, y) = (Axis::logarithmic("topics"), Axis::linear("µs"));
        document.lines(Lines { title: "growth".to_owned(), x, y, series });
        let page = page(&document, &Machine::look().expect("a machine"));

        assert!(
            page.contains("<title>A &lt;title&gt;</title>") && page.contains("<td>a&lt;b&gt;&amp;&quot;c&quot;</td>")
        );
        assert_eq!(page.matches("<svg").count(), 2);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"), "{page}");
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
