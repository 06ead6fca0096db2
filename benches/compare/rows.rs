//! The table: every row, what it is held against, and what it is to reach.

use anyhow::Result;
use benches::batches::SKEW;
use dlrm::DlrmConfig;
use embedding_store::Optimizer;
use serde_json::{Value, json};

use crate::cases::{self, Case, DlrmShape, Scratch};
use crate::runner::{Rival, Row, Source};

/// Names of rivals.
const PYTORCH: &str = "PyTorch";
const PRODUCTS: &str = "its matrix products alone";
pub(crate) const MULTIPLY_ADDS: &str = "their multiply-adds in registers of 256 bits";

/// Criteo Kaggle: tables of 10^5 to 10^6 rows, 14.3 million in all.
fn kaggle() -> DlrmShape {
    DlrmShape {
        config: DlrmConfig::default(),
        rows: (0..26).map(|table| 100_000 + table * 36_000).collect(),
    }
}

/// Criteo Terabyte's network, with tables that fit this machine.
fn terabyte() -> DlrmShape {
    DlrmShape {
        config: DlrmConfig {
            dim: 64,
            bottom: vec![13, 512, 256, 64],
            top: vec![512, 512, 256, 1],
            ..DlrmConfig::default()
        },
        rows: vec![200_000; 26],
    }
}

/// Users, items and categories of Taobao UserBehavior.
const TAOBAO: [u64; 3] = [987_994, 4_162_024, 9_439];

/// The request of a DLRM case.
fn dlrm_request(case: &str, shape: &DlrmShape, batch: usize) -> Value {
    json!({
        "case": case,
        "bottom": shape.config.bottom,
        "top": shape.config.top,
        "rows": shape.rows,
        "batch": batch,
        "exponent": SKEW,
        "optimizer": "sgd",
    })
}

/// Makes rows for a number of threads.
struct Table<'a> {
    threads: usize,
    scratch: &'a Scratch,
    rows: Vec<Row>,
}

