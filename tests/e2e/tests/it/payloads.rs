//! Data that an encoder could get wrong, and what a client must make of it.

/// What is published, and what arrives: line ends as LF, all else as it was sent.
pub(crate) const PAYLOADS: [(&str, &str); 26] = [
    ("plain", "plain"),
    ("", ""),
    (" ", " "),
    (" one leading space", " one leading space"),
    ("   three", "   three"),
    ("\ttab", "\ttab"),
    ("trailing space ", "trailing space "),
    ("two\nlines", "two\nlines"),
    ("carriage\rreturn", "carriage\nreturn"),
    ("both\r\nof them", "both\nof them"),
    ("the wrong way round\n\rhere", "the wrong way round\n\nhere"),
    ("an empty\n\nline", "an empty\n\nline"),
    ("mixed\r\n\r\n\n\rends\r", "mixed\n\n\n\nends\n"),
    ("\nleading line end", "\nleading line end"),
    ("trailing line end\n", "trailing line end\n"),
    ("\n", "\n"),
    ("data: not a field", "data: not a field"),
    ("id: 0-0\nevent: forged\n\ndata: forged", "id: 0-0\nevent: forged\n\ndata: forged"),
    (": not a comment", ": not a comment"),
    ("retry: 1", "retry: 1"),
    ("nul \0 inside", "nul \0 inside"),
    ("\u{feff}byte order mark", "\u{feff}byte order mark"),
    ("line\u{2028}and\u{2029}paragraph\u{85}separators", "line\u{2028}and\u{2029}paragraph\u{85}separators"),
    ("vertical\u{b}tab, form\u{c}feed, \u{1c}\u{1d}\u{1e}", "vertical\u{b}tab, form\u{c}feed, \u{1c}\u{1d}\u{1e}"),
    ("Grüße, 世界, \u{1f9d1}\u{200d}\u{1f680}, e\u{301}", "Grüße, 世界, \u{1f9d1}\u{200d}\u{1f680}, e\u{301}"),
    (r#"{"json":"as \"text\"\n"}"#, r#"{"json":"as \"text\"\n"}"#),
];

/// The payloads to publish.
pub(crate) fn sent() -> Vec<String> {
    PAYLOADS.iter().map(|(sent, _)| (*sent).to_owned()).collect()
}

/// The payloads as they must arrive.
pub(crate) fn received() -> Vec<&'static str> {
    PAYLOADS.iter().map(|(_, received)| *received).collect()
}
