//! The layers of the crate, enforced: imports run downward, system calls and atomics have one place
//! each, and no file grows beyond reading.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up, as `docs/DESIGN.md` has them, and the modules in each. A module
/// may use those of its own layer and of the ones below.
const LAYERS: [&[&str]; 7] = [
    &["sync", "sys", "error"],
    &["layout", "segment", "member"],
    &["wait", "raw"],
    &["lock", "cell"],
    &["channel"],
    &["process", "inspect", "select", "tokio"],
    &["pool", "manager"],
];

/// Who may look up, and for what.
const EXCEPTIONS: [(&str, &str, &str); 3] = [
    ("error", "segment", "an error names what was found, which `ObjectInfo` says"),
    ("layout", "raw", "the sizes of shared structures are pinned in one place"),
    ("segment", "raw", "the word that publishes an object is an algorithm of its own"),
];

/// Names that the root of the crate re-exports for everybody.
const ROOT: [&str; 2] = ["Error", "Result"];

/// Longest file, in lines.
const LONGEST: usize = 500;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files_in(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A source file: its path below `src`, its module at the root, and its lines of code.
struct File {
    path: String,
    module: String,
    lines: Vec<String>,
    length: usize,
}

/// The sources of the library.
fn library() -> Vec<File> {
    let mut paths = Vec::new();
    files_in(&source(), &mut paths);
    paths.sort();
    let files = paths.into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("UTF-8");
        let path = path.strip_prefix(source()).unwrap().to_str().unwrap().to_owned();
        let module = path.split(['/', '.']).next().unwrap().to_owned();
        let code = |line: &str| line.split("//").next().unwrap_or("").to_owned();
        let lines = text.lines().map(code).collect();
        File { path, module, lines, length: text.lines().count() }
    });
    files.filter(|file| !file.path.starts_with("bin/")).collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// What follows `crate::` in a line: the modules, also of a list in braces.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in line.split("crate::").skip(1) {
        let word = |text: &str| {
            text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
        };
        match part.strip_prefix('{') {
            None => found.push(word(part)),
            Some(list) => {
                let list = list.split('}').next().unwrap_or(list);
                found.extend(list.split(',').map(|name| word(name.trim())));
            }
        }
    }
    found.retain(|name| !name.is_empty() && !ROOT.contains(&name.as_str()));
    found
}

#[test]
fn imports_run_downward() {
    let mut wrong = Vec::new();
    for file in library() {
        if file.module == "lib" {
            continue;
        }
        let Some(own) = layer(&file.module) else {
            wrong.push(format!("{}: `{}` is in no layer", file.path, file.module));
            continue;
        };
        for (number, line) in file.lines.iter().enumerate() {
            for import in imports(line) {
                let allowed = EXCEPTIONS.iter().any(|e| (e.0, e.1) == (&file.module, &import));
                if layer(&import).is_none_or(|layer| layer > own) && !allowed {
                    wrong.push(format!("{}:{}: imports `{import}`", file.path, number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "upward imports:\n{}", wrong.join("\n"));
}

#[test]
fn every_exception_is_needed() {
    let files = library();
    for (module, import, why) in EXCEPTIONS {
        let needed = files.iter().filter(|file| file.module == module);
        let mut lines = needed.flat_map(|file| &file.lines);
        assert!(lines.any(|line| imports(line).iter().any(|i| i == import)), "{module}: {why}");
    }
}

/// The lines outside of `modules` that name one of `names`.
fn named_outside(modules: &[&str], names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in library() {
        if modules.iter().any(|module| file.path.starts_with(module)) {
            continue;
        }
        for (number, line) in file.lines.iter().enumerate() {
            if names.iter().any(|name| line.contains(name)) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn only_sys_names_libc() {
    let found = named_outside(&["sys/"], &["libc::", "use libc"]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_the_seam_names_atomics_and_the_model_checker() {
    // The models are the model checker's own program.
    let names = ["core::sync::atomic", "std::sync::atomic", "loom::"];
    let found = named_outside(&["sync/", "raw/models"], &names);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_file_is_longer_than_can_be_read() {
    let files = library();
    assert!(files.len() > 30, "the sources were not found");
    let long = files.iter().filter(|file| file.length >= LONGEST);
    let long: Vec<_> = long.map(|file| format!("{}: {} lines", file.path, file.length)).collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
