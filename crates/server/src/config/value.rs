//! What values look like: their kinds, how they are read, and how they are shown.

use std::{fmt, net::SocketAddr, time::Duration};

use config::ValueKind;
use towncrier_http::{Network, Origin};
use towncrier_telemetry::logging;

use super::{
    secret::{SecretText, SecretUrl},
    share::Share,
    units::{ShowBytes, ShowTime, parse_bytes, parse_digits, parse_duration},
};

/// What a key takes. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count(u64, u64),
    /// A share of all, from 0 to 1.
    Share,
    /// A number of bytes: `65536`, `"256KiB"`, `"64KB"`.
    Bytes(u64, u64),
    /// A time: `"250ms"`, `"15s"`, `"5m"`, `"1h"`, `"1d"`.
    Time(Duration, Duration),
    /// A time, or zero for none.
    TimeOrNone(Duration, Duration),
    /// An IP address and a port.
    Address,
    /// The same, or nothing.
    AddressOrNone,
    /// The path of a file, or nothing.
    Path,
    /// At most so many of the characters `A-Z a-z 0-9 . _ ~ -`, or nothing.
    Name(usize),
    /// At most so many bytes without control characters, or nothing.
    Text(usize),
    /// A URL, which may hold a password.
    Url,
    /// Text that nobody may see, or nothing.
    Secret,
    /// A filter for logs.
    LogFilter,
    /// One of some words; the second list holds words that other builds know.
    Choice(&'static [&'static str], &'static [&'static str]),
    /// At most so many of these: in files a list of texts, in the environment with commas between them.
    List(Item, usize),
}

/// What a list is of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    /// Origins of pages.
    Origin,
    /// Addresses and networks.
    Network,
    /// Short texts.
    Text,
}

impl Item {
    /// The text in its one form.
    ///
    /// # Errors
    /// With a sentence that follows the text.
    fn read(self, text: &str) -> Result<String, String> {
        match self {
            Self::Origin => text.parse().map(|origin: Origin| origin.to_string()).map_err(|error| error.to_string()),
            Self::Text if (1..=256).contains(&text.len()) && !text.contains(char::is_control) => Ok(text.to_owned()),
            Self::Text => Err("must be 1 to 256 bytes without control characters".to_owned()),
            Self::Network => {
                text.parse().map(|network: Network| network.to_string()).map_err(|error| error.to_string())
            }
        }
    }
}

/// A value that has been read and is within its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Flag(bool),
    Count(u64),
    Bytes(u64),
    Share(Share),
    Time(Duration),
    Address(SocketAddr),
    AddressOrNone(Option<SocketAddr>),
    Text(String),
    Url(SecretUrl),
    Secret(SecretText),
    List(Vec<String>),
}

impl Kind {
    /// Reads a value out of a file, where numbers and flags must be written as such.
    ///
    /// # Errors
    /// With a sentence that follows the name of the key.
    pub(crate) fn read(&self, value: &ValueKind) -> Result<Setting, String> {
        match (self, value) {
            (Self::Flag, ValueKind::Boolean(flag)) => Ok(Setting::Flag(*flag)),
            (Self::Count(..) | Self::Bytes(..), ValueKind::I64(number)) => {
                let in_bounds = u64::try_from(*number).ok().map(|number| self.number(number));
                let setting = in_bounds.ok_or_else(|| self.must_be(number))?;
                self.bounded(setting, number)
            }
            (Self::Share, ValueKind::Float(number)) => self.share(Share::new(*number), number),
            (Self::Share, ValueKind::I64(number)) => self.share(Share::new(*number as f64), number),
            (Self::List(item, most), ValueKind::Array(values)) => {
                let texts = values.iter().map(|value| match &value.kind {
                    ValueKind::String(text) => Ok(text.as_str()),
                    other => Err(self.must_be(format_args!("a list with {}", describe(other)))),
                });
                read_list(*item, *most, texts.collect::<Result<Vec<_>, _>>()?)
            }
            (Self::Flag | Self::Count(..) | Self::Share | Self::List(..), ValueKind::String(text)) => {
                Err(self.must_be(format_args!("{text:?}")))
            }
            (_, ValueKind::String(text)) => self.read_text(text),
            (Self::Secret, _) => Err(self.must_be("what is given")),
            (_, other) => Err(self.must_be(describe(other))),
        }
    }

