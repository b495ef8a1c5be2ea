//! Sizes, durations, names and tables as people read and write them.

use std::time::Duration;

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// Bytes with a unit: `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut value = bytes as f64;
    // What would be shown as 1024.0 is one of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Reads a number of bytes: `4096`, `64K`, `1MiB`.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].trim_start().to_ascii_uppercase();
    let shift = match unit.as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(format!("`{unit}` is no unit; use K, M, G or T, or none for bytes")),
    };
    let number: usize = digits.parse().map_err(|_| "that is no number of bytes".to_owned())?;
    let bytes = number.checked_mul(1 << shift).ok_or("that is too large")?;
    if bytes == 0 { Err("it must be at least 1".to_owned()) } else { Ok(bytes) }
}

/// A duration in its largest unit: `3 min`.
pub(crate) fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A name that somebody else chose, safe to show on a terminal.
pub(crate) fn printable(text: &str) -> String {
    let show = |c: char| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(show).collect()
}

/// Columns that line up, those in `right` to the right. The first row is the heading.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            match right.contains(&column) {
                true => line.extend([&padding, cell, "  "]),
                false => line.extend([cell, &padding, "  "]),
            }
        }
        text.extend([line.trim_end(), "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, bytes) in [("1", 1), ("64K", 65536), ("1 MiB", 1 << 20), ("2gib", 2 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for text in ["", "0", "K", "1X", "-1", "1.5M", "99999999999999999999", "99999999T"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_unit_that_fits() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), ((1 << 20) - 1, "1.0 MiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }
}
