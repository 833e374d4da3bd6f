//! What sessions and administrators read of the past.
//!
//! It is fed before any worker is, and asks the backplane only for what is older than its rings. Sessions that want the
//! same topic at the same time wait for one answer.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use actix::{Actor, Context, Handler, ResponseFuture};
use futures_util::{FutureExt, future::LocalBoxFuture, future::Shared};
use towncrier_backplane::{Backplane, BackplaneError};
use towncrier_core::{
    Cache, TopicRead,
    replay::{From, Page, Request},
};
use towncrier_telemetry::{Metrics, ReplaySource};
use towncrier_wire::{EventId, Selector, Topic, limits::REPLAY_PAGE_EVENTS_MAX};

use crate::{
    fatal::Vital,
    messages::{Feed, Follow, Forget, Read, Reset, Unfollow},
};

/// How many topics of a pattern are asked for at a time.
const TOPICS_PER_READ: usize = 1000;

type Load = Shared<LocalBoxFuture<'static, Result<Rc<TopicRead>, BackplaneError>>>;

/// What is read: a topic, after which id, how many events at most.
type Asked = (Topic, EventId, usize);

struct UnderWay {
    /// Everything up to this id was stored before the read began, so the answer has it.
    has: EventId,
    load: Load,
}

/// See the module.
pub struct History {
    inner: Rc<Inner>,
    _vital: Vital,
}

struct Inner {
    backplane: Arc<dyn Backplane>,
    cache: RefCell<Cache>,
    /// Reads under way.
    loads: RefCell<HashMap<Asked, UnderWay>>,
    metrics: Arc<Metrics>,
}

impl History {
    pub(crate) fn new(backplane: Arc<dyn Backplane>, cache: Cache, metrics: Arc<Metrics>, vital: Vital) -> Self {
        let loads = RefCell::new(HashMap::new());
        Self { inner: Rc::new(Inner { backplane, cache: RefCell::new(cache), loads, metrics }), _vital: vital }
    }
}

impl Inner {
    async fn read(self: Rc<Self>, request: Request) -> Result<Page, BackplaneError> {
        let mut plan = self.cache.borrow().plan(&request);
        for pattern in std::mem::take(&mut plan.unknown) {
            let mut after = None;
            loop {
                let prefix = pattern.prefix().to_owned();
                let topics = self.backplane.topics(prefix, after, TOPICS_PER_READ).await?;
                for info in topics.iter().filter(|info| pattern.matches(&info.topic)) {
                    self.cache.borrow().plan_topic(&info.topic, &request, &mut plan);
                }
                match topics.last() {
                    Some(last) if topics.len() == TOPICS_PER_READ => after = Some(last.topic.as_str().to_owned()),
                    _ => break,
                }
            }
        }

        let source = if plan.missing.is_empty() { ReplaySource::Ring } else { ReplaySource::Backplane };
        self.metrics.replays.of(source).inc();
        // One more than a page holds, so that a page which is not full is known to be the last.
        let limit = if matches!(request.from, From::Last(_)) { usize::MAX } else { REPLAY_PAGE_EVENTS_MAX + 1 };
        for (topic, after) in std::mem::take(&mut plan.missing) {
            let upto = request.upto[self.backplane.partitions().of(&topic).index()];
            let read = self.load((topic.clone(), after, limit), upto).await?;
            plan.known.insert(topic, (*read).clone());
        }
        let floors = self.backplane.floors().await?;
        Ok(request.page(&plan.known, &floors, self.backplane.partitions()))
    }

    /// Reads, or waits for a read that another session asked for, if that one will have everything up to `upto`.
    async fn load(self: &Rc<Self>, asked: Asked, upto: EventId) -> Result<Rc<TopicRead>, BackplaneError> {
        let under_way = self.loads.borrow().get(&asked).filter(|one| upto <= one.has).map(|one| one.load.clone());
        if let Some(load) = under_way {
            return load.await;
        }
        let (inner, own) = (self.clone(), asked.clone());
        let load = async move {
            let (topic, after, limit) = &own;
            let read = inner.backplane.read(topic.clone(), *after, *limit).await;
            // Of two reads of the same, the first to end may be the other one's; that only shares less.
            inner.loads.borrow_mut().remove(&own);
            let read = read?;
            inner.cache.borrow_mut().backfill(topic, *after, &read);
            Ok(Rc::new(read))
        };
        let load: Load = load.boxed_local().shared();
        // Whoever wants all there is cannot say what that was.
        if upto < EventId::MAX {
            self.loads.borrow_mut().insert(asked, UnderWay { has: upto, load: load.clone() });
        }
        load.await
    }
}

impl Actor for History {
    type Context = Context<Self>;
}

impl Handler<Read> for History {
    type Result = ResponseFuture<Result<Page, BackplaneError>>;

    fn handle(&mut self, Read(request): Read, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.inner.clone().read(request))
    }
}

impl Handler<Follow> for History {
    type Result = ();

    fn handle(&mut self, Follow { selectors, heads }: Follow, _: &mut Self::Context) {
        let mut cache = self.inner.cache.borrow_mut();
        selectors.into_iter().for_each(|selector| cache.follow(selector, heads));
    }
}

impl Handler<Unfollow> for History {
    type Result = ();

    fn handle(&mut self, Unfollow(selectors): Unfollow, _: &mut Self::Context) {
        let mut cache = self.inner.cache.borrow_mut();
        selectors.iter().for_each(|selector: &Selector| cache.unfollow(selector));
    }
}

impl Handler<Feed> for History {
    type Result = ();

    fn handle(&mut self, Feed(events): Feed, _: &mut Self::Context) {
        let mut cache = self.inner.cache.borrow_mut();
        events.iter().for_each(|event| cache.feed(event));
    }
}

impl Handler<Forget> for History {
    type Result = ();

    fn handle(&mut self, Forget(topic): Forget, _: &mut Self::Context) {
        self.inner.cache.borrow_mut().clear(&topic);
    }
}

impl Handler<Reset> for History {
    type Result = ();

    fn handle(&mut self, Reset(heads): Reset, _: &mut Self::Context) {
        self.inner.cache.borrow_mut().reset(&heads);
    }
}
