//! Stacked bars as SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A bar, from the bottom up.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What stands below it.
    pub name: String,
    /// Heights of its parts.
    pub parts: Vec<f64>,
}

/// A chart of stacked bars, 720 by 440 pixels.
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
}

const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x99, 0x99, 0x99),
];
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const FONT: &str = "sans-serif";

impl BarChart {
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

    fn draw(&self, svg: &mut String) -> std::result::Result<(), Box<dyn std::error::Error>> {
        const LEGEND_WIDTH: i32 = 210;
        const SIZE: (u32, u32) = (720, 440);
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (plot, legend) = root.split_horizontally(SIZE.0 as i32 - LEGEND_WIDTH);
        let text = |size: i32| (FONT, size).into_font().color(&INK);
        root.draw(&Text::new(
            self.title.as_str(),
            (SIZE.0 as i32 / 2, 12),
            text(18).pos(Pos::new(HPos::Center, VPos::Top)),
        ))?;
        let highest = self.bars.iter().map(|bar| bar.parts.iter().sum::<f64>());
        let highest = highest.fold(0.0, f64::max).max(1e-9) * 1.1;
        let mut chart = ChartBuilder::on(&plot)
            .margin_top(46)
            .margin_left(6)
            .margin_right(10)
            .x_label_area_size(34)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..self.bars.len() as f64, 0.0..highest)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .bold_line_style(RGBColor(0xdd, 0xdd, 0xdd))
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(text(14))
            .axis_desc_style((FONT, 15).into_font().color(&INK))
            .y_desc(self.y.as_str())
            .y_label_formatter(&|value| format!("{value}"))
            .draw()?;
        for (place, bar) in (0..).zip(&self.bars) {
            let (left, right) = (f64::from(place) + 0.2, f64::from(place) + 0.8);
            let mut bottom = 0.0;
            for (&part, colour) in bar.parts.iter().zip(COLOURS.iter().cycle()) {
                let corners = [(left, bottom), (right, bottom + part)];
                chart.draw_series([Rectangle::new(corners, colour.filled())])?;
                bottom += part;
            }
            let above = text(14).pos(Pos::new(HPos::Center, VPos::Bottom));
            let middle = 0.5 * (left + right);
            chart.draw_series([Text::new(
                figure(bottom),
                (middle, bottom + 0.01 * highest),
                above,
            )])?;
            let (x, y) = chart.backend_coord(&(middle, 0.0));
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
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
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
        };
        let svg = chart.to_svg().unwrap();
        for text in ["Time", "seconds", "a part", "another", "only bar", "3.50"] {
            assert!(svg.contains(text), "{text}");
        }
    }
}
