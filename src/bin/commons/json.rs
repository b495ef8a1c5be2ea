//! As much JSON as the command writes.

/// A text in quotes.
pub(crate) fn string(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A value that may be missing.
pub(crate) fn or_null(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

/// Values that are JSON, in a row.
pub(crate) fn array(values: impl IntoIterator<Item = String>) -> String {
    let values: Vec<_> = values.into_iter().collect();
    format!("[{}]", values.join(","))
}

/// Fields whose values are JSON.
pub(crate) fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}:{value}", string(name))).collect();
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_holds_stays_inside_its_quotes() {
        assert_eq!(string("a\"b\\c\n\u{7f}"), "\"a\\\"b\\\\c\\u000a\\u007f\"");
        let fields = [("n", "1".to_owned()), ("a", array(["2".to_owned(), or_null(None)]))];
        assert_eq!(object(&fields), "{\"n\":1,\"a\":[2,null]}");
    }
}
