//! The log of a process, of which there is one: so this is a process of its own.

use std::time::Duration;

use towncrier_telemetry::logging::{Format, LogError, Repeats, init};
use tracing_log::log;

#[test]
fn the_log_is_set_up_once_and_its_filter_may_change() {
    let all = Repeats { lines: 0, period: Duration::from_secs(1) };
    assert!(matches!(init(Format::Json, "loud", all), Err(LogError::Filter(_))));
    let log = init(Format::Json, "off", all).unwrap();
    assert!(matches!(init(Format::Human, "off", all), Err(LogError::Twice(_))));
    assert!(!tracing::enabled!(tracing::Level::ERROR));
    assert_eq!(log::max_level(), log::LevelFilter::Off);

    log.set_filter("warn,log=debug").unwrap();
    assert!(tracing::enabled!(tracing::Level::DEBUG));
    assert!(!tracing::enabled!(target: "other", tracing::Level::INFO));
    assert_eq!(log::max_level(), log::LevelFilter::Debug, "libraries that log in the other way are heard, too");

    assert!(matches!(log.set_filter("loud"), Err(LogError::Filter(_))));
    assert_eq!(log.filter(), "warn,log=debug");
    log.set_filter("off").unwrap();
    assert!(!tracing::enabled!(tracing::Level::ERROR));
}
