//! The tables of `host-tests/README.md` that say which test covers what: every test that
//! they name exists, and no model and no file of these tests is left out.
//!
//! In a cell of the section "What covers what" a file is named first, from the root of
//! the project, and then the tests in it.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const SECTION: &str = "## What covers what";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project").to_owned()
}

/// What a line has between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether the source has a test, a case or a row of that name.
fn has(source: &str, name: &str) -> bool {
    let made = [
        format!("fn {name}("),
        format!("CASE({name})"),
        // In tables of tests that a macro makes.
        format!("    {name} => "),
        format!("    {name}: "),
    ];
    made.iter().any(|made| source.contains(made.as_str()))
}

/// The lines of the tables, cut into cells.
fn cells(document: &str) -> impl Iterator<Item = &str> {
    let section = document.split_once(SECTION).map_or("", |(_, section)| section);
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    section.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('|'))
}

fn readme() -> Result<String> {
    fs::read_to_string(root().join("host-tests/README.md")).context("host-tests/README.md")
}

#[test]
fn every_test_that_is_named_exists() -> Result<()> {
    let (readme, mut tests, mut missing) = (readme()?, 0, Vec::new());
    for cell in cells(&readme) {
        let mut source: Option<(&str, String)> = None;
        for span in spans(cell) {
            if span.contains('.') {
                let text =
                    fs::read_to_string(root().join(span)).with_context(|| span.to_owned())?;
                source = Some((span, text));
            } else if let Some((file, text)) = &source {
                tests += 1;
                if !has(text, span) {
                    missing.push(format!("{span} in {file}"));
                }
            }
        }
    }
    ensure!(missing.is_empty(), "not there: {missing:?}");
    ensure!(tests > 100, "{tests} tests are named");
    Ok(())
}

/// All files below a folder whose names end so.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, end, found)?;
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn every_model_is_named() -> Result<()> {
    let root = root();
    let mut models = Vec::new();
    for folder in ["core/src", "platform/src"] {
        files(&root.join(folder), "_models.rs", &mut models)?;
    }
    let readme = readme()?;
    let named: BTreeSet<&str> = cells(&readme).flat_map(spans).collect();
    let mut missing = Vec::new();
    for path in &models {
        let file = path.strip_prefix(&root)?.to_string_lossy().into_owned();
        if !named.contains(file.as_str()) {
            missing.push(file);
            continue;
        }
        let text = fs::read_to_string(path)?;
        let tests = text.split("#[test]\n").skip(1);
        let tests =
            tests.filter_map(|rest| rest.trim_start().strip_prefix("fn ")?.split('(').next());
        missing.extend(
            tests.filter(|test| !named.contains(test)).map(|test| format!("{test} in {file}")),
        );
    }
    ensure!(models.len() > 10, "{} models", models.len());
    ensure!(missing.is_empty(), "in no table: {missing:?}");
    Ok(())
}

#[test]
fn every_file_of_tests_is_named() -> Result<()> {
    let mut paths = Vec::new();
    files(&root().join("host-tests/tests"), ".rs", &mut paths)?;
    let readme = readme()?;
    let named: BTreeSet<&str> = spans(&readme).collect();
    let stems: BTreeSet<_> = paths.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    let missing: Vec<_> = stems.difference(&named).collect();
    ensure!(stems.len() > 20, "{} files", stems.len());
    ensure!(missing.is_empty(), "not in host-tests/README.md: {missing:?}");
    Ok(())
}

/// A check that finds nothing missing could be one that finds nothing.
#[test]
fn a_name_that_is_not_there_is_missed() {
    let source = "#[test]\nfn one() {}\nCASE(two)\n    three => \"x\";\n";
    assert!(["one", "two", "three"].iter().all(|name| has(source, name)));
    assert!(!has(source, "on") && !has(source, "four"));
    let document = format!("| `no` |\n{SECTION}\n| a | `f.rs`: `x` |\n\n## Next\n| `y` |\n");
    let named: Vec<_> = cells(&document).flat_map(spans).collect();
    assert_eq!(named, ["f.rs", "x"]);
}
