//! Charts as SVG files: lines, stacked bars, and the parts of a profiler's report.

mod axis;
mod bars;
mod lines;
mod palette;
mod reports;

pub use axis::{Axis, Scale};
pub use bars::{Bar, BarChart};
pub use lines::{LineChart, Series};
pub use reports::{access_skew, save_charts};

/// Charts beside each other, as the text of one SVG file; they are as high as each other.
pub fn beside(charts: &[String]) -> String {
    arrange(charts, |(x, _), (width, _)| (x + width, 0))
}

/// Charts below each other, as the text of one SVG file; they are as wide as each other.
pub fn below(charts: &[String]) -> String {
    arrange(charts, |(_, y), (_, height)| (0, y + height))
}

type Point = (u32, u32);

fn arrange(charts: &[String], next: impl Fn(Point, Point) -> Point) -> String {
    let (mut at, mut all, mut inner) = ((0, 0), (0, 0), String::new());
    for chart in charts {
        let size = (number(chart, " width=\""), number(chart, " height=\""));
        all = (all.0.max(at.0 + size.0), all.1.max(at.1 + size.1));
        inner += &format!(
            "<g transform=\"translate({} {})\">\n{chart}\n</g>\n",
            at.0, at.1
        );
        at = next(at, size);
    }
    let (width, height) = all;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n{inner}</svg>\n"
    )
}

/// The number behind the first such attribute, which is the whole chart's.
fn number(svg: &str, attribute: &str) -> u32 {
    let value = svg
        .split_once(attribute)
        .and_then(|(_, rest)| rest.split_once('"'));
    value
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or(0)
}
