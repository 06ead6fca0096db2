//! `compare` as users run it, where nothing is measured.

use std::path::Path;
use std::process::{Command, Output};

fn compare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(arguments)
        .output()
        .expect("the program")
}

#[test]
fn the_page_on_performance_shows_what_was_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recorded = folder.join("compare/recorded.json");
    let page = folder.join("../docs/performance.md");
    let shown = std::fs::read_to_string(page).expect("the page");
    let copies = tempfile::tempdir().expect("a folder");
    let copy = copies.path().join("page.md");
    std::fs::write(&copy, &shown).expect("a copy");
    let [recorded, copied] = [&recorded, &copy].map(|path| path.to_str().expect("Unicode"));
    let output = compare(&["--from-json", "--json", recorded, "--write-doc", copied]);
    assert!(output.status.success(), "{output:?}");
    let made = std::fs::read_to_string(&copy).expect("the copy");
    assert!(
        made == shown,
        "write the page anew: compare --from-json --json benches/compare/recorded.json --write-doc docs/performance.md"
    );
}

#[test]
fn what_cannot_be_done_is_said_with_a_remedy() {
    let error = |arguments: &[&str]| {
        let output = compare(arguments);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(error(&["--only", "nothing"]).contains("leave --only out"));
    assert!(error(&["--from-json", "--json", "missing.json"]).contains("missing.json"));
    let python = ["--only", "dlrm-infer-1", "--python", "/no/such/python"];
    assert!(error(&python).contains("--without-pytorch"));
    assert!(error(&["--seconds", "0"]).contains("positive number"));
}
