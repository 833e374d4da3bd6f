//! The configuration: built-in defaults, over them the files, over them the environment.
//!
//! Files are those named with `--config`, the later over the earlier, or `configs/towncrier.toml` if none is named and
//! it is there. `http.listen` is `TOWNCRIER__HTTP__LISTEN` in the environment. A key or value that is not known is
//! refused, and everything that is wrong is reported at once: see [`Problems`].
//!
//! [`settings`] is the one list of keys. Each layer is read and checked against it ([`source`]), the layers are merged,
//! and what must hold between keys is checked on the result ([`relations`]).

mod defaults;
mod namespaces;
mod problem;
mod relations;
mod secret;
mod settings;
mod share;
mod source;
mod types;
mod units;
mod users;
mod value;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
};

use config::ValueKind;

pub(crate) use self::{
    defaults::default_toml,
    problem::Problems,
    settings::Config,
    source::variable_of,
    types::{AuthMode, BackplaneKind, CookieSecure, Over, SameSite, Slow, Subscribing},
    units::parse_duration,
};
use self::{
    namespaces::Namespace,
    problem::Problem,
    settings::{Key, keys},
    source::{FileText, Layer},
    users::ConfiguredUser,
    value::Setting,
};

/// A configuration, and where it differs from the defaults.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// Complete and consistent.
    pub(crate) config: Config,
    /// The keys that are not at their defaults, in the order of `configs/default.toml`.
    pub(crate) changed: Vec<Changed>,
}

/// A key that is not at its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Its full name.
    pub(crate) key: String,
    /// Its value as in TOML.
    pub(crate) value: String,
    /// The file or environment variable that set it.
    pub(crate) origin: String,
}

/// Reads the named files, or `configs/towncrier.toml` if there are none, and the environment.
///
/// # Errors
/// With everything that is wrong.
pub(crate) fn load(files: &[PathBuf]) -> Result<Loaded, Problems> {
    load_with(files, &[])
}

/// The same for a process whose environment has these variables as well, in place of those of the same name.
///
/// # Errors
/// With everything that is wrong.
pub(crate) fn load_with(files: &[PathBuf], variables: &[(String, String)]) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let files = FileText::read(files, &mut problems);
    let mut environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    environment.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
    assemble(&files, environment, problems)
}

/// What files of these texts come to in an environment of these variables.
///
/// # Errors
/// With everything that is wrong.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn of_texts(texts: &[&str], variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let names = ["a.toml", "b.toml"].into_iter().cycle();
    let file = |(name, text): (&str, &&str)| FileText { name: name.into(), text: (*text).into() };
    let files: Vec<FileText> = names.zip(texts).map(file).collect();
    let environment = variables.iter().map(|(variable, value)| (variable.into(), value.into()));
    assemble(&files, environment, Vec::new())
}

fn assemble(
    files: &[FileText],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    mut problems: Vec<Problem>,
) -> Result<Loaded, Problems> {
    let mut layers: Vec<Layer> =
        files.iter().map(|file| in_order(&mut problems, |problems| Layer::of_file(file, problems))).collect();
    layers.push(in_order(&mut problems, |problems| Layer::of_environment(environment, problems)));

    let bad = problems.iter().map(|problem| problem.key.clone()).collect();
    let merged = Merged::new(layers, bad);
    relations::check(&merged, &mut problems);
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Ok(Loaded { changed: merged.changed(), config: merged.into_config() })
}

/// Reads a layer and puts the problems with it in the order of their keys.
fn in_order(problems: &mut Vec<Problem>, read: impl FnOnce(&mut Vec<Problem>) -> Layer) -> Layer {
    let earlier = problems.len();
    let layer = read(problems);
    problems[earlier..].sort_by(|left, right| left.key.cmp(&right.key));
    layer
}

/// All layers in one.
struct Merged {
    values: config::Config,
    namespaces: Option<(String, Vec<Namespace>)>,
    users: Option<(String, Vec<ConfiguredUser>)>,
    /// Keys with a bad value in some layer.
    bad: BTreeSet<String>,
}

impl Merged {
    fn new(layers: Vec<Layer>, bad: BTreeSet<String>) -> Self {
        let namespaces = layers.iter().rev().find_map(|layer| layer.namespaces.clone());
        let users = layers.iter().rev().find_map(|layer| layer.users.clone());
        let mut builder = config::Config::builder();
        for key in keys() {
            builder = builder.set_default(key.name, key.default).expect("a key's name is a path");
        }
        for layer in layers {
            builder = builder.add_source(layer);
        }
        Self { values: builder.build().expect("layers hold known keys only"), namespaces, users, bad }
    }

    fn get(&self, key: &Key) -> (Setting, String) {
        let mut value = &self.values.cache;
        for step in key.name.split('.') {
            let ValueKind::Table(table) = &value.kind else { unreachable!("sections are tables") };
            value = table.get(step).expect("every key has a default");
        }
        let setting = match &value.kind {
            ValueKind::String(text) => key.kind.read_text(text),
            other => key.kind.read(other),
        };
        let setting = setting.unwrap_or_else(|text| unreachable!("{}: {text}, after it was checked", key.name));
        (setting, value.origin().unwrap_or("built-in default").to_owned())
    }

    /// The value and origin of a key, unless some layer has a bad value for it.
    fn good(&self, name: &str) -> Option<(Setting, String)> {
        let key = settings::key(name)?;
        (!self.bad.contains(name)).then(|| self.get(key))
    }

    fn changed(&self) -> Vec<Changed> {
        let mut changed = Vec::new();
        for key in keys() {
            let (setting, origin) = self.get(key);
            if Ok(&setting) != key.kind.read_text(key.default).as_ref() {
                changed.push(Changed { key: key.name.into(), value: setting.to_string(), origin });
            }
        }
        if let Some((origin, namespaces)) = &self.namespaces {
            for (position, namespace) in namespaces.iter().enumerate() {
                for (name, value) in namespace.options() {
                    let key = format!("{}[{position}].{name}", namespaces::KEY);
                    changed.push(Changed { key, value, origin: origin.clone() });
                }
            }
        }
        changed
    }

    fn into_config(self) -> Config {
        let read = |name: &str| self.get(settings::key(name).expect("a field's key is in the list")).0;
        let namespaces = self.namespaces.as_ref().map(|(_, list)| list.clone()).unwrap_or_default();
        let users = self.users.as_ref().map(|(_, list)| list.clone()).unwrap_or_default();
        Config::from_settings(read, namespaces, users)
    }
}
