//! Every recorded case passes through the training step.

use std::path::PathBuf;

use examples::parity::{Outcome, ReplayOptions, replay};
use trainer::Placement;

#[test]
fn real_data_every_case_passes_on_every_placement() {
    let Some(shared) = std::env::var_os("RECSYS_SHARED") else {
        println!("skipped: set RECSYS_SHARED to the folder that holds `golden`");
        return;
    };
    let golden = PathBuf::from(shared).join("golden");
    let mut cases = 0;
    for entry in std::fs::read_dir(&golden).unwrap() {
        let case = entry.unwrap().path();
        if !case.join("case.json").exists() {
            continue;
        }
        for placement in Placement::ALL {
            for hot_share in [0.0, 0.3, 1.0] {
                let options = ReplayOptions {
                    placement,
                    hot_share,
                };
                let outcome = replay(&case, &options).unwrap();
                assert!(
                    matches!(outcome, Outcome::Pass(_)),
                    "{} on {placement}, {hot_share} hot: {outcome:?}",
                    case.display()
                );
            }
        }
        cases += 1;
    }
    assert!(cases >= 9, "{cases} cases in {}", golden.display());
}

#[test]
fn a_folder_without_a_case_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = replay(folder.path(), &ReplayOptions::default()).unwrap_err();
    assert!(
        format!("{error:#}").contains("is no parity case: cannot read"),
        "{error:#}"
    );
}
