//! Whether a body has the form that its description says, and not one that the parser takes as well.
//!
//! The parser takes a list of a type's members for the type, and an object with one member for a word.
//! Neither is in our description, and what two readers read differently is a way around whichever of
//! them checks. What was sent is therefore laid beside what it was understood to be.

use serde_json::Value;

/// The first place where a list or an object was sent and something else was understood, by the names
/// of our own description: `items[2].response`. Members that nobody knows are not looked at.
pub(super) fn misread(sent: &Value, understood: &Value) -> Option<String> {
    let mut path = String::new();
    differ(sent, understood, &mut path).then_some(path)
}

/// Whether they differ; then `path` is left at the place. As deep as the body nests, which is bounded.
fn differ(sent: &Value, understood: &Value, path: &mut String) -> bool {
    let end = path.len();
    match (sent, understood) {
        (Value::Object(sent), Value::Object(understood)) => {
            for (name, value) in sent {
                let Some(known) = understood.get(name) else {
                    continue;
                };
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                if differ(value, known, path) {
                    return true;
                }
                path.truncate(end);
            }
            false
        }
        (Value::Array(sent), Value::Array(understood)) => {
            for (at, (value, known)) in sent.iter().zip(understood).enumerate() {
                path.push_str(&format!("[{at}]"));
                if differ(value, known, path) {
                    return true;
                }
                path.truncate(end);
            }
            false
        }
        (Value::Object(_) | Value::Array(_), _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::misread;

    #[test]
    fn lists_and_objects_are_understood_as_what_they_are() {
        let understood = json!({"a": {"b": [{"c": 1}, {"c": "word"}]}, "d": "word", "e": [1]});
        for (sent, place) in [
            (understood.clone(), None),
            // Unknown here, as an optional member that is left out again.
            (json!({"a": {"x": [1]}, "y": {}}), None),
            (json!({"a": null, "e": []}), None),
            (json!([{"b": []}]), Some("")),
            (json!({"a": [[]]}), Some("a")),
            (json!({"a": {"b": [{"c": 1}, ["word"]]}}), Some("a.b[1]")),
            (
                json!({"a": {"b": [{"c": 1}, {"c": {"word": null}}]}}),
                Some("a.b[1].c"),
            ),
            (json!({"a": {"b": []}, "d": {"word": null}}), Some("d")),
        ] {
            assert_eq!(misread(&sent, &understood).as_deref(), place, "{sent}");
        }
    }
}
