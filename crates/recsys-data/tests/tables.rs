//! Tables as users have them: labels, separators, spaces, bad rows, dense values that are
//! transformed.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod criteo_text;

use criteo_text::{Workplace, samples};
use recsys_data::exchange::{
    ForeignCut, ForeignIds, ForeignParts, ImportForeign, ImportFormat, ImportOptions, ImportReport,
    TableMapping,
};
use recsys_data::packed::PackedDataset;
use recsys_data::text::BadRows;
use recsys_data::vocabulary::Category;
use recsys_data::{Batch, Result, Split};

fn options(place: &Workplace, mapping: &str, files: &[&str]) -> ImportOptions {
    let format = ImportFormat::Table(TableMapping::parse(mapping, "m.toml").unwrap());
    let parts = ForeignParts::Named {
        train: files.iter().map(|file| place.path(file)).collect(),
        validation: Vec::new(),
        test: Vec::new(),
    };
    ImportOptions::new(format, parts, place.path("out"))
}

/// The training samples of a table and the report of its import.
fn import(options: &ImportOptions) -> Result<(Batch, ImportReport)> {
    let report = ImportForeign::new(options.clone()).run(&())?;
    PackedDataset::open(&options.out).unwrap().verify().unwrap();
    Ok((samples(&options.out, Split::Train), report))
}

fn samples_of(mapping: &str, text: &str) -> Batch {
    let place = Workplace::new();
    place.file("t.csv", text);
    import(&options(&place, mapping, &["t.csv"])).unwrap().0
}

fn problem_of(mapping: &str, text: &str) -> String {
    let place = Workplace::new();
    place.file("t.csv", text);
    let error = import(&options(&place, mapping, &["t.csv"])).unwrap_err();
    assert_eq!(place.names(), ["t.csv"]);
    error.to_string()
}

