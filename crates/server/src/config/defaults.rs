//! `configs/default.toml`, written from the list of keys.

use std::fmt::Write as _;

use super::{settings::SECTIONS, source::variable_of, value::Kind};

const HEAD: &str = "\
# Every key with its default. Written by `towncrier check-config --default`; a test holds it to the program.
#
# A file of your own needs only what differs. `configs/towncrier.toml` is read if it is there, or the files given with
# `--config FILE`, the later over the earlier; this one is never read by itself. The environment goes over all files:
# http.listen is TOWNCRIER__HTTP__LISTEN there. `towncrier check-config` says what is wrong and what differs.
";

const NAMESPACES: &str = r#"
# Topics that begin with `prefix` may differ in history.events, history.age, session.slow, session.outbox_bytes, who may
# subscribe, encryption, and the rates of publishes and of events; with `metrics` their events are counted by themselves. In files only; a later file's namespaces replace those of an earlier one.
#
# [[namespaces]]
# prefix = "orders/"
# metrics = true
# history.events = 1000
# history.age = "1d"
# session.slow = "conflate"
# session.outbox_bytes = "4MiB"
# session.events_per_second = 20
# session.over_rate = "conflate"
# limits.publishes_per_second_per_client = 100
"#;

/// Every key with its default, as a file.
pub(crate) fn default_toml() -> String {
    let mut toml = HEAD.to_owned();
    for section in SECTIONS {
        toml.push('\n');
        write_doc(&mut toml, section.doc);
        line(&mut toml, format_args!("[{}]", section.name));
        for key in section.keys {
            write_doc(&mut toml, key.doc);
            // The words and the filter are told by their documentation already.
            if !matches!(key.kind, Kind::Flag | Kind::LogFilter | Kind::Choice(..)) {
                line(&mut toml, format_args!("# {}.", capital(&key.kind.to_string())));
            }
            let (_, field) = key.name.rsplit_once('.').unwrap_or(("", key.name));
            let default = key.kind.read_text(key.default);
            let default = default.unwrap_or_else(|text| unreachable!("{}: {text}", variable_of(key.name)));
            line(&mut toml, format_args!("{field} = {default}"));
        }
    }
    toml + NAMESPACES
}

fn write_doc(toml: &mut String, doc: &[&str]) {
    for text in doc {
        line(toml, format_args!("#{text}"));
    }
}

fn line(toml: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(toml, "{text}").expect("writing to a string does not fail");
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
