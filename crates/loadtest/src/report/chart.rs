//! Charts as inline SVG: bars to compare servers, lines for how something grows.

use std::fmt::Write as _;

use super::html::escape;

const WIDTH: f64 = 640.0;
/// Of a bar and the space below it.
const BAR: f64 = 30.0;
/// Where bars begin: room for their names.
const NAMES: f64 = 150.0;
/// Behind a bar: room for its value.
const VALUES: f64 = 110.0;
const LINES_HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;
/// Colours of series, in the style sheet.
const COLOURS: usize = 6;

/// A value of each of several servers.
#[derive(Debug, Clone)]
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) bars: Vec<(String, f64)>,
}

/// How a value grows, for each of several servers. Both axes may be logarithmic.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<(String, Vec<(f64, f64)>)>,
}

/// What one direction of a chart means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    pub(crate) logarithmic: bool,
}

impl Axis {
    pub(crate) fn linear(name: &'static str) -> Self {
        Self { name, logarithmic: false }
    }

    pub(crate) fn logarithmic(name: &'static str) -> Self {
        Self { name, logarithmic: true }
    }
}

impl Bars {
    pub(super) fn svg(&self) -> String {
        let most = self.bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let scale = if most > 0.0 { (WIDTH - NAMES - VALUES) / most } else { 0.0 };
        let height = BAR * self.bars.len() as f64 + 4.0;
        let mut out = open(&self.title, height);
        for (index, (name, value)) in self.bars.iter().enumerate() {
            let (y, width) = (BAR * index as f64 + 4.0, (value * scale).max(1.0));
            let (name, text) = (escape(name), format!("{} {}", short(*value), self.unit));
            let text = escape(text.trim_end());
            let middle = y + BAR / 2.0 - 2.0;
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "<g><title>{name}: {text}</title><text class=\"name\" x=\"{}\" y=\"{middle}\">{name}</text>\
                 <rect class=\"s{}\" x=\"{NAMES}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" rx=\"3\"/>\
                 <text class=\"value\" x=\"{:.1}\" y=\"{middle}\">{text}</text></g>",
                NAMES - 10.0,
                index % COLOURS,
                BAR - 8.0,
                NAMES + width + 8.0,
            );
        }
        out + "</svg>"
    }
}

/// The values that a direction of a chart shows, and where.
struct Scale {
    axis: Axis,
    from: f64,
    to: f64,
}

impl Scale {
    fn of(axis: Axis, values: impl Iterator<Item = f64>) -> Self {
        let usable = values.filter(|value| value.is_finite() && (!axis.logarithmic || *value > 0.0));
        let (mut from, mut to) =
            usable.fold((f64::MAX, f64::MIN), |(from, to), value| (from.min(value), to.max(value)));
        if from > to {
            (from, to) = (1.0, 10.0);
        }
        if axis.logarithmic {
            (from, to) = (10f64.powf(from.log10().floor()), 10f64.powf(to.log10().ceil()));
            to = to.max(from * 10.0);
        } else {
            from = 0.0;
            to = ceiling(to);
        }
        Self { axis, from, to }
    }

    /// Where a value lies, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.axis.logarithmic {
            (value / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.axis.logarithmic {
            return (0..=4).map(|tick| self.to * f64::from(tick) / 4.0).collect();
        }
        let decades = (self.to / self.from).log10().round() as i32;
        let step = (decades / 6 + 1) as usize;
        (0..=decades).step_by(step).map(|decade| self.from * 10f64.powi(decade)).collect()
    }
}

impl Lines {
    pub(super) fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let x = Scale::of(self.x, points().map(|point| point.0));
        let y = Scale::of(self.y, points().map(|point| point.1));
        let place_x = |value| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
        let place_y = |value| TOP + (1.0 - y.place(value)) * (LINES_HEIGHT - TOP - BOTTOM);
        let mut out = open(&self.title, LINES_HEIGHT);
        let (floor, end) = (LINES_HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in y.ticks() {
            let (at, text) = (place_y(tick), short(tick));
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{end}\" y2=\"{at:.1}\"/>\
                 <text class=\"name\" x=\"{}\" y=\"{at:.1}\">{text}</text>",
                LEFT - 8.0
            );
        }
        for tick in x.ticks() {
            let (at, text) = (place_x(tick), short(tick));
            let _ = write!(out, "<text class=\"tick\" x=\"{at:.1}\" y=\"{}\">{text}</text>", floor + 18.0);
        }
        let axes = (escape(self.x.name), escape(self.y.name));
        let _ = write!(
            out,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{}\">{}</text><text class=\"value\" x=\"4\" y=\"{}\">{}</text>",
            LEFT.midpoint(end),
            floor + 36.0,
            axes.0,
            TOP - 18.0,
            axes.1
        );
        for (index, (name, points)) in self.series.iter().enumerate() {
            let colour = index % COLOURS;
            let path: Vec<String> =
                points.iter().map(|(px, py)| format!("{:.1},{:.1}", place_x(*px), place_y(*py))).collect();
            let _ = write!(out, "<polyline class=\"l{colour}\" points=\"{}\"/>", path.join(" "));
            for (px, py) in points {
                let _ = write!(
                    out,
                    "<circle class=\"s{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"><title>{}: {} at {}</title></circle>",
                    place_x(*px),
                    place_y(*py),
                    escape(name),
                    short(*py),
                    short(*px)
                );
            }
        }
        out += "</svg>";
        if self.series.len() > 1 {
            out += "<p class=\"legend\">";
            for (index, (name, _)) in self.series.iter().enumerate() {
                let _ = write!(out, "<span><i class=\"k{}\"></i>{}</span>", index % COLOURS, escape(name));
            }
            out += "</p>";
        }
        out
    }
}

fn open(title: &str, height: f64) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">", escape(title))
}

/// The next of 1, 2, 2.5, 5 and 10 times a power of ten.
fn ceiling(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

/// A number with about three digits that matter.
fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1e6 => format!("{:.2} M", value / 1e6),
        _ if size >= 1e4 => format!("{:.0} k", value / 1e3),
        _ if size >= 100.0 || value == value.trunc() => format!("{value:.0}"),
        _ if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_hold_their_values() {
        let linear = Scale::of(Axis::linear("x"), [3.0, 7.0].into_iter());
        assert_eq!((linear.from, linear.to), (0.0, 10.0));
        assert_eq!(linear.ticks(), [0.0, 2.5, 5.0, 7.5, 10.0]);
        let logarithmic = Scale::of(Axis::logarithmic("x"), [30.0, 7_000.0, 0.0].into_iter());
        assert_eq!(logarithmic.ticks(), [10.0, 100.0, 1_000.0, 10_000.0]);
        assert!((logarithmic.place(100.0) - 1.0 / 3.0).abs() < 1e-9);
        for empty in [Axis::linear("x"), Axis::logarithmic("x")] {
            assert!(Scale::of(empty, std::iter::empty()).place(1.0).is_finite());
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.0, "0"), (0.0123, "0.012"), (5.25, "5.25"), (150.0, "150"), (12_300.0, "12 k"), (2_070_000.0, "2.07 M")]
        {
            assert_eq!(short(value), text);
        }
    }
}
