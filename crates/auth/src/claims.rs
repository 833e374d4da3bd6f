//! The claims of a token, as far as the hub reads them.
//!
//! ```json
//! {
//!   "sub": "alice", "exp": 1795161600,
//!   "towncrier": {"subscribe": ["orders/*"], "publish": ["orders/42"], "admin": ["read"]}
//! }
//! ```
//!
//! A claim that is known and malformed makes the whole token invalid: half of somebody's rights is nobody's intent.

use std::{borrow::Cow, fmt};

use serde_json::{Value, json, value::RawValue};
use towncrier_wire::{Name, Selector, SelectorError, TextError};

use crate::{
    Rights, Scope, UnixTime,
    json::{Members, ObjectError, members},
    limits::{AUDIENCES_MAX, PARTY_BYTES_MAX, RIGHTS_SELECTORS_MAX, UNIX_TIME_MAX},
};

/// The claim that holds the hub's own.
const OWN: &str = "towncrier";

/// What is wrong with which claim. Says nothing of what stood there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ClaimError {
    /// The claim, such as `towncrier.subscribe[3]`.
    pub field: Cow<'static, str>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Another type of value.
    #[error("must be {0}")]
    Type(&'static str),
    /// Not the seconds since 1970, or beyond the year 9999: most often milliseconds.
    #[error("must be seconds since 1970, at most {UNIX_TIME_MAX}")]
    Time,
    /// Longer than its bound.
    #[error("must have at most {0} entries")]
    TooMany(usize),
    /// A member that nobody knows: most often one that is misspelt.
    #[error("must have no members but 'subscribe', 'publish', 'admin' and 'login'")]
    Unknown,
    /// No text of the kind.
    #[error(transparent)]
    Text(#[from] TextError),
    /// No selector.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// No scope.
    #[error("must be 'read' or 'write'")]
    Scope,
    /// No object, or one with a member twice.
    #[error("{0}")]
    Object(String),
}

impl From<ObjectError> for Problem {
    fn from(error: ObjectError) -> Self {
        Self::Object(error.to_string())
    }
}

/// The claims of a token that are read here, and written when one is minted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: the user.
    pub subject: Option<Name>,
    /// `exp`: when the token ends.
    pub expires_at: Option<UnixTime>,
    /// `nbf`: when it begins.
    pub not_before: Option<UnixTime>,
    /// `iat`: when it was minted.
    pub issued_at: Option<UnixTime>,
    /// `iss`: who minted it.
    pub issuer: Option<String>,
    /// `aud`: whom it is for; `None` if the claim is absent.
    pub audience: Option<Vec<String>>,
    /// `towncrier`: what its bearer may do.
    pub rights: Rights,
    /// `towncrier.login`: when the user logged in, in tokens of logins.
    pub login_at: Option<UnixTime>,
}

impl Claims {
    /// Reads claims.
    ///
    /// # Errors
    /// With the field's name, if one that is read is malformed, given twice or `null`. Others are passed over.
    pub fn parse(text: &str) -> Result<Self, ClaimError> {
        let mut claims = Self::default();
        for (name, value) in members(text).map_err(at("claims"))? {
            match name.as_ref() {
                "sub" => claims.subject = Some(subject(value).map_err(at("sub"))?),
                "exp" => claims.expires_at = Some(time(value, Round::Down).map_err(at("exp"))?),
                "nbf" => claims.not_before = Some(time(value, Round::Up).map_err(at("nbf"))?),
                "iat" => claims.issued_at = Some(time(value, Round::Down).map_err(at("iat"))?),
                "iss" => claims.issuer = Some(party(value.get()).map_err(at("iss"))?),
                "aud" => claims.audience = Some(audience(value)?),
                OWN => claims.read_own(&members(value.get()).map_err(at(OWN))?)?,
                _ => {}
            }
        }
        Ok(claims)
    }

    fn read_own(&mut self, own: &Members<'_>) -> Result<(), ClaimError> {
        for (name, value) in own {
            match name.as_ref() {
                "subscribe" => self.rights.subscribe = list(value, "towncrier.subscribe", selector)?,
                "publish" => self.rights.publish = list(value, "towncrier.publish", selector)?,
                "admin" => self.rights.admin = list(value, "towncrier.admin", scope)?,
                "login" => self.login_at = Some(time(value, Round::Down).map_err(at("towncrier.login"))?),
                _ => return Err(at(OWN)(Problem::Unknown)),
            }
        }
        Ok(())
    }