    /// Reads a value out of the environment, where all is text.
    ///
    /// # Errors
    /// With a sentence that follows the name of the key.
    pub(crate) fn read_text(&self, text: &str) -> Result<Setting, String> {
        let shown = format!("{text:?}");
        let setting = match self {
            Self::Flag => text.parse().ok().map(Setting::Flag),
            Self::Count(..) => parse_digits(text).map(Setting::Count),
            Self::Bytes(..) => parse_bytes(text).map(Setting::Bytes),
            Self::Share => Share::parse(text).map(Setting::Share),
            Self::Time(..) | Self::TimeOrNone(..) => parse_duration(text).map(Setting::Time),
            Self::Address => text.parse().ok().map(Setting::Address),
            Self::AddressOrNone if text.is_empty() => Some(Setting::AddressOrNone(None)),
            Self::AddressOrNone => text.parse().ok().map(|address| Setting::AddressOrNone(Some(address))),
            Self::Path => (!text.contains(char::is_control)).then(|| Setting::Text(text.to_owned())),
            Self::Name(most) => {
                (text.len() <= *most && text.bytes().all(is_name_byte)).then(|| Setting::Text(text.to_owned()))
            }
            Self::Text(most) => {
                let sound = text.len() <= *most && !text.contains(char::is_control);
                sound.then(|| Setting::Text(text.to_owned()))
            }
            Self::Url => {
                // Not shown: the password may be where it is wrong.
                let url = SecretUrl::parse(text).map(Setting::Url);
                return url.ok_or_else(|| self.must_be("what is given"));
            }
            // Not shown, whatever is wrong with it.
            Self::Secret => {
                let secret = SecretText::parse(text);
                return secret.map(Setting::Secret).ok_or_else(|| self.must_be("what is given"));
            }
            Self::LogFilter => {
                logging::check_filter(text).map_err(|error| error.to_string())?;
                Some(Setting::Text(text.to_owned()))
            }
            Self::Choice(_, elsewhere) if elsewhere.contains(&text) => {
                return Err(format!("{shown} is not in this build; {}", self.must_be(&shown)));
            }
            Self::Choice(words, _) => words.contains(&text).then(|| Setting::Text(text.to_owned())),
            Self::List(item, most) => {
                let texts = text.split(',').map(str::trim).collect();
                return read_list(*item, *most, if text.trim().is_empty() { Vec::new() } else { texts });
            }
        };
        let setting = setting.ok_or_else(|| self.must_be(&shown))?;
        self.bounded(setting, shown)
    }

    fn share(&self, share: Option<Share>, shown: impl fmt::Display) -> Result<Setting, String> {
        share.map(Setting::Share).ok_or_else(|| self.must_be(shown))
    }

    fn number(&self, number: u64) -> Setting {
        match self {
            Self::Bytes(..) => Setting::Bytes(number),
            _ => Setting::Count(number),
        }
    }

    fn bounded(&self, setting: Setting, shown: impl fmt::Display) -> Result<Setting, String> {
        let inside = match (self, &setting) {
            (Self::Count(least, most), Setting::Count(number)) | (Self::Bytes(least, most), Setting::Bytes(number)) => {
                (least..=most).contains(&number)
            }
            (Self::TimeOrNone(..), Setting::Time(time)) if time.is_zero() => true,
            (Self::Time(least, most) | Self::TimeOrNone(least, most), Setting::Time(time)) => {
                (least..=most).contains(&time)
            }
            _ => true,
        };
        if inside { Ok(setting) } else { Err(self.must_be(shown)) }
    }

