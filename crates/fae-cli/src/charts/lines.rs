//! Line charts as SVG.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::palette::{COLOURS, FONT, GRID, INK};
use crate::process::write_text;

/// A line of a [`LineChart`].
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend; without a name it is not there.
    pub name: String,
    /// Points (x, y) in drawing order; points that an axis has no place for are left out.
    pub points: Vec<(f64, f64)>,
    /// Drawn with dashes: bounds, references and other lines that are no measurement.
    pub dashed: bool,
    /// Each point has a dot.
    pub dots: bool,
    /// Drawn in the colour of the line before it.
    pub same_colour: bool,
}

impl Series {
    /// A solid line without dots.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
            dashed: false,
            dots: false,
            same_colour: false,
        }
    }

    /// The same line with dashes.
    #[must_use]
    pub fn dashed(mut self) -> Self {
        self.dashed = true;
        self
    }

    /// The same line with a dot at each point.
    #[must_use]
    pub fn with_dots(mut self) -> Self {
        self.dots = true;
        self
    }

    /// The same line in the colour of the one before it.
    #[must_use]
    pub fn in_same_colour(mut self) -> Self {
        self.same_colour = true;
        self
    }
}

/// Lines over a common axis, with a legend beside them.
///
/// ```
/// use fae_cli::charts::{Axis, LineChart, Series};
///
/// let chart = LineChart::new("Squares", Axis::linear("x (m)"), Axis::linear("area (m²)"))
///     .with_series(Series::new("measured", vec![(1.0, 1.1), (2.0, 3.9), (3.0, 9.1)]).with_dots())
///     .with_series(Series::new("expected", vec![(1.0, 1.0), (2.0, 4.0), (3.0, 9.0)]).dashed());
/// assert!(chart.to_svg()?.starts_with("<svg"));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LineChart {
    /// Title.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The lines, in the order of the legend.
    pub series: Vec<Series>,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

const LINE_HEIGHT: i32 = 20;