#[test]
fn labels_are_truth_values_thresholds_or_names() {
    let labels = |label: &str, rows: &str| {
        let mapping = format!("label = {label}\ndense = [\"x\"]\n");
        samples_of(&mapping, &format!("y,x\n{rows}")).label
    };
    let rows = "TRUE,1\nfalse,1\nT,1\nf,1\nYes,1\nno,1\n1,1\n0.25,1\n";
    assert_eq!(
        labels("\"y\"", rows),
        [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.25]
    );
    let least = "{ column = \"y\", at_least = 4 }";
    assert_eq!(
        labels(least, "4,1\n3.5,1\n5,1\n-1,1\n"),
        [1.0, 0.0, 1.0, 0.0]
    );
    let names = "{ column = \"y\", positive = [\"buy\", \"cart\"], negative = [\"view\"] }";
    assert_eq!(labels(names, "buy,1\nview,1\ncart,1\n"), [1.0, 0.0, 1.0]);
    let signs = "{ column = \"y\", positive = [1], negative = [-1] }";
    assert_eq!(labels(signs, "1,1\n-1,1\n1.0,1\n"), [1.0, 0.0, 1.0]);
    let rest = "{ column = \"y\", positive = [\"click\"] }";
    assert_eq!(labels(rest, "click,1\nview,1\nskip,1\n"), [1.0, 0.0, 0.0]);
    for (label, rows, problem) in [
        (
            names,
            "buy,1\nfav,1\n",
            "line 3, column y: \"fav\" is neither",
        ),
        (least, "five,1\n", "line 2, column y: \"five\" is no label"),
        ("\"y\"", "3,1\n", "at_least = 4"),
        (
            rest,
            ",1\n",
            "line 2, column y: a missing value is no label",
        ),
    ] {
        let mapping = format!("label = {label}\ndense = [\"x\"]\n");
        let message = problem_of(&mapping, &format!("y,x\n{rows}"));
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn separators_spaces_quotes_and_line_ends_are_those_of_users() {
    const COLUMNS: &str =
        "label = \"y\"\ndense = [\"x\"]\ncategorical = [{ column = \"c\", type = \"text\" }]\n";
    let expected = samples_of(COLUMNS, "y,x,c\n1,2,a\n0,3,b b\n1,4,a\n");
    for (csv, text) in [
        ("", "y, x, c\n1, 2, a\n0 , 3,  b b \n1,4,\"a\"\n"),
        ("", "y,x,c\r\n1,2,a\r\n0,3,\"b b\"\r\n1,4,a"),
        ("", "y,x,c\r1,2,a\r0,3,b b\r\r1,4,a\r"),
        ("", "\u{feff}y,\"x\",c\n1,2,a\n\n0,3,b b\n1,4, \"a\" \n"),
        (
            "separator = \"::\"",
            "y::x::c\n1::2::a\n0::3::b b\n1::4::a\n",
        ),
        (
            "separator = \"\\t|\\t\"",
            "y\t|\tx\t|\tc\n1\t|\t2\t|\ta\n0\t|\t3\t|\tb b\n1\t|\t4\t|\ta\n",
        ),
        ("separator = \"¦\"", "y¦x¦c\n1¦2¦a\n0¦3¦b b\n1¦4¦a\n"),
        ("separator = \" \"", "y x c\n1 2 a\n0 3 \"b b\"\n1 4 a\n"),
        ("quote = \"'\"", "y,x,c\n1,2,'a'\n0,3,'b b'\n1,4,a\n"),
        (
            "columns = [\"y\", \"_\", \"x\", \"c\", \"_\"]",
            "1,,2,a,7\n0,,3,b b,8\n1,,4,a,9\n",
        ),
        (
            "multiline = true",
            "y,z,x,c\n1,\"two\nlines\",2,a\n0,\"a \"\"b\"\"\n\n,\",3,b b\n1,,4,a\n",
        ),
    ] {
        let mapping = format!("{COLUMNS}[csv]\n{csv}\n");
        assert_eq!(samples_of(&mapping, text), expected, "{csv}: {text:?}");
    }
    // Quotes that are text, in a category of which they are a part.
    let mapping = format!("{COLUMNS}[csv]\nquote = \"\"\n");
    let text = "y,x,c\n1,2,\"a\n0,3,\"b b\n1,4,\"a\n";
    assert_eq!(samples_of(&mapping, text), expected);
}

#[test]
fn a_line_longer_than_the_buffer_and_one_at_its_border_are_read() {
    const MAPPING: &str = "label = \"y\"\ndense = [\"x\"]\n";
    // Lines of many lengths, so that line ends fall everywhere around the reads of 1 MiB.
    let mut text = "y,x,z\n".to_owned();
    let rows = 3_000;
    for row in 0..rows {
        text += &format!("{},{row},{}\r\n", row % 2, "z".repeat(row * 7 % 1_013));
    }
    let batch = samples_of(MAPPING, &text);
    assert!(
        batch
            .dense
            .iter()
            .copied()
            .eq((0..rows).map(|row| row as f32))
    );
    let fitting = format!("y,x,z\n1,5,{}\n0,6,\n", "z".repeat((1 << 20) - 4));
    assert_eq!(samples_of(MAPPING, &fitting).dense, [5.0, 6.0]);
    let long = format!("y,x,z\n1,5,{}\n0,6,\n", "z".repeat((1 << 20) - 3));
    assert!(problem_of(MAPPING, &long).contains("line 2: is longer"));
}

#[test]
fn bad_rows_are_left_out_and_counted() {
    const MAPPING: &str = "label = \"y\"\ndense = [\"x\", { column = \"z\", transform = \"standardise\" }]\n\
                           categorical = [\"c\", { column = \"l\", list = true, separator = \"|\" }]\n";
    let place = Workplace::new();
    let good = |row: usize| format!("{},{row},{row},{},{}|7\n", row % 2, row % 3, row % 4);
    let bad = [
        "1,2\n",
        "1,one,1,2,3\n",
        "7,1,1,2,3\n",
        "1,1,1,2,3|x\n",
        "1,1,1,2,3|4|-1\n",
        "1,1,inf,2,3\n",
        "1,1,\"1,2,3\n",
        "1,1,1,\"2\"x,3\n",
        "1,1,1,2,3,4\n",
    ];
    let mut text = "y,x,z,c,l\n".to_owned();
    text += bad[0];
    let mut clean = "y,x,z,c,l\n".to_owned();
    for row in 0..20 {
        text += &good(row);
        text += bad.get(row).unwrap_or(&"");
        clean += &good(row);
    }
    place.file("t.csv", &text);
    place.file("clean.csv", &clean);
    let mut skipping = options(&place, MAPPING, &["t.csv"]);
    let error = ImportForeign::new(skipping.clone()).run(&()).unwrap_err();
    assert!(
        error.to_string().contains("line 2: has 2 fields"),
        "{error}"
    );
    skipping.bad_rows = BadRows::Skip;
    let (batch, report) = import(&skipping).unwrap();
    let kinds: Vec<_> = report
        .skipped
        .iter()
        .map(|kind| (&*kind.kind, kind.rows, kind.line))
        .collect();
    assert_eq!(
        kinds,
        [
            ("wrong number of fields", 3, 2),
            ("dense value", 2, 6),
            ("label", 1, 8),
            ("category", 2, 10),
            ("open quote", 1, 16),
            ("text after a quote", 1, 18),
        ]
    );
    assert_eq!(report.skipped[0].file, "t.csv");
    let manifest = PackedDataset::open(&skipping.out).unwrap();
    let provenance = &manifest.manifest().provenance;
    assert_eq!(provenance.report["skipped"][0]["rows"], 3);
    let of_clean = ImportOptions {
        out: place.path("clean"),
        ..options(&place, MAPPING, &["clean.csv"])
    };
    assert_eq!(import(&of_clean).unwrap().0, batch);
    // Nothing but bad rows.
    place.file("t.csv", "y,x,z,c,l\n9,1,1,1,1\n1\n");
    skipping.out = place.path("none");
    let message = ImportForeign::new(skipping)
        .run(&())
        .unwrap_err()
        .to_string();
    assert!(message.contains("all 2 lines were skipped"), "{message}");
}

#[test]
fn dense_values_are_transformed_in_order() {
    let dense = |transform: &str, values: &str| {
        let mapping =
            format!("label = \"y\"\ndense = [{{ column = \"x\", transform = {transform} }}]\n");
        let rows: String = values
            .split(' ')
            .map(|value| format!("1,{value}\n"))
            .collect();
        samples_of(&mapping, &format!("y,x\n{rows}")).dense
    };
    assert_eq!(dense("\"none\"", "5 -1"), [5.0, -1.0]);
    assert_eq!(dense("\"log1p\"", "5 -1"), [6f32.ln(), 0.0]);
    assert_eq!(dense("{ clip = [0, 10] }", "5 -1 99"), [5.0, 0.0, 10.0]);
    assert_eq!(dense("{ modulo = 24 }", "25 -1 24"), [1.0, 23.0, 0.0]);
    assert_eq!(dense("\"hour\"", "14102100 14102123"), [0.0, 23.0]);
    let clipped = dense("[{ clip = [0, 10] }, \"log1p\"]", "99 -5");
    assert_eq!(clipped, [11f32.ln(), 0.0]);
    // Seconds of 2001: single precision cannot tell them apart, but their differences.
    let seconds = dense("\"standardise\"", "978300760 978300762 978300764");
    let unit = 1.5f32.sqrt();
    assert_eq!(seconds, [-unit, 0.0, unit]);
    assert_eq!(dense("\"standardize\"", "7 7 7"), [0.0; 3]);
    assert_eq!(
        dense("[\"standardise\", { clip = [-1, 1] }]", "1 2 3"),
        [-1.0, 0.0, 1.0]
    );
    let mapping = "label = \"y\"\ndense = [{ column = \"x\", transform = \"hour\" }]\n";
    let message = problem_of(mapping, "y,x\n1,14103224\n");
    assert!(
        message.contains("line 2, column x: \"14103224\" is no time as YYMMDDHH"),
        "{message}"
    );
}

#[test]
fn columns_are_standardised_over_the_training_rows() {
    const MAPPING: &str =
        "label = \"y\"\ndense = [{ column = \"x\", name = \"z\", transform = \"standardise\" }]\n";
    let place = Workplace::new();
    let values: Vec<f64> = (0..20_000)
        .map(|row| f64::from(row * row % 1_009))
        .collect();
    let rows: String = values.iter().map(|value| format!("1,{value}\n")).collect();
    // A missing value is the mean.
    place.file("t.csv", format!("y,x\n{rows}1,\n"));
    let mut options = options(&place, MAPPING, &[]);
    options.parts = ForeignParts::InOrder {
        files: vec![place.path("t.csv")],
        cut: ForeignCut::TimeOrdered,
    };
    import(&options).unwrap();
    let count = 20_001 - 20_001 / 7;
    let train = &values[..count];
    let mean = train.iter().sum::<f64>() / count as f64;
    let squares: f64 = train.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / count as f64).sqrt();
    let written: Vec<f32> = Split::ALL
        .iter()
        .flat_map(|&split| samples(&options.out, split).dense)
        .collect();
    for (value, written) in values.iter().zip(&written) {
        let expected = ((value - mean) / deviation) as f32;
        assert!((written - expected).abs() < 1e-5, "{value}: {written}");
    }
    assert_eq!(written[20_000], 0.0);
    let data = PackedDataset::open(&options.out).unwrap();
    let scale = &data.manifest().provenance.options["standardised"]["z"];
    assert!((scale["mean"].as_f64().unwrap() - mean).abs() < 1e-9);
    assert!((scale["deviation"].as_f64().unwrap() - deviation).abs() < 1e-9);
}

#[test]
fn integers_that_pandas_wrote_with_a_point_are_no_categories_of_their_own() {
    let mapping = |column: &str| format!("label = \"y\"\ncategorical = [{column}]\n");
    let text = "y,c\n1,3.0\n0,3\n1,10\n0,\n";
    let integers = samples_of(&mapping("\"c\""), text);
    let merged = "{ column = \"c\", type = \"text\", merge_numbers = true }";
    assert_eq!(samples_of(&mapping(merged), text), integers);
    let apart = "{ column = \"c\", type = \"text\", merge_numbers = false }";
    let ids = samples_of(&mapping(apart), text).sparse.ids;
    assert!(ids[0] != ids[1], "{ids:?}");
    let unsaid = mapping("{ column = \"c\", type = \"text\" }");
    for (text, place) in [
        (text, "line 3, column c: \"3\" stands beside \"3.0\""),
        (
            "y,c\n1,a\n\n0,-3\n1,-3.0\n",
            "line 5, column c: \"-3.0\" stands beside \"-3\"",
        ),
    ] {
        let message = problem_of(&unsaid, text);
        assert!(message.contains(place), "{message}");
    }
    samples_of(&unsaid, "y,c\n1,3.0\n0,4.0\n1,v3\n0,3.5\n");
}

#[test]
fn a_table_without_a_value_gets_one_row() {
    const MAPPING: &str =
        "label = \"y\"\ncategorical = [{ column = \"c\", list = true, separator = \"|\" }]\n";
    for ids in [ForeignIds::Rank, ForeignIds::Keep] {
        let place = Workplace::new();
        place.file("t.csv", "y,c\n1,\n0,\n");
        let options = ImportOptions {
            ids,
            ..options(&place, MAPPING, &["t.csv"])
        };
        let (batch, report) = import(&options).unwrap();
        assert_eq!((report.categories, batch.sparse.ids.len()), (vec![1], 0));
        let vocabulary = PackedDataset::open(&options.out)
            .unwrap()
            .vocabulary(0)
            .unwrap();
        let missing =
            vocabulary.map(|vocabulary| vocabulary.category(0) == Some(Category::Missing));
        assert_ne!(missing, Some(false));
    }
}
