//! The scripts, each behind the prelude that they share and the parts that it needs.

use std::sync::LazyLock;

/// A script and the digest under which Redis remembers it.
pub(crate) struct Script {
    pub(crate) source: String,
    pub(crate) digest: String,
}

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)*) => {
        $(pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            let source = concat!(include_str!("lua/prelude.lua"), $("\n", include_str!(concat!("lua/", $file))),+);
            Script { source: source.to_owned(), digest: fred::util::sha1_hash(source) }
        });)*
    };
}

scripts! {
    PUBLISH = "events.lua" "store.lua" "publish.lua";
    READ = "events.lua" "expire.lua" "read.lua";
    HEADS = "nodes.lua" "heads.lua";
    CHANGES = "events.lua" "changes.lua";
    TOPICS = "events.lua" "expire.lua" "topics.lua";
    CLEAR = "events.lua" "expire.lua" "clear.lua";
    TOTALS = "totals.lua";
    SWEEP = "nodes.lua" "events.lua" "expire.lua" "sweep.lua";
    PRESENT = "present.lua";
    ACCOUNTS = "accounts.lua";
    ENTER = "nodes.lua" "enter.lua";
    HAND = "nodes.lua" "hand.lua";
    REPORT = "nodes.lua" "events.lua" "store.lua" "report.lua";
    LEAVE = "leave.lua";
}