impl Table<'_> {
    fn own(&self, make: impl Fn() -> Result<Box<dyn Case>> + 'static) -> Source {
        Source::Own(self.threads, Box::new(make))
    }

    /// A row that has no rivals yet.
    fn add(
        &mut self,
        name: &'static str,
        title: &'static str,
        unit: &'static str,
        own: Source,
    ) -> &mut Row {
        self.rows.push(Row {
            name,
            title,
            unit,
            own,
            rivals: Vec::new(),
            reach: None,
            most_rounds: usize::MAX,
            bound: "",
        });
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }

    fn dlrm_train(
        &mut self,
        shape: &DlrmShape,
        (name, title): (&'static str, &'static str),
        batch: usize,
        pytorch: f64,
        share: Option<f64>,
    ) -> &mut Row {
        let [own, products, arithmetic] = std::array::from_fn(|_| shape.clone());
        let request = dlrm_request("dlrm_train", shape, batch);
        let own = self.own(move || cases::dlrm_train(&own, batch));
        let products = self.own(move || cases::dlrm_products(&products, batch));
        let arithmetic = self.own(move || cases::dlrm_multiply_adds(&arithmetic, batch));
        self.add(name, title, "samples/s", own)
            .beside(PYTORCH, Source::PyTorch(request), Some(pytorch))
            .beside(PRODUCTS, products, share)
            .beside(MULTIPLY_ADDS, arithmetic, None)
            .bound(
                "Nine tenths of the time are the library's matrix products, which run at half the rate of multiply-adds here. Tried: one \
                 pass over all slices' gradients in registers (kept); tiles of our own (a step at 0.8 of the library's products). Other libraries and cuts were no faster on another machine, earlier.",
            )
    }

    fn dlrm_infer(
        &mut self,
        shape: &DlrmShape,
        (name, title): (&'static str, &'static str),
        batch: usize,
        pytorch: f64,
    ) {
        let request = dlrm_request("dlrm_infer", shape, batch);
        let shape = shape.clone();
        let own = self.own(move || cases::dlrm_infer(&shape, batch));
        self.add(name, title, "samples/s", own).beside(
            PYTORCH,
            Source::PyTorch(request),
            Some(pytorch),
        );
    }

    fn tbsm_train(
        &mut self,
        (name, title): (&'static str, &'static str),
        batch: usize,
        pytorch: f64,
    ) -> &mut Row {
        let request = |style| {
            Source::PyTorch(json!({
                "case": "tbsm_train", "rows": TAOBAO, "batch": batch, "exponent": SKEW, "style": style
            }))
        };
        let own = self.own(move || cases::tbsm_train(&TAOBAO, batch));
        self.add(name, title, "sequences/s", own)
            .beside("PyTorch as the original", request("loop"), Some(pytorch))
            .beside("PyTorch, positions at once", request("batched"), None)
            .bound(
                "Rows and their plan take nearly half of the time and probably wait for memory. Tried: sums kept in registers, stores without masks, counting all \
                 digits of the plan's sort at once (all kept), fetching gradients ahead (slower).",
            )
    }

    fn row_update(
        &mut self,
        (name, title): (&'static str, &'static str),
        (optimizer, torch_name, arrays): (fn() -> Optimizer, &'static str, usize),
    ) -> &mut Row {
        const TABLES: usize = 26;
        const ROWS: u64 = 1_000_000;
        let request = json!({
            "case": "row_update", "tables": TABLES, "rows": ROWS, "dim": 16, "batch": benches::tables::BATCH,
            "exponent": SKEW, "optimizer": torch_name,
        });
        let own = self.own(move || cases::row_update(TABLES, ROWS, optimizer()));
        let traffic = |same| self.own(move || cases::row_traffic(TABLES, ROWS, arrays, same));
        let (anywhere, same) = (traffic(false), traffic(true));
        self.add(name, title, "lookups/s", own)
            .beside("PyTorch, sparse", Source::PyTorch(request), Some(5.0))
            .beside(
                "reading and writing as many random rows",
                anywhere,
                Some(0.7),
            )
            .beside("… the very same rows", same, None)
    }

    /// Our side on one thread, for rows about scaling.
    fn alone(make: impl Fn() -> Result<Box<dyn Case>> + 'static) -> Source {
        Source::Own(1, Box::new(make))
    }
}

impl Row {
    fn beside(&mut self, name: &'static str, source: Source, reach: Option<f64>) -> &mut Self {
        self.rivals.push(Rival {
            name,
            source,
            reach,
        });
        self
    }

    fn reach(&mut self, rate: f64) -> &mut Self {
        self.reach = Some(rate);
        self
    }

    fn at_most(&mut self, rounds: usize) -> &mut Self {
        self.most_rounds = rounds;
        self
    }

    fn bound(&mut self, text: &'static str) -> &mut Self {
        self.bound = text;
        self
    }
}

/// Every row, measured on so many threads.
pub(crate) fn all(threads: usize, scratch: &Scratch) -> Vec<Row> {
    let mut table = Table {
        threads,
        scratch,
        rows: Vec::new(),
    };
    table.training();
    table.inference();
    table.sequences();
    table.rows_and_data();
    table.scaling();
    table.rows
}

