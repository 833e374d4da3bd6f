use std::{
    cell::Cell,
    io::Write,
    sync::MutexGuard,
    time::{Duration, Instant},
};

use serde_json::Value;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

struct Guard<'a>(MutexGuard<'a, Vec<u8>>);

impl Write for Guard<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Guard<'a>;

    fn make_writer(&'a self) -> Guard<'a> {
        Guard(self.0.lock().unwrap())
    }
}

impl Written {
    fn lines(&self) -> Vec<Value> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    fn messages(&self) -> Vec<String> {
        self.lines().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }
}

fn json(lines: u32, period: Duration) -> (Written, impl Subscriber) {
    let written = Written::default();
    let counter = Arc::new(Counter::new(Repeats { lines, period }, true, || NOW.get()));
    let layer = fmt::layer().fmt_fields(Json).event_format(Limited { format: Json, counter });
    (written.clone(), tracing_subscriber::registry().with(layer.with_writer(written)))
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn filters() {
    for filter in ["info", "off", "info,towncrier_http=debug", "warn, towncrier=trace", "INFO"] {
        assert!(check_filter(filter).is_ok(), "{filter}");
    }
    for (filter, part) in [
        ("", "``"),
        ("inof", "`inof`"),
        ("info,", "``"),
        ("info,towncrier_http", "`towncrier_http`"),
        ("towncrier_http=loud", ""),
    ] {
        let error = check_filter(filter).expect_err(filter).to_string();
        assert!(error.contains(part), "{filter}: {error}");
    }
}

#[test]
fn a_line_is_one_object_with_the_fields_of_its_spans() {
    let (written, subscriber) = json(0, LONG);
    tracing::subscriber::with_default(subscriber, || {
        let outer = tracing::error_span!("request", trace_id = "4bf9", late = tracing::field::Empty);
        let _outer = outer.enter();
        outer.record("late", 7);
        let _inner = tracing::error_span!("inner", quoted = "a \"b\"\n").entered();
        tracing::warn!(count = 3_u64, ratio = 0.5, nan = f64::NAN, ok = true, debug = ?Some("x"), "it is {}", "so");
    });
    let lines = written.lines();
    let line = &lines[0];
    for (key, value) in [
        ("level", Value::from("WARN")),
        ("message", "it is so".into()),
        ("count", 3.into()),
        ("ratio", 0.5.into()),
        ("nan", "NaN".into()),
        ("ok", true.into()),
        ("debug", "Some(\"x\")".into()),
        ("trace_id", "4bf9".into()),
        ("late", 7.into()),
        ("quoted", "a \"b\"\n".into()),
        ("target", module_path!().into()),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert!(line["timestamp"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{line}");
}

thread_local! {
    static NOW: Cell<Instant> = Cell::new(Instant::now());
}

fn pass(time: Duration) {
    NOW.set(NOW.get() + time);
}

#[test]
fn what_comes_again_is_counted_and_told_with_the_next_that_is_written() {
    let period = Duration::from_secs(10);
    let (written, subscriber) = json(3, period);
    tracing::subscriber::with_default(subscriber, || {
        let flood = |number: u32| tracing::warn!("flood {number}");
        (0..10).for_each(flood);
        assert_eq!(written.messages(), ["flood 0", "flood 1", "flood 2"]);
        tracing::warn!("another place");
        pass(period - Duration::from_millis(1));
        flood(10);
        assert_eq!(written.messages(), ["another place"]);
        pass(Duration::from_millis(1));
        flood(11);
        let told = written.lines();
        assert_eq!(told[0]["message"], "flood 2 … repeated 8 times");
        assert_eq!((&told[0]["level"], &told[0]["target"]), (&"WARN".into(), &module_path!().into()));
        assert_eq!(told[1]["message"], "flood 11");
    });
}

#[test]
fn what_was_counted_is_told_when_its_period_is_over_or_at_the_end() {
    let counter = Arc::new(Counter::new(Repeats { lines: 1, period: Duration::from_secs(10) }, false, || NOW.get()));
    let layer = fmt::layer().with_ansi(false).map_event_format(|format| Limited { format, counter: counter.clone() });
    let written = Written::default();
    let subscriber = tracing_subscriber::registry().with(layer.with_writer(written.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let flood = |long: &str| tracing::info!(number = 1, "flood {long}");
        (0..2).for_each(|_| flood("short"));
        assert_eq!(counter.tell(false), "");
        pass(Duration::from_secs(10));
        let told = counter.tell(false);
        assert!(told.ends_with(&format!("Z  INFO {}: flood short … repeated once\n", module_path!())), "{told}");
        assert_eq!(counter.tell(true), "", "told once");
        (0..3).for_each(|_| flood(&"é".repeat(1000)));
        let told = counter.tell(true);
        assert!(told.ends_with("é … repeated 2 times\n") && told.len() < 400, "{told}");
    });
}

#[test]
fn what_goes_over_connections_is_not_written_out() {
    let written = Written::default();
    let layer = fmt::layer().fmt_fields(Json).event_format(Json).with_writer(written.clone());
    let all = EnvFilter::new("trace,ureq_proto=trace").and(without_dumps());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.with_filter(all)), || {
        tracing::trace!(target: "ureq_proto::util", "dump");
        tracing::trace!(target: "ureq_proto", "dump");
        tracing::debug!(target: "ureq_proto::util", "talk");
        tracing::trace!(target: "ureq_proton", "other");
        let record = |target| {
            let record =
                log::Record::builder().args(format_args!("record")).level(log::Level::Trace).target(target).build();
            tracing_log::format_trace(&record).unwrap();
        };
        record("ureq_proto::util");
        record("ureq::run");
    });
    assert_eq!(written.messages(), ["talk", "other", "record"]);
}

#[test]
fn audits_and_traces_are_never_held_back_nor_is_anything_without_a_limit() {
    for (lines, expected) in [(1, [1, 1, 5, 5]), (0, [5, 5, 5, 5])] {
        let (written, subscriber) = json(lines, LONG);
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..5 {
                tracing::error!("e");
                tracing::debug!("d");
                tracing::trace!("t");
                tracing::info!(target: "towncrier::audit", "a");
            }
        });
        let messages = written.messages();
        let count = |text: &str| messages.iter().filter(|message| *message == text).count();
        assert_eq!([count("e"), count("d"), count("t"), count("a")], expected, "{lines}");
    }
}
