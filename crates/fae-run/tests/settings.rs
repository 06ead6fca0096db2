//! Settings: what a card leaves open is decided, and what makes no sense is refused.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::path::Path;

use embedding_store::{RowFormat, Side};
use fae_profiler::Strategy;
use fae_run::{Budget, Card, Placing, Run, ScheduleName};
use recsys_data::SplitRows;
use recsys_data::generate::{Planted, PlantedOptions, write_packed};
use recsys_data::packed::PackedDataset;
use trainer::Placement;

fn data(folder: &Path) -> PackedDataset {
    let options = PlantedOptions {
        samples: 700,
        ..PlantedOptions::default()
    };
    let planted = Planted::new(options.with_scale(0.02)).unwrap();
    let rows = SplitRows::time_ordered(700);
    let out = folder.join("data");
    write_packed(&planted, planted.options(), rows, &out, false, &()).unwrap()
}

fn card(text: &str) -> Card {
    let small = "[model]\nbottom_mlp = \"13-16\"\ntop_mlp = \"16-1\"\n";
    let small = Card::parse(small, "small.toml").unwrap();
    small.overlay(Card::parse(text, "own.toml").unwrap())
}

fn refused(data: &PackedDataset, text: &str) -> String {
    match Run::new(data, &card(text)) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn settings_that_a_run_has_no_use_for_are_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let shuffle_alone = ["rate_increase = 3.0", "rate_decrease = 0.3", "patience = 2"]
        .into_iter()
        .chain([
            "rate_floor = 2.0",
            "rate_ceiling = 50.0",
            "swap_samples = 9",
        ]);
    for setting in shuffle_alone {
        let name = setting.split(' ').next().unwrap();
        for schedule in ["interleave", "cold-hot", "hot-cold", "original"] {
            let text = format!(
                "[placement]\nplacement = \"fae\"\n[schedule]\nschedule = \"{schedule}\"\n{setting}\n"
            );
            assert_eq!(
                refused(&data, &text),
                format!(
                    "`{name}` belongs to the schedule shuffle; set `schedule` to it, or leave \
                     `{name}` out"
                )
            );
        }
    }
    for setting in ["rate = 20.0", "first = \"hot\""] {
        let name = setting.split(' ').next().unwrap();
        let text = format!("[placement]\nplacement = \"mixed\"\n[schedule]\n{setting}\n");
        let expected = format!("`{name}` belongs to the schedule shuffle or interleave;");
        assert!(refused(&data, &text).starts_with(&expected));
    }
    for (text, expected) in [
        (
            "[placement]\nplacement = \"cpu\"\ndevice = \"cuda\"\n",
            "`device` is cuda, and placement cpu uses no device; set `placement` to cpu-device, fae \
             or mixed, or leave the device out",
        ),
        (
            "[placement]\nreplicas = 4\n",
            "`replicas` stands for several devices, and placement cpu uses no device; set \
             `placement` to cpu-device, fae or mixed, or leave it out",
        ),
        (
            "[hot]\nbudget = \"10%\"\n",
            "`budget` is about hot rows, and placement cpu in the original order has none; set \
             `placement` to fae or mixed, or leave it out",
        ),
        (
            "[placement]\nplacement = \"cpu-device\"\n[hot]\ndevice_rows = \"bf16\"\n",
            "`device_rows` bf16 is about hot rows on a device, and placement cpu-device has none; \
             set `placement` to fae or mixed, or leave it out",
        ),
        (
            "[placement]\nplacement = \"mixed\"\nlookahead = 5\n",
            "`lookahead` is 5; the store keeps the rows of 4 coming batches: give at most that",
        ),
        (
            "[training]\nloss = \"wbce\"\n",
            "the loss `wbce` needs the weights of both labels: set `loss_weights` to 0.5,1.5",
        ),
        (
            "[model]\nkind = \"tbsm\"\n",
            "the samples are not sequences: train the model `dlrm` on them",
        ),
        (
            "[model]\nbottom_mlp = \"7-16\"\n",
            "the bottom MLP takes 7 dense features, the data set has 13: start `bottom_mlp` with 13",
        ),
    ] {
        assert_eq!(refused(&data, text), expected);
    }
}

#[test]
fn a_hot_set_goes_with_the_rows_that_it_was_chosen_for_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let mixed = "[placement]\nplacement = \"mixed\"\n[hot]\n";
    let chosen = Run::new(&data, &card(&format!("{mixed}budget = \"25%\"\n"))).unwrap();
    let path = folder.path().join("hotset.json");
    chosen.hot.unwrap().set.save(&path).unwrap();
    let with = |more: &str| format!("{mixed}hot_set = {path:?}\n{more}\n");
    assert!(Run::new(&data, &card(&with(""))).is_ok());
    for setting in [
        "budget = \"1MiB\"",
        "strategy = \"frequency\"",
        "sample = 0.5",
    ] {
        let name = setting.split(' ').next().unwrap();
        assert_eq!(
            refused(&data, &with(setting)),
            format!(
                "`{name}` decides which rows are hot, and `hot_set` names rows that were chosen \
                 before; leave one of them out"
            )
        );
    }
    let said = refused(&data, &with("[training]\noptimizer = \"adagrad\""));
    assert!(
        said.starts_with("the hot set was chosen for rows of 64 bytes")
            && said.contains("take 128: its rows would take 2 times its budget on a device"),
        "{said}"
    );
    // Half the bytes are as wrong: the set could have been twice as large.
    let said = refused(&data, &with("device_rows = \"bf16\""));
    assert!(
        said.contains("take 32: its rows would take 0.5 times"),
        "{said}"
    );
}

