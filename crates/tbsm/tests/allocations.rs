//! A pass that has seen a batch allocates nothing for the next one.

use dlrm::SliceSize;
use tbsm::{Inner, Mechanism, Network, Pass, SequenceLayer, TbsmConfig};
use testing::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn steps(config: TbsmConfig, batch: usize) -> tbsm::Result<[usize; 2]> {
    let positions = config.positions();
    let network = Network::new(config)?;
    let parameters = vec![0.25; network.parameter_count()];
    let (dense, rows) = (
        vec![0.5; batch * positions],
        vec![0.125; batch * positions * 48],
    );
    let output_grad = vec![1.0; batch];
    let (mut output, mut rows_grad) = (vec![0.0; batch], vec![0.0; rows.len()]);
    let mut dense_grad = vec![0.0; dense.len()];
    let mut pass = Pass::default();
    let mut step = || -> tbsm::Result<usize> {
        let (done, allocated) = Counting::on_thread(|| {
            network.forward(&parameters, &dense, &rows, &mut pass, &mut output)?;
            let grad = Some(dense_grad.as_mut_slice());
            let rows_grad = &mut rows_grad;
            network.backward(
                &parameters,
                &dense,
                &rows,
                &output_grad,
                &mut pass,
                rows_grad,
                grad,
            )
        });
        done?;
        Ok(allocated.count)
    };
    Ok([step()?, step()?])
}

#[test]
fn the_second_step_allocates_nothing() -> Result<(), Box<dyn std::error::Error>> {
    // One thread, so that all slices run where allocations are counted.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let heads = SequenceLayer::Tsl {
        heads: 3,
        inner: Inner::Ind,
        mechanism: Mechanism::Mul,
        mlp: vec![],
        sequential: true,
    };
    let sequences = [
        TbsmConfig::default().sequence,
        heads,
        SequenceLayer::Mha { heads: 2 },
        SequenceLayer::Rnn { layers: 2 },
    ];
    for sequence in sequences {
        for slice in [SliceSize::Auto, SliceSize::Fixed(2)] {
            let mut config = TbsmConfig {
                sequence: sequence.clone(),
                ..TbsmConfig::default()
            };
            config.tower.slice = slice;
            let counts = pool.install(|| steps(config, 41))?;
            assert!(counts[0] > 0);
            assert_eq!(counts[1], 0, "{sequence:?}");
        }
    }
    Ok(())
}