    /// The claims as JSON: what is absent is left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut claims = serde_json::Map::new();
        let mut put = |name: &str, value: Option<Value>| value.map(|value| claims.insert(name.to_owned(), value));
        let secs = |time: Option<UnixTime>| time.map(|time| json!(time.as_secs()));
        put("sub", self.subject.as_ref().map(|name| json!(name.as_str())));
        put("iss", self.issuer.as_ref().map(|issuer| json!(issuer)));
        put("aud", self.audience.as_ref().map(|audience| json!(audience)));
        put("iat", secs(self.issued_at));
        put("nbf", secs(self.not_before));
        put("exp", secs(self.expires_at));

        let mut own = serde_json::Map::new();
        let selectors = |list: &[Selector]| list.iter().map(|selector| json!(selector.as_str())).collect::<Vec<_>>();
        let admin: Vec<_> = self.rights.admin.iter().map(|scope| json!(scope.as_str())).collect();
        for (name, list) in [
            ("subscribe", selectors(&self.rights.subscribe)),
            ("publish", selectors(&self.rights.publish)),
            ("admin", admin),
        ] {
            if !list.is_empty() {
                own.insert(name.to_owned(), Value::Array(list));
            }
        }
        if let Some(login_at) = secs(self.login_at) {
            own.insert("login".to_owned(), login_at);
        }
        if !own.is_empty() {
            put(OWN, Some(Value::Object(own)));
        }
        Value::Object(claims)
    }
}

fn at<P: Into<Problem>>(field: impl Into<Cow<'static, str>>) -> impl FnOnce(P) -> ClaimError {
    |problem| ClaimError { field: field.into(), problem: problem.into() }
}

fn subject(value: &RawValue) -> Result<Name, Problem> {
    Ok(Name::new(&string(value.get())?)?)
}

fn string(text: &str) -> Result<String, Problem> {
    serde_json::from_str(text).map_err(|_| Problem::Type("a string"))
}

fn party(text: &str) -> Result<String, Problem> {
    let party = string(text)?;
    match party.len() {
        0 => Err(TextError::Empty.into()),
        1..=PARTY_BYTES_MAX => Ok(party),
        _ => Err(TextError::TooLong { max: PARTY_BYTES_MAX }.into()),
    }
}

/// A string, or a list of strings.
fn audience(value: &RawValue) -> Result<Vec<String>, ClaimError> {
    if value.get().starts_with('[') {
        let parties: Vec<&RawValue> = entries(value, AUDIENCES_MAX).map_err(at("aud"))?;
        let indexed = parties.into_iter().enumerate();
        return indexed.map(|(index, value)| party(value.get()).map_err(at(format!("aud[{index}]")))).collect();
    }
    match party(value.get()) {
        Ok(party) => Ok(vec![party]),
        Err(Problem::Type(_)) => Err(at("aud")(Problem::Type("a string or a list of strings"))),
        Err(problem) => Err(at("aud")(problem)),
    }
}

fn entries(value: &RawValue, max: usize) -> Result<Vec<&RawValue>, Problem> {
    let entries: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| Problem::Type("a list"))?;
    if entries.len() > max { Err(Problem::TooMany(max)) } else { Ok(entries) }
}

fn list<T>(
    value: &RawValue,
    field: &'static str,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Vec<T>, ClaimError> {
    let entries = entries(value, RIGHTS_SELECTORS_MAX).map_err(at(field))?;
    let indexed = entries.into_iter().enumerate();
    indexed.map(|(index, entry)| read(entry.get()).map_err(at(format!("{field}[{index}]")))).collect()
}

fn selector(text: &str) -> Result<Selector, Problem> {
    Ok(Selector::new(&string(text)?)?)
}

fn scope(text: &str) -> Result<Scope, Problem> {
    Scope::from_name(&string(text)?).ok_or(Problem::Scope)
}

/// Which whole second stands for a fraction: the stricter one.
#[derive(Clone, Copy)]
enum Round {
    Down,
    Up,
}

/// A NumericDate (RFC 7519, section 2), which may have a fraction.
fn time(value: &RawValue, round: Round) -> Result<UnixTime, Problem> {
    let number: serde_json::Number = serde_json::from_str(value.get()).map_err(|_| Problem::Type("a number"))?;
    let secs = match (number.as_u64(), number.as_f64()) {
        (Some(secs), _) => secs,
        // A whole number below 2⁵³, so the conversion is exact.
        (None, Some(secs)) if (0.0..=UNIX_TIME_MAX as f64).contains(&secs) => match round {
            Round::Down => secs.floor() as u64,
            Round::Up => secs.ceil() as u64,
        },
        _ => return Err(Problem::Time),
    };
    if secs > UNIX_TIME_MAX { Err(Problem::Time) } else { Ok(UnixTime::from_secs(secs)) }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
