//! Stacked bars as SVG.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::palette::{COLOURS, FONT, GRID, INK};
use crate::process::write_text;

/// A bar, from the bottom up.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What stands below it.
    pub name: String,
    /// Heights of its parts.
    pub parts: Vec<f64>,
}

/// A chart of stacked bars, 720 by 440 pixels, less where there is no legend.
#[derive(Debug, Clone)]
pub struct BarChart {
    /// Title.
    pub title: String,
    /// What the height means, with its unit.
    pub y: String,
    /// Names of the parts, from the bottom up.
    pub legend: Vec<String>,
    /// The bars, from left to right.
    pub bars: Vec<Bar>,
    /// Where the vertical axis begins.
    pub from: f64,
}

/// Pixels of the legend, and of a chart with it.
const LEGEND_WIDTH: u32 = 210;
const SIZE: (u32, u32) = (720, 440);

impl BarChart {
    /// A chart of bars of one part, without a legend.
    pub fn plain(title: impl Into<String>, y: impl Into<String>, bars: &[(&str, f64)]) -> Self {
        let bar = |&(name, height): &(&str, f64)| Bar {
            name: name.into(),
            parts: vec![height],
        };
        Self {
            title: title.into(),
            y: y.into(),
            legend: Vec::new(),
            bars: bars.iter().map(bar).collect(),
            from: 0.0,
        }
    }

    /// The same chart whose vertical axis begins there.
    #[must_use]
    pub fn above(mut self, from: f64) -> Self {
        self.from = from;
        self
    }

    /// The chart as the text of an SVG file.
    ///
    /// # Errors
    /// Text that the drawing library refuses.
    pub fn to_svg(&self) -> Result<String> {
        let mut svg = String::new();
        self.draw(&mut svg)
            .map_err(|error| anyhow!("the chart `{}` cannot be drawn: {error}", self.title))?;
        Ok(svg)
    }

    /// Writes the chart to an SVG file, which appears under its name when it is complete.
    ///
    /// # Errors
    /// As [`BarChart::to_svg`], and a file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_text(path, &self.to_svg()?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn draw(&self, svg: &mut String) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let plot_width = SIZE.0 - LEGEND_WIDTH;
        let width = if self.legend.is_empty() {
            plot_width
        } else {
            SIZE.0
        };
        let root = SVGBackend::with_string(svg, (width, SIZE.1)).into_drawing_area();
        root.fill(&WHITE)?;
        let (plot, legend) = root.split_horizontally(plot_width as i32);
        let text = |size: i32| (FONT, size).into_font().color(&INK);
        root.draw(&Text::new(
            self.title.as_str(),
            (width as i32 / 2, 12),
            text(18).pos(Pos::new(HPos::Center, VPos::Top)),
        ))?;
        let highest = self.bars.iter().map(|bar| bar.parts.iter().sum::<f64>());
        let highest = highest.fold(self.from, f64::max);
        let highest = self.from + (highest - self.from).max(1e-9) * 1.1;
        let mut chart = ChartBuilder::on(&plot)
            .margin_top(46)
            .margin_left(6)
            .margin_right(10)
            .x_label_area_size(34)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..self.bars.len() as f64, self.from..highest)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(text(14))
            .axis_desc_style((FONT, 15).into_font().color(&INK))
            .y_desc(self.y.as_str())
            .y_label_formatter(&|value| format!("{value}"))
            .draw()?;
        for (place, bar) in (0..).zip(&self.bars) {
            let (left, right) = (f64::from(place) + 0.2, f64::from(place) + 0.8);
            let mut bottom = 0.0_f64;
            for (&part, colour) in bar.parts.iter().zip(COLOURS.iter().cycle()) {
                let corners = [
                    (left, bottom.max(self.from)),
                    (right, (bottom + part).max(self.from)),
                ];
                chart.draw_series([Rectangle::new(corners, colour.filled())])?;
                bottom += part;
            }
            let above = text(14).pos(Pos::new(HPos::Center, VPos::Bottom));
            let middle = 0.5 * (left + right);
            chart.draw_series([Text::new(
                figure(bottom),
                (middle, bottom.max(self.from) + 0.01 * (highest - self.from)),
                above,
            )])?;
            let (x, y) = chart.backend_coord(&(middle, self.from));
            let below = text(14).pos(Pos::new(HPos::Center, VPos::Top));
            root.draw(&Text::new(bar.name.as_str(), (x, y + 8), below))?;
        }
        // From the top down, as the parts lie.
        let parts = self.legend.iter().zip(COLOURS.iter().cycle());
        let parts: Vec<_> = parts.collect();
        for ((name, colour), line) in parts.into_iter().rev().zip(0..) {
            let y = 58 + 24 * line;
            legend.draw(&Rectangle::new([(8, y - 7), (24, y + 7)], colour.filled()))?;
            let label = text(14).pos(Pos::new(HPos::Left, VPos::Center));
            legend.draw(&Text::new(name.as_str(), (32, y), label))?;
        }
        root.present()?;
        Ok(())
    }
}

/// Three significant digits.
fn figure(value: f64) -> String {
    match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value if value >= 0.9995 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use super::*;

    #[test]
    fn names_and_heights_are_in_the_picture() {
        let chart = BarChart {
            title: "Time".into(),
            y: "seconds".into(),
            legend: vec!["a part".into(), "another".into()],
            bars: vec![Bar {
                name: "only bar".into(),
                parts: vec![1.5, 2.0],
            }],
            from: 0.0,
        };
        let svg = chart.to_svg().unwrap();
        for text in ["Time", "seconds", "a part", "another", "only bar", "3.50"] {
            assert!(svg.contains(text), "{text}");
        }
    }
}
