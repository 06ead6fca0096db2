//! Data set cards: the built-in ones are complete, overrides win, mistakes are located.

use fae_run::Card;

#[test]
fn every_builtin_card_parses_and_has_a_preset() {
    for name in Card::names() {
        let card = Card::builtin(name).unwrap();
        assert_eq!(card.dataset.name.as_deref(), Some(name));
        assert!(card.dataset.terms.is_some());
        assert!(
            card.model.dim.is_some()
                && card.model.bottom_mlp.is_some()
                && card.model.top_mlp.is_some()
        );
        assert!(card.training.learning_rate.is_some() && card.training.batch_size.is_some());
    }
}

#[test]
fn the_kaggle_card_has_the_counts_of_the_whole_file() {
    let card = Card::builtin("criteo-kaggle").unwrap();
    assert_eq!(card.dataset.rows, Some(45_840_617));
    let categories = card.columns.categories.unwrap();
    assert_eq!(categories.len(), card.columns.categorical.unwrap().len());
    assert_eq!(categories.iter().sum::<u64>(), 33_762_577);
    assert_eq!(card.columns.dense.unwrap().len(), 13);
}

#[test]
fn an_overlay_replaces_what_it_has_and_keeps_the_rest() {
    let own = Card::parse("[training]\nbatch_size = 7\n", "own.toml").unwrap();
    let preset = Card::builtin("criteo-kaggle").unwrap();
    let card = preset.clone().overlay(own);
    assert_eq!(card.training.batch_size, Some(7));
    assert_eq!(card.training.learning_rate, preset.training.learning_rate);
    assert_eq!(card.files, preset.files);
}

#[test]
fn a_card_survives_being_written_and_read() {
    for name in Card::names() {
        let card = Card::builtin(name).unwrap();
        assert_eq!(
            Card::parse(&toml::to_string(&card).unwrap(), name).unwrap(),
            card
        );
    }
}

#[test]
fn mistakes_name_file_line_and_what_is_allowed() {
    for (text, expected) in [
        (
            "[training]\n\nlearning_rat = 1.0\n",
            ["own.toml, line 3", "learning_rat", "learning_rate"],
        ),
        (
            "[model]\ninteraction = \"dott\"\n",
            ["own.toml, line 2", "dott", "cat"],
        ),
        (
            "[model]\nbottom_mlp = \"13-x\"\n",
            ["own.toml, line 2", "13-x", "512-256-1"],
        ),
        (
            "[training]\nbatch_size = -1\n",
            ["own.toml, line 2", "batch_size", "-1"],
        ),
        ("[trainin]\n", ["own.toml, line 1", "trainin", "training"]),
    ] {
        let message = Card::parse(text, "own.toml").unwrap_err().to_string();
        for part in expected {
            assert!(message.contains(part), "`{message}` does not name `{part}`");
        }
    }
    let message = Card::builtin("kagle").unwrap_err().to_string();
    assert!(
        message.contains("kagle") && message.contains("criteo-kaggle"),
        "{message}"
    );
}
