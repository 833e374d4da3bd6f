//! The scripts, each behind the prelude that they share.

use std::sync::LazyLock;

/// A script and the digest under which Redis remembers it.
pub(crate) struct Script {
    pub(crate) source: String,
    pub(crate) digest: String,
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            let source = concat!(include_str!("lua/prelude.lua"), "\n", include_str!(concat!("lua/", $file)));
            Script { source: source.to_owned(), digest: fred::util::sha1_hash(source) }
        });)*
    };
}

scripts! {
    PUBLISH = "publish.lua";
    READ = "read.lua";
    HEADS = "heads.lua";
    CHANGES = "changes.lua";
    TOPICS = "topics.lua";
    CLEAR = "clear.lua";
    TOTALS = "totals.lua";
    SWEEP = "sweep.lua";
    PRESENT = "present.lua";
    ACCOUNTS = "accounts.lua";
    ENTER = "enter.lua";
    HAND = "hand.lua";
    REPORT = "report.lua";
    LEAVE = "leave.lua";
}
