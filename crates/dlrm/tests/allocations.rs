//! A pass that has seen a batch allocates nothing for the next one.

use dlrm::{DlrmConfig, Interaction, Network, Pass, SliceSize};
use testing::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_second_step_allocates_nothing() -> Result<(), Box<dyn std::error::Error>> {
    // Layers of width 1 need no matrix product, whose library packs into buffers of its own. One thread, so that all
    // slices run where allocations are counted.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    for interaction in [Interaction::Dot { with_self: false }, Interaction::Cat] {
        let slice = SliceSize::Fixed(2);
        let config = DlrmConfig {
            tables: 5,
            dim: 1,
            bottom: vec![3, 1, 1],
            top: vec![1, 1],
            interaction,
            slice,
            ..DlrmConfig::default()
        };
        let network = Network::new(config)?;
        let batch = 41;
        let parameters = vec![0.25; network.parameter_count()];
        let (dense, rows, output_grad) = (
            vec![0.5; batch * 3],
            vec![0.125; batch * 5],
            vec![1.0; batch],
        );
        let (mut output, mut rows_grad, mut dense_grad) =
            (vec![0.0; batch], vec![0.0; batch * 5], vec![0.0; batch * 3]);
        let mut pass = Pass::default();
        let counts = pool.install(|| -> dlrm::Result<[usize; 2]> {
            let mut step = || -> dlrm::Result<usize> {
                let (done, allocated) = Counting::on_thread(|| {
                    network.forward(&parameters, &dense, &rows, &mut pass, &mut output)?;
                    let grad = Some(dense_grad.as_mut_slice());
                    network.backward(
                        &parameters,
                        &dense,
                        &rows,
                        &output_grad,
                        &mut pass,
                        &mut rows_grad,
                        grad,
                    )
                });
                done?;
                Ok(allocated.count)
            };
            Ok([step()?, step()?])
        })?;
        assert!(counts[0] > 0);
        assert_eq!(counts[1], 0);
    }
    Ok(())
}
