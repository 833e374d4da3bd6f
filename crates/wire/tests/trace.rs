//! `traceparent` by the rules of W3C Trace Context.

use proptest::prelude::*;
use towncrier_wire::{SpanId, TraceContext, TraceContextError, TraceId};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn read(text: &str) -> Result<TraceContext, TraceContextError> {
    text.parse()
}

#[test]
fn the_example_of_the_standard_is_read_and_written() {
    let text = format!("00-{TRACE}-{SPAN}-01");
    let context = read(&text).unwrap();
    assert_eq!((context.trace_id().to_string().as_str(), context.span_id().to_string().as_str()), (TRACE, SPAN));
    assert!(context.is_sampled());
    assert_eq!(context.to_string(), text);
    let child = context.with_span(SpanId::new(7).unwrap());
    assert_eq!(child.to_string(), format!("00-{TRACE}-0000000000000007-01"));
}

#[test]
fn later_versions_are_read_as_far_as_they_are_known() {
    for text in ["cc-{}-01", "01-{}-01-what-the-future-will-be-like", "01-{}-01-"] {
        let context = read(&text.replace("{}", &format!("{TRACE}-{SPAN}"))).expect(text);
        assert_eq!(context.to_string(), format!("00-{TRACE}-{SPAN}-01"), "{text}");
    }
    for flags in ["00", "02", "fe"] {
        let context = read(&format!("00-{TRACE}-{SPAN}-{flags}")).expect(flags);
        assert_eq!(context.to_string(), format!("00-{TRACE}-{SPAN}-00"), "flags of others are not passed on");
    }
}

#[test]
fn what_is_none_is_refused() {
    let (nil_trace, nil_span) = ("0".repeat(32), "0".repeat(16));
    for text in [
        String::new(),
        "00".to_owned(),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-1"),
        format!("00-{TRACE}-{SPAN}-01-"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("01-{TRACE}-{SPAN}-01more"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("0-{TRACE}-{SPAN}-011"),
        format!("00-{nil_trace}-{SPAN}-01"),
        format!("00-{TRACE}-{nil_span}-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("0A-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-0x"),
        format!("00-{TRACE}-{SPAN}-+1"),
        format!("00_{TRACE}-{SPAN}-01"),
        format!(" 00-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-01 "),
        format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
        format!("01-{TRACE}-{SPAN}-01-{}", "x".repeat(500)),
        // A character that lies across the end of a field.
        format!("00-{}é-{SPAN}-01", &TRACE[..30]),
    ] {
        assert_eq!(read(&text), Err(TraceContextError), "{text:?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(trace_id in 1_u128.., span_id in 1_u64.., sampled: bool) {
        let ids = (TraceId::new(trace_id).unwrap(), SpanId::new(span_id).unwrap());
        prop_assert_eq!((ids.0.number(), ids.1.number()), (trace_id, span_id));
        let context = TraceContext::new(ids.0, ids.1, sampled);
        prop_assert_eq!(read(&context.to_string()), Ok(context));
    }

    #[test]
    fn nothing_makes_it_panic(text in "\\PC{0,80}|[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,10}") {
        if let Ok(context) = read(&text) {
            prop_assert!(text[3..].starts_with(&context.to_string()[3..52]));
        }
    }
}
