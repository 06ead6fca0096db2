//! Line charts as SVG files, of reports and of anything else.

mod axis;
mod chart;
mod curves;

pub use axis::{Axis, Scale};
pub use chart::{LineChart, Series};
