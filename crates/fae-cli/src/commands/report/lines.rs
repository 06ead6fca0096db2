//! Straight lines through measurements at several sizes, and what they say about larger ones.

use serde::Serialize;

/// A full data set.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Full {
    /// Its name.
    pub name: &'static str,
    /// Its rows or events.
    pub size: u64,
}

/// What a program took at one size.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Measured {
    /// Rows or events.
    pub size: u64,
    /// From start to end.
    pub seconds: f64,
    /// Largest resident memory, in bytes.
    pub memory: u64,
    /// Bytes on disk; 0 where it writes nothing to speak of.
    pub disk: u64,
}

/// A program at several sizes.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Stage {
    /// What runs.
    pub name: &'static str,
    /// What sizes count.
    pub unit: &'static str,
    /// What its lines are drawn to.
    pub full: Full,
    /// The measurements, sizes ascending.
    pub measured: Vec<Measured>,
}

impl Stage {
    /// A stage without measurements.
    pub(super) fn new(name: &'static str, unit: &'static str, full: Full) -> Self {
        Self {
            name,
            unit,
            full,
            measured: Vec::new(),
        }
    }

    /// The line through one figure of the measurements; `None` where [`Slope::fit`] finds none.
    pub(super) fn line(&self, figure: impl Fn(&Measured) -> f64) -> Option<Slope> {
        let points = self.measured.iter();
        let points: Vec<_> = points
            .map(|point| (point.size as f64, figure(point)))
            .collect();
        Slope::fit(&points)
    }
}

/// `fixed + per_unit · size`, fitted to measurements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Slope {
    /// What it costs at size 0; not negative.
    pub fixed: f64,
    /// What a unit of size costs.
    pub per_unit: f64,
    /// The largest distance of a measurement from the line, as a share of the measurement.
    pub worst: f64,
}

impl Slope {
    /// Least squares of the relative errors, so that the smallest size counts as much as the
    /// largest. Where the line would cut below zero at size 0, it is one through the origin:
    /// nothing costs less than nothing.
    ///
    /// `None` for less than two sizes, or figures that are not above zero.
    pub(super) fn fit(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < 2
            || points
                .iter()
                .any(|&(size, cost)| !(size > 0.0 && cost > 0.0))
        {
            return None;
        }
        // Each residual (fixed + per_unit · size - cost) / cost: the normal equations of a and b
        // with weights 1 / cost².
        let [mut weights, mut sizes, mut squares, mut costs, mut products] = [0.0; 5];
        for &(size, cost) in points {
            let weight = 1.0 / (cost * cost);
            weights += weight;
            sizes += weight * size;
            squares += weight * size * size;
            costs += weight * cost;
            products += weight * size * cost;
        }
        let determinant = weights * squares - sizes * sizes;
        let mut per_unit = (weights * products - sizes * costs) / determinant;
        let mut fixed = (costs - per_unit * sizes) / weights;
        if !(determinant > 0.0 && fixed >= 0.0) {
            (fixed, per_unit) = (0.0, products / squares);
        } else if per_unit < 0.0 {
            (fixed, per_unit) = (costs / weights, 0.0);
        }
        let line = Self {
            fixed,
            per_unit,
            worst: 0.0,
        };
        let distance = |&(size, cost): &(f64, f64)| (line.at(size) - cost).abs() / cost;
        let worst = points.iter().map(distance).fold(0.0, f64::max);
        Some(Self { worst, ..line })
    }

    /// The cost at a size.
    pub(super) fn at(&self, size: f64) -> f64 {
        self.fixed + self.per_unit * size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_is_found_exactly() {
        let slope = Slope::fit(&[(1.0, 5.0), (2.0, 8.0), (4.0, 14.0)]).unwrap();
        assert!((slope.fixed - 2.0).abs() < 1e-12 && (slope.per_unit - 3.0).abs() < 1e-12);
        assert!(slope.worst < 1e-12);
        assert!((slope.at(100.0) - 302.0).abs() < 1e-9);
    }

    #[test]
    fn costs_are_never_negative() {
        let convex = Slope::fit(&[(1.0, 1.0), (2.0, 4.0), (4.0, 16.0)]).unwrap();
        assert_eq!(convex.fixed, 0.0);
        assert!(convex.per_unit > 0.0 && convex.worst > 0.3);
        let falling = Slope::fit(&[(1.0, 3.0), (2.0, 2.0), (4.0, 1.0)]).unwrap();
        assert!(falling.per_unit >= 0.0 && falling.at(1e9) > 0.0);
        assert_eq!(Slope::fit(&[(1.0, 1.0)]), None);
        assert_eq!(Slope::fit(&[(1.0, 1.0), (2.0, 0.0)]), None);
    }
}
