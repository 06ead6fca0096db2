//! Axes of charts: where ticks stand and what they say.

use std::ops::RangeInclusive;

/// How positions follow from values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scale {
    /// Equal differences are equal distances.
    #[default]
    Linear,
    /// Equal ratios are equal distances; values must be above 0.
    Log,
}

/// An axis of a [`LineChart`](super::LineChart).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    /// What is shown, with its unit.
    pub label: String,
    /// Linear or logarithmic.
    pub scale: Scale,
    /// Values at its ends; without it, the data's, rounded outwards to ticks.
    pub range: Option<RangeInclusive<f64>>,
}

impl Axis {
    /// A linear axis that fits the data.
    pub fn linear(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ..Self::default()
        }
    }

    /// A logarithmic axis that fits the data.
    pub fn log(label: impl Into<String>) -> Self {
        Self {
            scale: Scale::Log,
            ..Self::linear(label)
        }
    }

    /// The same axis with these values at its ends.
    #[must_use]
    pub fn with_range(mut self, range: RangeInclusive<f64>) -> Self {
        self.range = Some(range);
        self
    }

    /// A value's place on an axis that is linear; `None` where it has none.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let place = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
        };
        place.is_finite().then_some(place)
    }

    /// The ends and the ticks, as places, for data between two places.
    pub(crate) fn layout(&self, data: Option<(f64, f64)>) -> (f64, f64, Vec<f64>) {
        let ends = self
            .range
            .as_ref()
            .map(|range| (*range.start(), *range.end()));
        let given = ends.and_then(|(low, high)| Some((self.place(low)?, self.place(high)?)));
        let (low, high) = given.or(data).unwrap_or((0.0, 1.0));
        let (low, high) = if low < high {
            (low, high)
        } else {
            (low - 0.5, low + 0.5)
        };
        let steps = match self.scale {
            Scale::Linear => linear_ticks(low, high),
            Scale::Log => log_ticks(low, high),
        };
        let inside = |ticks: Vec<f64>| {
            let slack = 1e-9 * (high - low);
            let inside = |tick: &f64| (low - slack..=high + slack).contains(tick);
            ticks.into_iter().filter(inside).collect::<Vec<_>>()
        };
        match (given, steps.first(), steps.last()) {
            (None, Some(&first), Some(&last)) => (first.min(low), last.max(high), steps),
            _ => (low, high, inside(steps)),
        }
    }

    /// The text of a tick.
    pub(crate) fn tick(&self, place: f64) -> String {
        let value = match self.scale {
            Scale::Linear => place,
            Scale::Log => 10f64.powf(place),
        };
        number(value)
    }
}

/// Steps of 1, 2 or 5 times a power of ten from at most `low` to at least `high`, four to ten of
/// them.
fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.75)
        .unwrap_or(10.0 * power);
    let first = (low / step + 1e-9).floor() as i64;
    let last = (high / step - 1e-9).ceil() as i64;
    (first..=last).map(|tick| tick as f64 * step).collect()
}

/// Powers of ten, with 2 and 5 between them where there are few.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = ((low + 1e-9).floor() as i32, (high - 1e-9).ceil() as i32);
    let factors: &[f64] = if last - first <= 2 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let mut ticks: Vec<f64> = (first..last)
        .flat_map(|power| factors.iter().map(move |f| f64::from(power) + f.log10()))
        .collect();
    ticks.push(f64::from(last));
    // The ticks next to the data are the ends.
    let start = ticks
        .iter()
        .rposition(|&tick| tick <= low + 1e-9)
        .unwrap_or(0);
    let end = ticks.iter().position(|&tick| tick >= high - 1e-9);
    ticks[start..=end.unwrap_or(ticks.len() - 1)].to_vec()
}

/// A number without needless digits, thousands and more with their suffix.
fn number(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = if scaled == 0.0 {
        0
    } else {
        (2 - scaled.abs().log10().floor() as i32).clamp(0, 9) as usize
    };
    let text = format!("{scaled:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text.as_str(),
    };
    format!("{text}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_data() {
        let axis = Axis::linear("x");
        let texts = |axis: &Axis, low: f64, high: f64| {
            let (_, _, ticks) = axis.layout(axis.place(low).zip(axis.place(high)));
            ticks
                .iter()
                .map(|&tick| axis.tick(tick))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            texts(&axis, 0.0, 97.0),
            ["0", "20", "40", "60", "80", "100"]
        );
        assert_eq!(
            texts(&axis, 0.43, 0.512),
            ["0.42", "0.44", "0.46", "0.48", "0.5", "0.52"]
        );
        assert_eq!(
            texts(&axis, 0.0, 2.3e6),
            ["0", "500 k", "1 M", "1.5 M", "2 M", "2.5 M"]
        );
        let log = Axis::log("x");
        assert_eq!(texts(&log, 0.011, 100.0), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(texts(&log, 3.0, 60.0), ["2", "5", "10", "20", "50", "100"]);
        assert_eq!(log.place(0.0), None);
    }

    #[test]
    fn given_ends_stay() {
        let axis = Axis::linear("x").with_range(0.0..=1.0);
        assert_eq!(axis.layout(Some((-5.0, 5.0))).1, 1.0);
        let (low, high, ticks) = Axis::linear("x").layout(Some((2.0, 2.0)));
        assert!(low < 2.0 && high > 2.0 && ticks.len() > 3);
        assert_eq!(Axis::log("x").layout(None).0, 0.0);
    }
}
