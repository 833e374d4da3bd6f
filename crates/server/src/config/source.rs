//! Where values come from: files and the environment, each read into a layer of its own and checked on its own, so that
//! a bad value is reported even where a later layer goes over it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use config::{ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::{
    namespaces::{self, Namespace},
    problem::{Problem, unknown},
    settings::{self, keys},
    users::{self, ConfiguredUser},
};

/// The file that is read where no other is named, if it is there.
pub(crate) const DEFAULT_FILE: &str = "configs/towncrier.toml";

/// What the name of each environment variable begins with.
pub(crate) const ENV_PREFIX: &str = "TOWNCRIER__";

/// A file's name and text.
pub(crate) struct FileText {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl FileText {
    /// Reads the files in order; with none, [`DEFAULT_FILE`] if it exists.
    pub(crate) fn read(files: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<Self> {
        let default = Path::new(DEFAULT_FILE);
        let named: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let paths = if named.is_empty() && default.exists() { vec![default] } else { named };
        let read = |path: &Path| {
            let name = path.display().to_string();
            match fs::read_to_string(path) {
                Ok(text) => Ok(Self { name, text }),
                Err(error) => Err(Problem::new("", name, format!("cannot be read: {error}"))),
            }
        };
        paths.into_iter().filter_map(|path| read(path).map_err(|problem| problems.push(problem)).ok()).collect()
    }
}

/// What one file, or the whole environment, says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    /// By the full name of the key; each value carries its origin.
    values: BTreeMap<String, Value>,
    /// The namespaces and the file they are from, if the layer has any.
    pub(crate) namespaces: Option<(String, Vec<Namespace>)>,
    /// The users and the file they are from, if the layer has any.
    pub(crate) users: Option<(String, Vec<ConfiguredUser>)>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone().into_iter().collect())
    }
}

impl Layer {
    /// What a file says.
    pub(crate) fn of_file(file: &FileText, problems: &mut Vec<Problem>) -> Self {
        let mut layer = Self::default();
        let mut table = match File::from_str(&file.text, FileFormat::Toml).collect() {
            Ok(table) => table,
            Err(error) => {
                problems.push(Problem::new("", &file.name, format!("is not TOML: {}", without_excerpt(&error))));
                return layer;
            }
        };
        if let Some(value) = table.remove(namespaces::KEY) {
            layer.namespaces = Some((file.name.clone(), namespaces::read(&value.kind, &file.name, problems)));
        }
        if let Some(Value { kind: ValueKind::Table(auth), .. }) = table.get_mut(users::SECTION)
            && let Some(value) = auth.remove(users::LIST)
        {
            layer.users = Some((file.name.clone(), users::read(&value.kind, &file.name, problems)));
        }
        let known: Vec<&str> = keys().map(|key| key.name).collect();
        let unknown_key = |name: &str| unknown("key", name, known.iter().copied().chain([namespaces::KEY]));
        for (name, value) in flatten(table, "", &known, &unknown_key, &file.name, problems) {
            let Some(key) = settings::key(&name) else {
                continue;
            };
            match key.kind.read(&value) {
                Ok(_) => {
                    layer.values.insert(name, Value::new(Some(&file.name), value));
                }
                Err(text) => problems.push(Problem::new(name, &file.name, text)),
            }
        }
        layer
    }

    /// What the environment says.
    pub(crate) fn of_environment(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut layer = Self::default();
        let ours: BTreeMap<String, OsString> = variables
            .into_iter()
            .map(|(variable, value)| (variable.to_string_lossy().into_owned(), value))
            .filter(|(variable, _)| variable.starts_with(ENV_PREFIX))
            .collect();
        for (variable, value) in ours {
            let origin = format!("environment variable {variable}");
            let name = variable[ENV_PREFIX.len()..].to_lowercase().replace("__", ".");
            let read = match (settings::key(&name), value.to_str()) {
                (Some(_), _) if variable_of(&name) != variable => Err(format!("is written {}", variable_of(&name))),
                (Some(_), None) => Err("is not UTF-8".into()),
                (Some(key), Some(value)) => key.kind.read_text(value).map(|_| value),
                (None, _) if name.starts_with(namespaces::KEY) => Err("can only be set in a file".into()),
                (None, _) => Err(unknown("key", &name, keys().map(|key| key.name))),
            };
            match read {
                Ok(value) => {
                    layer.values.insert(name, Value::new(Some(&origin), value));
                }
                Err(text) => problems.push(Problem::new(name, origin, text)),
            }
        }
        layer
    }
}

/// What is wrong and where, without the line itself: a secret may stand there.
fn without_excerpt(error: &ConfigError) -> String {
    let text = error.to_string();
    // `3 | secret = "…` and what points into it.
    let is_excerpt = |line: &&str| {
        let number = line.split_once('|').map(|(number, _)| number.trim());
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let lines: Vec<&str> = text.lines().filter(|line| !is_excerpt(line)).collect();
    lines.join(": ").trim_end().to_owned()
}

/// The environment variable of a key.
pub(crate) fn variable_of(name: &str) -> String {
    format!("{ENV_PREFIX}{}", name.replace('.', "__").to_uppercase())
}

/// The values of a table by their full names, in order. What is not in `known`, nor above something that is, becomes a
/// problem.
pub(crate) fn flatten(
    table: Map<String, Value>,
    parent: &str,
    known: &[&str],
    unknown_key: &dyn Fn(&str) -> String,
    origin: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(String, ValueKind)> {
    let mut found = Vec::new();
    let sorted: BTreeMap<String, Value> = table.into_iter().collect();
    for (name, value) in sorted {
        // A dot inside a quoted key is not a step down.
        let name = if name.contains('.') { format!("{name:?}") } else { name };
        let path = if parent.is_empty() { name } else { format!("{parent}.{name}") };
        let inside = format!("{path}.");
        if known.contains(&path.as_str()) {
            found.push((path, value.kind));
        } else if known.iter().any(|key| key.starts_with(&inside)) {
            if let ValueKind::Table(table) = value.kind {
                found.extend(flatten(table, &path, known, unknown_key, origin, problems));
            } else {
                problems.push(Problem::new(path, origin, "is a section, not a key"));
            }
        } else if let ValueKind::Table(_) = value.kind {
            let sections = known.iter().filter_map(|key| key.rsplit_once('.').map(|(section, _)| section));
            let text = unknown("section", &path, sections);
            problems.push(Problem::new(path, origin, text));
        } else {
            let text = unknown_key(&path);
            problems.push(Problem::new(path, origin, text));
        }
    }
    found
}
