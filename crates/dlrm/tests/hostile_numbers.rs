//! Public constructors with numbers that nobody means.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use candle_core::Device;
use dlrm::{Dlrm, DlrmConfig, Interaction, SliceSize};
use proptest::prelude::*;

/// Small numbers, and those around the limits of the types.
fn number() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..20usize,
        Just(usize::MAX),
        Just(usize::MAX - 1),
        Just(1 << 63),
        Just((1 << 63) + 1),
        Just(1 << 62),
        Just(1 << 32),
        Just(isize::MAX as usize),
    ]
}

fn config() -> impl Strategy<Value = DlrmConfig> {
    let widths = || prop::collection::vec(number(), 0..4);
    let interaction = prop_oneof![
        Just(Interaction::Cat),
        any::<bool>().prop_map(|with_self| Interaction::Dot { with_self }),
    ];
    (
        number(),
        number(),
        widths(),
        widths(),
        interaction,
        number(),
    )
        .prop_map(
            |(tables, dim, bottom, top, interaction, slice)| DlrmConfig {
                tables,
                dim,
                bottom,
                top,
                interaction,
                slice: SliceSize::Fixed(slice),
                ..DlrmConfig::default()
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_configuration_panics(mut config in config(), fits in any::<bool>()) {
        if fits && let Some(last) = config.bottom.last_mut() {
            *last = config.dim;
        }
        config.interaction_width();
        config.features();
        config.dense_features();
        config.output_width();
        let valid = config.validate();
        // What is valid may still be far too large for this machine.
        if valid.is_err() || config.parameter_count().unwrap() < 1 << 16 {
            prop_assert_eq!(Dlrm::new(config, 1, &Device::Cpu).is_ok(), valid.is_ok());
        }
    }
}

/// `features * (features - 1)` overflowed.
#[test]
fn the_interaction_width_of_an_unvalidated_config_does_not_overflow() {
    for tables in [0, usize::MAX, usize::MAX - 1, 1 << 63] {
        for interaction in [
            Interaction::Cat,
            Interaction::Dot { with_self: false },
            Interaction::Dot { with_self: true },
        ] {
            let config = DlrmConfig {
                tables,
                dim: usize::MAX,
                interaction,
                ..DlrmConfig::default()
            };
            assert_eq!(config.interaction_width(), usize::MAX);
            assert!(config.validate().is_err());
        }
    }
}

#[test]
fn a_model_that_no_memory_holds_is_an_error_and_does_not_abort() {
    let config = DlrmConfig {
        top: vec![1 << 50, 1],
        ..DlrmConfig::default()
    };
    let error = Dlrm::new(config, 1, &Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("cannot allocate"), "{error}");
}
