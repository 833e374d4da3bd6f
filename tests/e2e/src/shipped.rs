//! The files that are shipped beside the program, as tests read them.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::process::root;

/// The absolute path of a file of the repository.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    root().canonicalize().expect("the repository").join(name)
}

/// A file of the repository.
#[track_caller]
#[must_use]
pub fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a YAML file of the repository.
#[track_caller]
#[must_use]
pub fn yaml(name: &str) -> Vec<Value> {
    documents(&text(name))
}

/// The objects that kustomize makes of a folder.
#[track_caller]
#[must_use]
pub fn kustomize(folder: &Path) -> Vec<Value> {
    let built = tool("bin/kustomize", &["build", &folder.to_string_lossy()], "");
    assert!(built.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&built.stderr));
    documents(&String::from_utf8(built.stdout).expect("UTF-8"))
}

/// Runs a program of `.tools` to its end with this input.
#[track_caller]
#[must_use]
pub fn tool(program: &str, arguments: &[&str], input: &str) -> Output {
    let program = path(".tools").join(program);
    let mut command = Command::new(&program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let missing = |error| panic!("{}: {error}; tests/run installs what the tests need", program.display());
    let mut child = command.spawn().unwrap_or_else(missing);
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // By the side, as the program may print before it has read everything. What it does not read it need not.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("wait for a program");
    writer.join().expect("write to a program");
    output
}

fn documents(text: &str) -> Vec<Value> {
    let converter = path("tests/containers/yaml_to_json.py");
    let output = tool("containers/bin/python", &[&converter.to_string_lossy()], text);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in what became of {text}"))
}

/// A list of texts.
#[track_caller]
#[must_use]
pub fn strings(value: &Value) -> Vec<&str> {
    list(value).iter().map(|item| item.as_str().unwrap_or_else(|| panic!("no string: {item}"))).collect()
}

/// A list.
#[track_caller]
#[must_use]
pub fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

/// What `15s` means.
#[track_caller]
#[must_use]
pub fn seconds(text: &str) -> Duration {
    let number = text.strip_suffix('s').and_then(|number| number.parse().ok());
    Duration::from_secs(number.unwrap_or_else(|| panic!("{text:?} are no seconds")))
}

/// What follows a word at the beginning of each line of a text that begins with it.
#[must_use]
pub fn after<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(word)).map(str::trim).collect()
}
