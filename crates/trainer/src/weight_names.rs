//! Names of weights in files, with and without what wrappers of models put into them.

use std::collections::HashMap;

use crate::text::list_of;

/// What `DataParallel`, `torch.compile`, FSDP, activation checkpoints and Lightning's Fabric put
/// into names, at any level.
const WRAPPERS: [&str; 5] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
];

/// A name without the wrappers.
pub(crate) fn plain(name: &str) -> String {
    let parts = name.split('.').filter(|part| !WRAPPERS.contains(part));
    parts.collect::<Vec<_>>().join(".")
}

/// The names in a file by what they are called without wrappers, and without a first part that all
/// of them share, as Lightning's `model.`.
#[derive(Debug, Default)]
pub(crate) struct WeightNames {
    by_plain: HashMap<String, String>,
}

impl WeightNames {
    /// # Errors
    /// Two names that differ only in their wrappers.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut by_plain = HashMap::new();
        for name in names {
            if let Some(other) = by_plain.insert(plain(name), name.to_owned()) {
                return Err(format!(
                    "holds two weights of one name: {}; save the state dictionary of one model",
                    list_of([other.as_str(), name])
                ));
            }
        }
        let first = |name: &str| name.split_once('.').map(|(first, _)| format!("{first}."));
        let shared = by_plain.keys().next().and_then(|name| first(name));
        if let Some(shared) = shared.filter(|_| by_plain.len() > 1)
            && by_plain.keys().all(|name| name.starts_with(&shared))
        {
            let stripped = by_plain.iter().map(|(name, full)| {
                let name = name.strip_prefix(&shared).unwrap_or(name);
                (name.to_owned(), full.clone())
            });
            let stripped: Vec<_> = stripped.collect();
            by_plain.extend(stripped);
        }
        Ok(Self { by_plain })
    }

    /// What a weight is called in the file, if it is there.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        let found = self.by_plain.get(name).filter(|full| *full == name);
        let found = found.or_else(|| self.by_plain.get(&plain(name)));
        found.map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_taken_off_at_any_level() {
        let names = [
            "module.bot_l.0.weight",
            "bot_l.module.2.weight",
            "_orig_mod.module.top_l.0.weight",
            "emb_l.0.weight",
        ];
        let found = WeightNames::new(names).unwrap();
        for (wanted, name) in [
            ("bot_l.0.weight", names[0]),
            ("bot_l.2.weight", names[1]),
            ("top_l.0.weight", names[2]),
            ("module.top_l.0.weight", names[2]),
            ("emb_l.0.weight", names[3]),
        ] {
            assert_eq!(found.find(wanted), Some(name), "{wanted}");
        }
        assert_eq!(found.find("0.weight"), None);
    }

    #[test]
    fn a_first_part_of_all_names_is_taken_off() {
        let found = WeightNames::new(["model.module.a.weight", "model.b"]).unwrap();
        assert_eq!(found.find("a.weight"), Some("model.module.a.weight"));
        assert_eq!(found.find("model.b"), Some("model.b"));
        assert_eq!(found.find("b"), Some("model.b"));
    }

    #[test]
    fn one_weight_under_two_names_is_refused() {
        let error = WeightNames::new(["module.a", "a"]).unwrap_err();
        assert!(error.contains("two weights of one name"), "{error}");
    }
}
