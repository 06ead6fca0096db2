//! How the kernels of the dot interaction are cut into blocks.

/// Shared memory that every device gives a block unasked, in values.
const MOST_SHARED: usize = 48 * 1024 / 4;
/// What a block of the forward kernel takes at most: with half of what it could have, twice as many
/// run side by side.
const MOST_SHARED_FORWARD: usize = MOST_SHARED / 2;
/// Columns that a block takes at a time at least, where a row has so many.
const FEWEST_COLUMNS: usize = 8;
/// Threads of a block that has little to do, and of one that has much.
const THREADS: [usize; 2] = [128, 256];

/// The launch of one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// Samples of a block.
    pub(crate) samples: usize,
    /// Columns of the dimension that are in shared memory at once.
    pub(crate) columns: usize,
    pub(crate) threads: usize,
    /// Values of shared memory.
    pub(crate) shared: usize,
}

impl Tiling {
    /// For `interaction_forward`; `None` where a sample's features are too many for a block.
    pub(crate) fn forward(features: usize, dim: usize) -> Option<Self> {
        let columns = columns(dim, MOST_SHARED_FORWARD / features)?;
        let side = features.div_ceil(2);
        // The kernel makes the distance of two features odd.
        Self::fit(
            side * (side + 1) / 2,
            features * (columns | 1),
            columns,
            MOST_SHARED_FORWARD,
        )
    }

    /// For `interaction_backward`; `None` where a sample's features and pairs are too many for a
    /// block.
    pub(crate) fn backward(features: usize, dim: usize) -> Option<Self> {
        let coefficients = features * features.next_multiple_of(4);
        let room = MOST_SHARED.checked_sub(coefficients)? / features;
        let columns = columns(dim, room)?;
        Self::fit(
            features.div_ceil(4) * columns,
            coefficients + features * columns,
            columns,
            MOST_SHARED,
        )
    }

    /// As many samples as keep the smaller number of threads busy, where a sample gives a block
    /// `items` pieces of work and takes `shared` values.
    fn fit(items: usize, shared: usize, columns: usize, most: usize) -> Option<Self> {
        let samples = (THREADS[0] / items).clamp(1, (most / shared).max(1));
        (shared <= most).then_some(Self {
            samples,
            columns,
            threads: THREADS[usize::from(items > THREADS[0])],
            shared: samples * shared,
        })
    }
}

/// Equal parts of `dim` that fit into `room` columns: all, or whole warps, or as many as there is
/// room for.
fn columns(dim: usize, room: usize) -> Option<usize> {
    const WARP: usize = 32;
    // The odd distance of the forward kernel may take one column more.
    let room = room.checked_sub(1)?;
    if dim <= room {
        return Some(dim);
    }
    let part = dim.div_ceil(dim.div_ceil(room.max(1)));
    let whole = part.next_multiple_of(WARP);
    let columns = if whole <= room { whole } else { room };
    (columns >= FEWEST_COLUMNS).then_some(columns)
}

/// Whether the kernels can take a model of so many features.
pub(crate) fn fits(features: usize, dim: usize) -> bool {
    Tiling::forward(features, dim).is_some() && Tiling::backward(features, dim).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_a_hundred_tables_fit_at_every_width() {
        for features in 2..=101 {
            for dim in 1..=512 {
                let forward = Tiling::forward(features, dim).expect("a tiling");
                let backward = Tiling::backward(features, dim).expect("a tiling");
                let stride = forward.columns | 1;
                assert_eq!(forward.shared, forward.samples * features * stride);
                let coefficients = features.next_multiple_of(4);
                assert_eq!(
                    backward.shared,
                    backward.samples * features * (coefficients + backward.columns)
                );
                for tiling in [forward, backward] {
                    assert!(
                        tiling.shared <= MOST_SHARED && tiling.samples > 0,
                        "{tiling:?}"
                    );
                    assert!((1..=dim).contains(&tiling.columns), "{tiling:?}");
                }
            }
        }
        assert!(fits(2, 4096) && !fits(200, 16));
    }

    #[test]
    fn the_kaggle_shape_takes_a_sample_a_block_and_a_small_tower_many() {
        let kaggle = Tiling::forward(27, 16).expect("a tiling");
        assert_eq!(
            (kaggle.samples, kaggle.columns, kaggle.threads),
            (1, 16, 128)
        );
        let tower = Tiling::forward(4, 16).expect("a tiling");
        assert!(tower.samples > 16, "{tower:?}");
    }
}
