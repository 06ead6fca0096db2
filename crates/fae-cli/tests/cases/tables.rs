//! Tables: CSV, Parquet, Arrow.

use recsys_data::packed::PackedDataset;

use crate::Case;

impl Case {
    /// Prepares a table; returns its samples, and the rows of all its tables.
    fn table(&self, mapping: &str, files: &str, name: &str) -> (u64, u64) {
        self.done(&format!(
            "prepare table --mapping {mapping} {files} --out OUT/{name}"
        ));
        let data = PackedDataset::open(self.out(name)).unwrap();
        data.verify().unwrap();
        let samples = recsys_data::Split::ALL.map(|split| data.manifest().rows(split));
        (
            samples.iter().sum(),
            data.schema().table_rows().iter().sum(),
        )
    }

    fn no_table(&self, mapping: &str, file: &str, parts: &[&str]) {
        let command = format!("prepare table --mapping {mapping} --raw {file} --out OUT/refused");
        self.refused(&command, parts);
        assert!(!self.out("refused").exists());
    }

    /// A file of the test's own among the inputs of the case's command.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.out(name);
        std::fs::write(&path, text).unwrap();
        format!("OUT/{name}")
    }
}

#[test]
fn case_02_a_table_without_dense_columns_is_prepared_real_data() {
    let Some(case) = Case::real_data("02-no-dense") else {
        return;
    };
    assert_eq!(case.table("nodense.toml", "--raw base.csv", "x"), (40, 16));
}

#[test]
fn case_04_quotes_that_swallow_lines_real_data() {
    let Some(case) = Case::real_data("04-quotes") else {
        return;
    };
    case.no_table("base.toml", "q_open_pair.csv", &["line 4", "csv.quote"]);
    let rows = |row: usize| {
        format!(
            "{}\t{row}\t{}\t{}\n",
            row % 2,
            ["u", "\"u"][row / 7 % 2],
            row
        )
    };
    let text: String = (0..40).map(rows).collect();
    let file = case.write("quote.tsv", &format!("click\tage\tuser\tad\n{text}"));
    case.no_table("base.toml", &file, &["line 9", "csv.quote = \"\""]);
    let mapping = std::fs::read_to_string(case.inputs.join("base.toml")).unwrap();
    let mapping = case.write("m.toml", &format!("{mapping}[csv]\nquote = \"\"\n"));
    assert_eq!(
        case.table(&mapping, &format!("--raw {file}"), "x"),
        (40, 42)
    );
}

#[test]
fn case_05_too_few_and_too_many_names_of_columns_real_data() {
    let Some(case) = Case::real_data("05-columns-list") else {
        return;
    };
    assert_eq!(case.table("cr_ok.toml", "--raw good.txt", "x"), (60, 462));
    let parts = ["good.txt, line 1", "40 fields", "csv.columns names 39"];
    case.no_table("cr_short.toml", "good.txt", &parts);
    let mapping = std::fs::read_to_string(case.inputs.join("cr_ok.toml")).unwrap();
    let long = mapping.replace("columns=[", "columns=[\"more\",");
    assert_ne!(long, mapping);
    let long = case.write("cr_long.toml", &long);
    case.no_table(&long, "good.txt", &["line 1", "csv.columns names 41"]);
}

#[test]
fn case_12_integers_with_and_without_a_point_real_data() {
    let Some(case) = Case::real_data("12-int-float-ids") else {
        return;
    };
    let files = "--train tr_float.csv --test te_int.csv";
    assert_eq!(case.table("adint.toml", files, "x"), (50, 10));
    let command = format!("prepare table --mapping adtext.toml {files} --out OUT/y");
    case.refused(
        &command,
        &["te_int.csv, line 2", "type = \"integer\"", "merge_numbers"],
    );
}

#[test]
fn case_16_types_of_parquet_and_arrow_real_data() {
    let Some(case) = Case::real_data("16-parquet") else {
        return;
    };
    for (mapping, file) in [
        ("base.toml", "ad_bool.parquet"),
        ("text.toml", "ad_bool.parquet"),
        ("base.toml", "ad_float_nan.parquet"),
        ("text.toml", "ad_float_nan.parquet"),
        ("base.toml", "age_f16.parquet"),
        ("base.toml", "age_str.parquet"),
        ("base.toml", "stream.arrow"),
    ] {
        let name = format!("{mapping}-{file}");
        let (samples, _) = case.table(mapping, &format!("--raw {file}"), &name);
        assert_eq!(samples, 30, "{name}");
    }
    case.no_table("base.toml", "dupcol.parquet", &["two columns named"]);
}

#[test]
fn case_18_movie_lens_real_data() {
    let Some(case) = Case::real_data("18-movielens") else {
        return;
    };
    let parts = ["line 2, column rating", "is no label", "at_least = 4"];
    case.no_table("ml1m.toml", "ml1m.dat", &parts);
    let mapping = std::fs::read_to_string(case.inputs.join("ml1m.toml")).unwrap();
    let label = "label = { column = \"rating\", at_least = 4 }";
    let mapping = mapping.replace("label = \"rating\"", label);
    let mapping = case.write("m.toml", &mapping);
    let (samples, _) = case.table(&mapping, "--raw ml1m.dat", "x");
    assert_eq!(samples, 40);
    let work = std::fs::read_to_string(case.inputs.join("ml1m_work.toml")).unwrap();
    let work = case.write("work.toml", &work.replace("label = \"rating\"", label));
    case.table(&work, "--raw ml1m.dat", "y");
    let read = |name| {
        let data = PackedDataset::open(case.out(name)).unwrap();
        format!("{:?}", data.manifest().splits)
    };
    assert_eq!(read("x"), read("y"));
}

#[test]
fn case_19_small_things_in_csv_real_data() {
    let Some(case) = Case::real_data("19-csv-small") else {
        return;
    };
    let (samples, _) = case.table("base.toml", "--raw labelTRUE.csv", "x");
    assert_eq!(samples, 40);
    case.no_table("base.toml", "dup.csv", &["two columns named \"age\""]);
    let ragged = "ragged_short.csv";
    case.no_table("base.toml", ragged, &["line 42: has 2 fields", "names 4"]);
    let printed = case.done(&format!(
        "prepare table --mapping base.toml --raw {ragged} --bad-rows skip --out OUT/skipped"
    ));
    let parts = ["1 × wrong number of fields, first in ragged_short.csv, line 42"];
    assert!(parts.iter().all(|part| printed.contains(part)), "{printed}");
    let spaces = "click, age, user, ad\n0, 75, u5, 3\n1, 77, u4, 2\n";
    let file = case.write("spaces.csv", spaces);
    assert_eq!(
        case.table("base.toml", &format!("--raw {file}"), "y"),
        (2, 4)
    );
    let file = case.write("nanword.csv", "click,age,user,ad\n0,nan,u5,3\n");
    case.no_table("base.toml", &file, &["line 2, column age", "csv.missing"]);
}

#[test]
fn case_20_a_list_that_is_empty_everywhere_real_data() {
    let Some(case) = Case::real_data("20-empty-table") else {
        return;
    };
    assert_eq!(
        case.table("listempty.toml", "--raw allempty.csv", "x"),
        (20, 1)
    );
    case.done("train --data OUT/x --dim 4 --bottom-mlp 1-8-4 --top-mlp 8-1 --threads 1");
}
