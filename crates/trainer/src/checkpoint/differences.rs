//! What two settings do not have in common.

use serde_json::Value;

/// The places where two values differ, with both; empty where they are equal.
pub(super) fn differences(saved: &Value, now: &Value) -> String {
    let mut found = Vec::new();
    compare("", saved, now, &mut found);
    found.join("; ")
}

fn compare(place: &str, saved: &Value, now: &Value, found: &mut Vec<String>) {
    let under = |key: &str| match place {
        "" => key.to_owned(),
        _ => format!("{place}.{key}"),
    };
    match (saved, now) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, saved) in a {
                compare(
                    &under(key),
                    saved,
                    b.get(key).unwrap_or(&Value::Null),
                    found,
                );
            }
            for (key, now) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                compare(&under(key), &Value::Null, now, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (saved, now)) in a.iter().zip(b).enumerate() {
                compare(&under(&index.to_string()), saved, now, found);
            }
        }
        _ if saved == now => {}
        _ => found.push(format!("{place} was {saved} and is {now}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_difference_is_named_with_both_values() {
        let a = json!({"model": {"dim": 16, "top": [8, 1]}, "seed": 0, "old": 1});
        let b = json!({"model": {"dim": 8, "top": [4, 1]}, "seed": 0, "new": [2]});
        assert_eq!(differences(&a, &a), "");
        assert_eq!(
            differences(&a, &b),
            "model.dim was 16 and is 8; model.top.0 was 8 and is 4; old was 1 and is null; new was null and is [2]"
        );
        assert_eq!(differences(&json!(1), &json!([1])), " was 1 and is [1]");
    }
}