impl LineChart {
    /// A chart of 720 by 440 pixels without lines.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self {
            title: title.into(),
            x,
            y,
            series: Vec::new(),
            size: (720, 440),
        }
    }

    /// The same chart with another line.
    #[must_use]
    pub fn with_series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// The chart as the text of an SVG file.
    ///
    /// # Errors
    /// A chart too small to hold its labels, or text that the drawing library refuses.
    pub fn to_svg(&self) -> Result<String> {
        let error = |problem: String| anyhow!("the chart `{}` {problem}", self.title);
        if self.size.0 < 300 || self.size.1 < 200 {
            let (width, height) = self.size;
            return Err(error(format!(
                "has {width} by {height} pixels, too few; give 300 by 200 or more"
            )));
        }
        let mut svg = String::new();
        self.draw(&mut svg)
            .map_err(|problem| error(format!("cannot be drawn: {problem}")))?;
        Ok(svg)
    }

    /// Writes the chart to an SVG file, which appears under its name when it is complete.
    ///
    /// # Errors
    /// As [`LineChart::to_svg`], and a file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        write_text(path, &self.to_svg()?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn draw(&self, svg: &mut String) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let placed: Vec<Vec<(f64, f64)>> = self
            .series
            .iter()
            .map(|series| {
                let points = series.points.iter();
                points
                    .filter_map(|&(x, y)| self.x.place(x).zip(self.y.place(y)))
                    .collect()
            })
            .collect();
        let span = |axis: fn(&(f64, f64)) -> f64| {
            let mut values = placed.iter().flatten().map(axis);
            let first = values.next()?;
            Some(values.fold((first, first), |(low, high), v| (low.min(v), high.max(v))))
        };
        let (x0, x1, x_ticks) = self.x.layout(span(|point| point.0));
        let (y0, y1, y_ticks) = self.y.layout(span(|point| point.1));

        let root = SVGBackend::with_string(svg, self.size).into_drawing_area();
        root.fill(&WHITE)?;
        let centred = |size: i32| {
            (FONT, size)
                .into_font()
                .color(&INK)
                .pos(Pos::new(HPos::Center, VPos::Top))
        };
        let legend_width = self.legend_width().min(self.size.0 as i32 / 2);
        let (plot, legend) = root.split_horizontally(self.size.0 as i32 - legend_width);
        let longest = y_ticks
            .iter()
            .map(|&tick| self.y.tick(tick).chars().count())
            .max();
        let left = 38 + 8 * longest.unwrap_or(1) as i32;
        let middle = (left + self.size.0 as i32 - legend_width - 20) / 2;
        root.draw(&Text::new(
            self.title.as_str(),
            (middle.max(self.size.0 as i32 / 3), 12),
            centred(18),
        ))?;

        let mut chart = ChartBuilder::on(&plot)
            .margin_top(46)
            .margin_right(20)
            .margin_bottom(8)
            .margin_left(6)
            .x_label_area_size(50)
            .y_label_area_size(left)
            .build_cartesian_2d(Ticks::new(x0..x1, &x_ticks), Ticks::new(y0..y1, &y_ticks))?;
        let labels = (FONT, 14).into_font().color(&INK);
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(labels.clone())
            .axis_desc_style((FONT, 15).into_font().color(&INK))
            .x_labels(x_ticks.len().max(2))
            .y_labels(y_ticks.len().max(2))
            .x_label_formatter(&|place| self.x.tick(*place))
            .y_label_formatter(&|place| self.y.tick(*place))
            .x_desc(self.x.label.as_str())
            .y_desc(self.y.label.as_str())
            .draw()?;
        // The first line lies on top, with the smallest dots, so that lines that coincide are all
        // seen.
        let styles = self.styles();
        let drawn = self.series.iter().zip(placed).zip(&styles);
        for ((series, points), &(number, style)) in drawn.rev() {
            if series.dots {
                let dots = points.iter().map(|&point| dot(point, number, style));
                chart.draw_series(dots)?;
            }
            if series.dashed {
                chart.draw_series(DashedLineSeries::new(points, 7, 5, style))?;
            } else {
                chart.draw_series(LineSeries::new(points, style))?;
            }
        }
        let named = self.series.iter().zip(&styles);
        let named = named.filter(|(series, _)| !series.name.is_empty());
        for ((series, &(number, style)), line) in named.zip(0..) {
            let y = 58 + LINE_HEIGHT * line;
            let ends = [(8, y), (36, y)];
            if series.dots {
                legend.draw(&dot((22, y), number, style))?;
            }
            if series.dashed {
                let dashes = DashedPathElement::new(ends, 7, 5, style);
                legend.draw(&dashes)?;
            } else {
                legend.draw(&PathElement::new(ends, style))?;
            }
            let text = labels.pos(Pos::new(HPos::Left, VPos::Center));
            legend.draw(&Text::new(series.name.as_str(), (44, y), text))?;
        }
        root.present()?;
        Ok(())
    }

    /// Number and style of every line: colours in their order, the second round thinner.
    fn styles(&self) -> Vec<(usize, ShapeStyle)> {
        let mut next = 0;
        let styles = self.series.iter().map(|series| {
            if !series.same_colour || next == 0 {
                next += 1;
            }
            let number = next - 1;
            let width = if number < COLOURS.len() { 2 } else { 1 };
            (number, COLOURS[number % COLOURS.len()].stroke_width(width))
        });
        styles.collect()
    }

    /// Room for the longest name; the library does not know how wide letters are.
    fn legend_width(&self) -> i32 {
        let letters = |series: &Series| series.name.chars().count() as i32;
        let longest = self.series.iter().map(letters).max();
        longest.map_or(10, |longest| 56 + 8 * longest)
    }
}

/// A dot of the line of that number: full for the first one, a ring for the others, a wider one for
/// each.
fn dot<Point>(at: Point, number: usize, style: ShapeStyle) -> Circle<Point, i32> {
    let style = if number == 0 {
        style.filled()
    } else {
        style.stroke_width(1)
    };
    Circle::new(at, 3 + number.min(3) as i32, style)
}

/// A linear coordinate whose grid lines are given.
struct Ticks {
    coordinate: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ticks {
    fn new(range: Range<f64>, ticks: &[f64]) -> Self {
        Self {
            coordinate: range.into(),
            ticks: ticks.to_vec(),
        }
    }
}

impl Ranged for Ticks {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.coordinate.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.coordinate.range()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use super::*;

    #[test]
    fn a_chart_says_what_it_shows() {
        let chart = LineChart::new("Title", Axis::log("rows (%)"), Axis::linear("accesses (%)"))
            .with_series(Series::new("a < b", vec![(0.0, 5.0), (1.0, 10.0), (10.0, 50.0)]).dashed())
            .with_series(Series::new("second", vec![(1.0, 20.0), (10.0, 30.0)]).with_dots());
        let svg = chart.to_svg().unwrap();
        for text in ["Title", "rows (%)", "accesses (%)", "a &lt; b", "second"] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        assert_eq!(svg, chart.to_svg().unwrap());
    }

    #[test]
    fn odd_charts_are_drawn_or_refused() {
        let mut chart = LineChart::new("Title", Axis::linear("x"), Axis::log("y"));
        chart.to_svg().unwrap();
        chart = chart.with_series(Series::new("one", vec![(3.0, 3.0), (f64::NAN, 1.0)]));
        chart.to_svg().unwrap();
        chart.size = (10, 10);
        let error = chart.to_svg().unwrap_err().to_string();
        assert!(error.contains("give 300 by 200 or more"), "{error}");
    }
}
