//! Public constructors with numbers that nobody means.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use candle_core::Device;
use dlrm::DlrmConfig;
use proptest::prelude::*;
use tbsm::{Inner, Mechanism, SequenceLayer, Tbsm, TbsmConfig};

/// Small numbers, and those around the limits of the types.
fn number() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..6usize,
        Just(usize::MAX),
        Just(1 << 63),
        Just((1 << 63) + 1),
        Just(1 << 40),
        Just(1 << 32),
        Just(isize::MAX as usize),
    ]
}

fn layer() -> impl Strategy<Value = SequenceLayer> {
    prop_oneof![
        number().prop_map(|heads| SequenceLayer::Mha { heads }),
        number().prop_map(|layers| SequenceLayer::Rnn { layers }),
        (
            number(),
            prop::collection::vec(number(), 0..3),
            any::<bool>()
        )
            .prop_map(|(heads, mlp, sequential)| SequenceLayer::Tsl {
                heads,
                inner: Inner::Def,
                mechanism: Mechanism::Mlp,
                mlp,
                sequential,
            }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_configuration_panics(
        history in number(),
        sequence in layer(),
        head in prop::collection::vec(number(), 0..3),
        top in prop::collection::vec(number(), 1..3),
        tables in number(),
    ) {
        let config = TbsmConfig {
            tower: DlrmConfig { tables, top, ..TbsmConfig::default().tower },
            history,
            sequence,
            head: head.into_iter().chain([1]).collect(),
            ..TbsmConfig::default()
        };
        config.context_width();
        config.positions();
        config.vector_width();
        config.spans().take(3).for_each(drop);
        let valid = config.validate();
        let layers = match config.sequence {
            SequenceLayer::Rnn { layers } => layers,
            SequenceLayer::Mha { heads } => heads,
            SequenceLayer::Tsl { heads, .. } => heads,
        };
        // What is valid may still be far too large for this machine.
        if valid.is_err() || layers < 100 && config.parameter_count().unwrap() < 1 << 16 {
            prop_assert_eq!(Tbsm::new(config, 1, &Device::Cpu).is_ok(), valid.is_ok());
        }
    }
}

/// `heads * vector_width` overflowed.
#[test]
fn the_context_width_of_an_unvalidated_config_does_not_overflow() {
    let config = TbsmConfig {
        history: usize::MAX,
        sequence: SequenceLayer::Mha { heads: usize::MAX },
        ..TbsmConfig::default()
    };
    assert_eq!(config.context_width(), usize::MAX);
    assert_eq!(config.positions(), usize::MAX);
    assert!(config.validate().is_err());
}
