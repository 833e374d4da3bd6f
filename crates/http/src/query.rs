//! Queries and paths of requests, decoded strictly: what is not UTF-8 is an error, not a replacement character.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

use crate::problem::Problem;

/// The parameters of a query, in their order.
#[derive(Debug)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// The parameter that may hold a token, on every request.
    pub(crate) const TOKEN: &'static str = "token";

    pub(crate) fn parse(query: &'a str) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode_form(name).ok_or_else(|| Problem::field("query", "a name is not UTF-8"))?;
            let value = decode_form(value).ok_or_else(|| Problem::field(name.as_ref(), "is not UTF-8"))?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// Refuses parameters that the endpoint does not know: a misspelled filter must not give everything.
    pub(crate) fn allow(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| name != Self::TOKEN && !known.contains(&name.as_ref())) {
            Some((name, _)) => Err(Problem::field(name.as_ref(), "is not a parameter of this request")),
            None => Ok(()),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_ref())
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, name: &str, from: u64, to: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (from..=to).contains(number));
        let number = number.filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        number.map(Some).ok_or_else(|| Problem::field(name, format_args!("must be a whole number from {from} to {to}")))
    }
}

fn decode_form(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned().into());
    }
    percent_decode_str(text).decode_utf8().ok()
}

/// A part of a path.
pub(crate) fn decode_path<'a>(raw: &'a str, field: &str) -> Result<Cow<'a, str>, Problem> {
    percent_decode_str(raw).decode_utf8().map_err(|_| Problem::field(field, "is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let query = Query::parse("topic=a%2Fb&topic=c+d%2B&&empty&cursor=1-0").unwrap();
        assert_eq!(query.all("topic").collect::<Vec<_>>(), ["a/b", "c d+"]);
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.get("missing"), None);
    }

    #[test]
    fn what_is_not_utf8_is_named() {
        let problem = Query::parse("topic=%ff").unwrap_err();
        assert_eq!(problem.to_json()["field"], "topic");
        assert!(Query::parse("%ff=x").is_err());
        assert!(decode_path("a%C3", "topic").is_err());
    }

    #[test]
    fn numbers_have_bounds_and_no_sign() {
        let number = |text: &str| Query::parse(text).unwrap().number("n", 1, 10).map_err(|p| p.to_string());
        assert_eq!(number("n=10"), Ok(Some(10)));
        assert_eq!(number(""), Ok(None));
        for bad in ["n=0", "n=11", "n=%2B3", "n=-1", "n=", "n=1.0", "n=99999999999999999999"] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }
}
