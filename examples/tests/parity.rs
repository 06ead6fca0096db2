//! Every recorded DLRM case passes through the training step.

use std::path::PathBuf;

use examples::parity::{Outcome, replay};

#[test]
fn real_data_every_dlrm_case_passes() {
    let Some(shared) = std::env::var_os("RECSYS_SHARED") else {
        println!("skipped: set RECSYS_SHARED to the folder that holds `golden`");
        return;
    };
    let golden = PathBuf::from(shared).join("golden");
    let mut cases = 0;
    for entry in std::fs::read_dir(&golden).unwrap() {
        let case = entry.unwrap().path();
        if !case.join("case.json").exists()
            || !case
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("dlrm")
        {
            continue;
        }
        let outcome = replay(&case).unwrap();
        assert!(
            matches!(outcome, Outcome::Pass(_)),
            "{}: {outcome:?}",
            case.display()
        );
        cases += 1;
    }
    assert!(cases >= 7, "{cases} cases in {}", golden.display());
}

#[test]
fn a_folder_without_a_case_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = replay(folder.path()).unwrap_err();
    assert!(
        format!("{error:#}").contains("is no parity case: cannot read"),
        "{error:#}"
    );
}
