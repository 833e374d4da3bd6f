//! What one stream gives.

use std::time::Duration;

use towncrier_actors::messages::{Disconnect, ListSessions, SendDirect, Who};
use towncrier_wire::{Name, Start, sse};

use crate::hub::{Reader, eventually, options, publish, spec, with_hub};

#[test]
fn a_stream_that_is_dropped_leaves_nothing_behind() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let reader = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        drop(reader);
        eventually("unregistered", || match hub.metrics().registry_sessions.get() {
            0 => Ok(()),
            sessions => Err(sessions),
        })
        .await;
        eventually("no cohort", || match hub.metrics().cohorts.get() {
            0 => Ok(()),
            cohorts => Err(cohorts),
        })
        .await;
    });
}

#[test]
fn direct_events_beyond_the_queue_are_refused_and_told() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let mut anna = spec(&["news"], Start::Live);
        anna.user = Some(Name::new("anna").expect("name"));
        let mut reader = Reader::open(&worker, anna).await;
        let who = Who::User(Name::new("anna").expect("name"));
        let mut taken = 0;
        for number in 0..6 {
            let frame = sse::direct(None, &number.to_string());
            taken += hub.registry().send(SendDirect { who: who.clone(), frame }).await.expect("sent").expect("known");
        }
        assert_eq!(taken, 4);
        reader.take(0..4).await;
        let gap = reader.next().await.expect("a gap");
        assert_eq!((gap.event.as_str(), gap.data.as_str()), ("gap", r#"{"reason":"dropped"}"#));
        assert_eq!(hub.metrics().drops.total(), 2);
    });
}

#[test]
fn a_session_that_is_ended_for_good_gets_what_was_delivered_and_is_told() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let mut reader = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        publish(&hub, "news", 0..1).await;
        reader.take(0..1).await;
        let sessions = hub.registry().send(ListSessions { limit: 10, ..ListSessions::default() }).await.expect("sent");
        let ended = hub.registry().send(Disconnect(Who::Session(sessions[0].id.clone()))).await.expect("sent");
        assert_eq!(ended, Some(1));
        let close = reader.next().await.expect("a close");
        assert_eq!(close.data, r#"{"reason":"disconnected","reconnect":false}"#);
        assert_eq!(reader.cursor, "closed");
        assert_eq!(reader.next().await, None);
    });
}

#[test]
fn streams_have_an_age() {
    let mut options = options();
    options.max_lifetime = Duration::from_millis(400);
    with_hub(options, async |hub, _| {
        let mut reader = Reader::open(&hub.worker(), spec(&["news"], Start::Live)).await;
        let close = reader.next().await.expect("a close");
        assert_eq!(close.data, r#"{"reason":"max_lifetime","reconnect":true}"#);
    });
}
