//! A panic never leaves a hub that looks alive and delivers nothing.

use tokio::time::timeout;
use towncrier_wire::Start;

use crate::hub::{Reader, SOON, eventually, options, publish, spec, with_hub};

#[test]
fn a_vital_actor_that_panics_ends_the_hub() {
    for actor in ["bridge", "history", "registry", "cluster"] {
        with_hub(options(), async |hub, _| {
            hub.panic(actor);
            assert_eq!(timeout(SOON, hub.failed()).await.expect("it is noticed"), actor);
            assert_eq!(hub.metrics().actor_failures.total(), 1);
        });
    }
}

#[test]
fn so_do_the_rooms_of_one_worker() {
    with_hub(options(), async |hub, _| {
        hub.worker().panic();
        assert_eq!(timeout(SOON, hub.failed()).await.expect("it is noticed"), "rooms");
    });
}

#[test]
fn actors_that_end_with_the_hub_have_not_failed() {
    with_hub(options(), async |hub, _| {
        hub.stop();
        assert!(timeout(std::time::Duration::from_millis(200), hub.failed()).await.is_err());
        assert_eq!(hub.metrics().actor_failures.total(), 0);
    });
}

#[test]
fn a_session_that_panics_ends_its_own_stream_only() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let mut hurt = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        let mut bystander = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        hurt.stream.panic();
        assert_eq!(hurt.next().await, None, "its client reconnects and resumes");
        publish(&hub, "news", 0..3).await;
        bystander.take(0..3).await;
        eventually("gone", || match hub.metrics().sessions_open.get() {
            1 => Ok(()),
            open => Err(open),
        })
        .await;
        assert_eq!(hub.metrics().actor_failures.total(), 1);
    });
}