impl Table<'_> {
    fn training(&mut self) {
        let kaggle = kaggle();
        self.dlrm_train(
            &kaggle,
            ("dlrm-train-2048", "DLRM step, batch 2,048"),
            2048,
            1.6,
            Some(0.9),
        );
        self.dlrm_train(
            &kaggle,
            ("dlrm-train-1024", "DLRM step, batch 1,024"),
            1024,
            1.9,
            Some(0.9),
        );
        self.dlrm_train(
            &kaggle,
            ("dlrm-train-128", "DLRM step, batch 128"),
            128,
            2.6,
            Some(0.85),
        );
        self.dlrm_train(
            &terabyte(),
            (
                "dlrm-train-terabyte",
                "DLRM step, Terabyte shape, batch 2,048",
            ),
            2048,
            1.4,
            None,
        );
    }

    fn inference(&mut self) {
        let kaggle = kaggle();
        self.dlrm_infer(&kaggle, ("dlrm-infer-1", "DLRM forward, batch 1"), 1, 5.0);
        self.dlrm_infer(
            &kaggle,
            ("dlrm-infer-128", "DLRM forward, batch 128"),
            128,
            2.0,
        );
        self.dlrm_infer(
            &kaggle,
            ("dlrm-infer-2048", "DLRM forward, batch 2,048"),
            2048,
            1.4,
        );
    }

    fn sequences(&mut self) {
        self.tbsm_train(("tbsm-train-256", "TBSM step, batch 256"), 256, 25.0);
        self.tbsm_train(("tbsm-train-1024", "TBSM step, batch 1,024"), 1024, 15.0);
    }

    fn rows_and_data(&mut self) {
        self.row_update(
            (
                "row-update-sgd",
                "row-sparse SGD, 26 tables of a million rows",
            ),
            (|| Optimizer::Sgd, "sgd", 1),
        );
        self.row_update(
            (
                "row-update-adagrad",
                "row-sparse Adagrad, 26 tables of a million rows",
            ),
            (Optimizer::adagrad, "adagrad", 2),
        );
        let scratch = self.scratch.clone();
        let own = self.own(move || cases::prepare_text(&scratch));
        self.add(
            "prepare",
            "Criteo text to packed data, rank ids",
            "rows/s",
            own,
        )
        .reach(700_000.0)
        .at_most(7).bound(
                "Two thirds of the time are the second pass: parsing again, looking ids up in dictionaries, and packing; a tenth waits for the \
                 disk. Tried: asking for a row's dictionary slots before they are needed (a fifth less processor time, kept).",
            );
        let (shape, scratch) = (kaggle(), self.scratch.clone());
        let epoch = self.own(move || cases::epoch(&shape, 2048, &scratch));
        let step = self.own(|| cases::dlrm_train(&kaggle(), 2048));
        self.add(
            "epoch",
            "a shuffled epoch from packed data, batch 2,048",
            "samples/s",
            epoch,
        )
        .beside("the step alone", step, Some(0.95))
        .at_most(9);
        let run = |placement| {
            let scratch = self.scratch.clone();
            self.own(move || cases::mapped(placement, &scratch))
        };
        let (mixed, cpu, fae) = (run("mixed"), run("cpu"), run("fae"));
        self.add(
            "mapped",
            "hot rows in memory (`mixed`, a tenth), 732 MiB of rows in files, 300 MiB of memory",
            "samples/s",
            mixed,
        )
        .beside("all rows in files (`cpu`)", cpu, Some(1.5))
        .beside("`fae`", fae, None)
        .at_most(3)
        .bound(
            "Pages of cold rows are read and written back one by one, which takes as long for both; what hot rows save is their pages' \
             way to the disk and back.",
        );
    }

    fn scaling(&mut self) {
        let one = |batch| Self::alone(move || cases::dlrm_train(&kaggle(), batch));
        let own = |batch| self.own(move || cases::dlrm_train(&kaggle(), batch));
        let (large, large_alone) = (own(2048), one(2048));
        let (small, small_alone) = (own(128), one(128));
        let scratch = self.scratch.clone();
        let prepare = self.own(move || cases::prepare_text(&scratch));
        let scratch = self.scratch.clone();
        let prepare_alone = Self::alone(move || cases::prepare_text(&scratch));
        self.add(
            "scaling-2048",
            "all threads: DLRM step, batch 2,048",
            "samples/s",
            large,
        )
        .beside("one thread", large_alone, None);
        self.add(
            "scaling-128",
            "all threads: DLRM step, batch 128",
            "samples/s",
            small,
        )
        .beside("one thread", small_alone, None);
        self.add(
            "scaling-prepare",
            "all threads: Criteo text to packed data",
            "rows/s",
            prepare,
        )
        .beside("one thread", prepare_alone, None)
        .at_most(7);
    }
}