#[test]
fn a_placement_has_its_schedule_and_comparisons_leave_out_what_is_for_others() {
    let schema = recsys_data::Schema::default();
    let fae = card("[placement]\nplacement = \"fae\"\n[schedule]\nfirst = \"hot\"\n");
    let placing = Placing::new(&fae, &schema).unwrap();
    assert_eq!(placing.schedule, ScheduleName::Shuffle);
    assert_eq!(placing.shuffle.first, Side::Hot);
    for placement in Placement::ALL {
        let placing = Placing::new(&fae.on(placement), &schema).unwrap();
        assert_eq!(placing.placement, placement);
        let split = placing.schedule != ScheduleName::Original;
        assert_eq!(split, placement == Placement::Fae);
    }
}

#[test]
fn a_run_that_is_placed_anew_has_the_rows_that_were_chosen_or_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let card = card("[hot]\nbudget = \"25%\"\n");
    let fae = Run::new(&data, &card.on(Placement::Fae)).unwrap();
    let mixed = fae.placed(&card.on(Placement::Mixed)).unwrap();
    assert!(mixed.hot.is_some());
    let cpu = fae.placed(&card.on(Placement::Cpu)).unwrap();
    assert!(cpu.hot.is_none());
    let refused = |run: &Run<'_>, card: &Card| match run.placed(card) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    };
    let said = refused(&cpu, &card.on(Placement::Mixed));
    assert!(said.contains("no hot rows were chosen"), "{said}");
    let mut rounded = card.on(Placement::Mixed);
    rounded.hot.device_rows = Some(RowFormat::Bf16);
    let said = refused(&fae, &rounded);
    assert!(said.contains("take 32"), "{said}");
}

#[test]
fn a_card_holds_every_setting() {
    let text = "[hot]\nbudget = \"1.5GiB\"\nstrategy = { share = 1e-6 }\n\
                [schedule]\nschedule = \"hot-cold\"\n[training]\nloss_weights = [0.5, 1.5]\n";
    let card = Card::parse(text, "own.toml").unwrap();
    assert_eq!(card.hot.budget, Some(Budget::Bytes(3 << 29)));
    assert_eq!(card.hot.strategy, Some(Strategy::Share(1e-6)));
    assert_eq!(card.schedule.schedule, Some(ScheduleName::HotCold));
    let again = Card::parse(&toml::to_string(&card).unwrap(), "again.toml").unwrap();
    assert_eq!(again, card);
    let error = Card::parse("[hot]\nbudget = \"lots\"\n", "own.toml").unwrap_err();
    assert!(error.to_string().contains("give bytes such as 256MiB"));
}

fn encodings(card: &str, rows: &[u64]) -> Result<Vec<embedding_store::Encoding>, String> {
    let tables = rows.iter().map(|&rows| recsys_data::TableSchema {
        name: format!("C{rows}"),
        rows,
    });
    let schema = recsys_data::Schema {
        tables: tables.collect(),
        ..recsys_data::Schema::default()
    };
    let card = Card::parse(&format!("[model]\ndim = 16\n{card}"), "card").unwrap();
    let specs = card
        .table_specs(&schema)
        .map_err(|error| error.to_string())?;
    Ok(specs.into_iter().map(|spec| spec.encoding).collect())
}

#[test]
fn large_tables_are_made_smaller_as_the_original_does() {
    use embedding_store::{Combine, Encoding};
    let rows = [3, 200, 201, 100_000];
    assert_eq!(encodings("", &rows).unwrap(), [Encoding::Full; 4]);
    let parts = Encoding::QuotientRemainder {
        collisions: 4,
        combine: Combine::Add,
    };
    let card = "qr_collisions = 4\nqr_operation = \"add\"";
    let full = Encoding::Full;
    assert_eq!(encodings(card, &rows).unwrap(), [full, full, parts, parts]);
    let card = format!("{card}\nqr_threshold = 201");
    assert_eq!(encodings(&card, &rows).unwrap(), [full, full, full, parts]);

    // md_solver(torch.tensor([3, 200, 201, 100000]), 0.3, d0=16) gives [16, 5, 5, 1]; rounded [16,
    // 4, 4, 1].
    let dim = |dim| Encoding::MixedDimension { dim };
    let card = "md_temperature = 0.3";
    assert_eq!(
        encodings(card, &rows).unwrap(),
        [full, full, dim(5), dim(1)]
    );
    let card = format!("{card}\nmd_threshold = 0\nmd_round_dims = true");
    assert_eq!(
        encodings(&card, &rows).unwrap(),
        [dim(16), dim(4), dim(4), dim(1)]
    );

    for (card, part) in [
        ("qr_collisions = 4\nmd_temperature = 0.3", "one way"),
        ("qr_threshold = 4", "needs `qr_collisions`"),
        ("md_round_dims = true", "needs `md_temperature`"),
        ("qr_collisions = 0", "at least 1"),
        ("md_temperature = 1.5", "from 0 to 1"),
    ] {
        let message = encodings(card, &rows).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
}