    fn must_be(&self, found: impl fmt::Display) -> String {
        format!("must be {self}, not {found}")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Share => f.write_str("a number from 0 to 1, such as 0.01"),
            Self::Count(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Bytes(least, most) => {
                write!(f, "a size from {} to {}, such as 256KiB", ShowBytes(*least), ShowBytes(*most))
            }
            Self::Time(least, most) => {
                write!(f, "a time from {} to {}", ShowTime(*least), ShowTime(*most))
            }
            Self::TimeOrNone(least, most) => {
                write!(f, "a time from {} to {}, or 0s for none", ShowTime(*least), ShowTime(*most))
            }
            Self::Address => f.write_str("an IP address and a port, such as 127.0.0.1:8080"),
            Self::AddressOrNone => f.write_str("an IP address and a port, such as 127.0.0.1:8443, or nothing"),
            Self::Path => f.write_str("a path without control characters"),
            Self::Name(most) => write!(f, "at most {most} of the characters A-Z a-z 0-9 . _ ~ -"),
            Self::Text(most) => write!(f, "at most {most} bytes without control characters"),
            Self::Url => f.write_str("a URL without spaces, such as redis://127.0.0.1:6379"),
            Self::Secret => f.write_str("text without control characters"),
            Self::LogFilter => f.write_str("a level, and levels for single targets: info,towncrier_http=debug"),
            Self::Choice(words, _) => {
                for (position, word) in words.iter().enumerate() {
                    write!(f, "{}{word:?}", if position == 0 { "" } else { " or " })?;
                }
                Ok(())
            }
            Self::List(Item::Origin, most) => {
                write!(f, "a list of at most {most} origins, such as [\"https://app.example\"]")
            }
            Self::List(Item::Text, most) => write!(f, "a list of at most {most} short texts"),
            Self::List(Item::Network, most) => {
                write!(f, "a list of at most {most} addresses and networks, such as [\"127.0.0.1\", \"10.0.0.0/8\"]")
            }
        }
    }
}

impl fmt::Display for Setting {
    /// As it is written in TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Count(number) => write!(f, "{number}"),
            Self::Share(share) => write!(f, "{share}"),
            Self::Bytes(bytes) => write!(f, "\"{}\"", ShowBytes(*bytes)),
            Self::Time(time) => write!(f, "\"{}\"", ShowTime(*time)),
            Self::Address(address) | Self::AddressOrNone(Some(address)) => write!(f, "\"{address}\""),
            Self::AddressOrNone(None) => f.write_str("\"\""),
            Self::Text(text) => write!(f, "{}", Quoted(text)),
            Self::Url(url) => write!(f, "{}", Quoted(&url.to_string())),
            Self::Secret(secret) => write!(f, "\"{secret:?}\""),
            Self::List(items) => {
                f.write_str("[")?;
                for (position, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if position == 0 { "" } else { ", " }, Quoted(item))?;
                }
                f.write_str("]")
            }
        }
    }
}

/// Text as TOML quotes it. Rust's own quotes escape more, and in a way that TOML does not read.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for char in self.0.chars() {
            match char {
                '"' | '\\' => write!(f, "\\{char}")?,
                char if char.is_control() => write!(f, "\\u{:04X}", u32::from(char))?,
                char => write!(f, "{char}")?,
            }
        }
        f.write_str("\"")
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~-".contains(&byte)
}

/// What a value is that is not what it should be.
pub(crate) fn describe(value: &ValueKind) -> String {
    match value {
        ValueKind::Nil => "nothing".into(),
        ValueKind::Table(_) => "a table".into(),
        ValueKind::Array(_) => "a list".into(),
        ValueKind::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

fn read_list(item: Item, most: usize, texts: Vec<&str>) -> Result<Setting, String> {
    if texts.len() > most {
        return Err(format!("must be a list of at most {most}, not {}", texts.len()));
    }
    let read = |text: &str| item.read(text).map_err(|error| format!("{text:?}: {error}"));
    texts.into_iter().map(read).collect::<Result<_, _>>().map(Setting::List)
}
