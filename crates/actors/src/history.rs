//! What sessions and administrators read of the past.
//!
//! It is fed before any worker is, and asks the backplane only for what is older than its rings. Sessions that want the
//! same topic at the same time wait for one answer.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc, time::Instant};

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture};
use futures_util::{FutureExt, future::LocalBoxFuture, future::Shared};
use tokio::sync::Semaphore;
use towncrier_backplane::{Backplane, BackplaneError};
use towncrier_core::{
    Cache, TopicRead,
    cache::Plan,
    replay::{From, Request},
    store::TopicInfo,
};
use towncrier_telemetry::{Metrics, Operation, ReplaySource};
use towncrier_wire::{EventId, Heads, Selector, Topic, limits::REPLAY_PAGE_EVENTS_MAX};

use crate::{
    fatal::Vital,
    messages::{Feed, Follow, Forget, Read, Replayed, Reset, Unfollow},
    pulse::BEAT,
    sharing::Sharing,
};

/// Most reads of the backplane at a time. Beyond, they wait: sessions that come back by the thousands must not hold up what
/// is published meanwhile, and what one of them has read, those that waited find here.
const READS_MAX: usize = 16;

/// Most lists of topics that are asked for at a time, and how many topics each has.
const LISTS_MAX: usize = 4;
const TOPICS_PER_READ: usize = 1000;

type Load = Shared<LocalBoxFuture<'static, Result<Rc<TopicRead>, BackplaneError>>>;

/// Topics that begin with a prefix, and come after a name.
type PageOf = (String, Option<String>);

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
    vital: Vital,
}

struct Inner {
    backplane: Arc<dyn Backplane>,
    cache: RefCell<Cache>,
    /// Reads under way.
    loads: RefCell<HashMap<Asked, UnderWay>>,
    reads: Semaphore,
    floors: Rc<Sharing<(), Heads>>,
    /// Pages of topics.
    lists: Rc<Sharing<PageOf, Rc<Vec<TopicInfo>>>>,
    metrics: Arc<Metrics>,
}

impl History {
    pub(crate) fn new(backplane: Arc<dyn Backplane>, cache: Cache, metrics: Arc<Metrics>, vital: Vital) -> Self {
        let inner = Inner {
            backplane,
            cache: RefCell::new(cache),
            loads: RefCell::default(),
            reads: Semaphore::new(READS_MAX),
            floors: Sharing::new(1),
            lists: Sharing::new(LISTS_MAX),
            metrics,
        };
        Self { inner: Rc::new(inner), vital }
    }
}

impl Inner {
    async fn read(self: Rc<Self>, request: Request) -> Result<Replayed, BackplaneError> {
        let partitions = self.backplane.partitions();
        let mut plan = self.cache.borrow().plan(&request);
        let is_listed = !plan.unknown.is_empty();
        for pattern in std::mem::take(&mut plan.unknown) {
            let mut after = self.plan_page(&pattern, None, &request, &mut plan).await?;
            while after.is_some() {
                after = self.plan_page(&pattern, after, &request, &mut plan).await?;
            }
        }

        let source = if plan.missing.is_empty() && !is_listed { ReplaySource::Ring } else { ReplaySource::Backplane };
        // One more than a page holds, so that a page which is not full is known to be the last.
        let limit = if matches!(request.from, From::Last(_)) { usize::MAX } else { REPLAY_PAGE_EVENTS_MAX + 1 };
        for (topic, after) in std::mem::take(&mut plan.missing) {
            let upto = request.upto[partitions.of(&topic).index()];
            let read = self.load((topic.clone(), after, limit), upto).await?;
            plan.known.insert(topic, (*read).clone());
        }
        // Of a topic that is whole here from the cursor on nothing is lost, whatever the backplane has lost since.
        let whole = |(topic, read): (&Topic, &TopicRead)| {
            read.trimmed <= request.after(partitions.of(topic).index(), partitions)
        };
        let is_whole =
            source == ReplaySource::Ring && matches!(request.from, From::After(_)) && plan.known.iter().all(whole);
        let floors = if is_whole { Heads::default() } else { self.floors().await? };
        Ok(Replayed { page: request.page(&plan.known, &floors, partitions), source })
    }

    async fn floors(&self) -> Result<Heads, BackplaneError> {
        let backplane = self.backplane.clone();
        self.floors.ask((), move || async move { backplane.floors().await }).await
    }

    /// A page of the topics of a pattern that may have what a request wants, into its plan; gives where the next begins.
    async fn plan_page(
        &self,
        pattern: &Selector,
        after: Option<String>,
        request: &Request,
        plan: &mut Plan,
    ) -> Result<Option<String>, BackplaneError> {
        let (backplane, prefix) = (self.backplane.clone(), pattern.prefix().to_owned());
        let key = (prefix.clone(), after.clone());
        let list = move || async move { backplane.topics(prefix, after, TOPICS_PER_READ).await.map(Rc::new) };
        let topics = self.lists.ask(key, list).await?;
        let partitions = self.backplane.partitions();
        // What a topic has and has lost is at or before its last id.
        let may_have = |info: &&TopicInfo| {
            let after = request.after(partitions.of(&info.topic).index(), partitions);
            pattern.matches(&info.topic) && info.last_id > after
        };
        for info in topics.iter().filter(may_have) {
            self.cache.borrow().plan_topic(&info.topic, request, plan);
        }
        let last = topics.last().filter(|_| topics.len() == TOPICS_PER_READ);
        Ok(last.map(|last| last.topic.as_str().to_owned()))
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
            let read = inner.read_topic(topic, *after, *limit).await;
            // Of two reads of the same, the first to end may be the other one's; that only shares less.
            inner.loads.borrow_mut().remove(&own);
            Ok(Rc::new(read?))
        };
        let load: Load = load.boxed_local().shared();
        // Whoever wants all there is cannot say what that was.
        if upto < EventId::MAX {
            self.loads.borrow_mut().insert(asked, UnderWay { has: upto, load: load.clone() });
        }
        load.await
    }

    /// Reads a topic when it is its turn, unless another read has brought what is needed meanwhile.
    async fn read_topic(&self, topic: &Topic, after: EventId, limit: usize) -> Result<TopicRead, BackplaneError> {
        let _turn = match self.reads.try_acquire() {
            Ok(turn) => turn,
            Err(_) => {
                self.metrics.replay_waits.inc();
                let turn = self.reads.acquire().await.map_err(|_| BackplaneError::Unavailable)?;
                if let Some(read) = self.cache.borrow().read(topic, after, limit) {
                    return Ok(read);
                }
                turn
            }
        };
        let began = Instant::now();
        let read = self.backplane.read(topic.clone(), after, limit).await;
        self.metrics.backplane_seconds.of(Operation::Read).observe_time(began.elapsed());
        let read = read?;
        self.cache.borrow_mut().backfill(topic, after, &read);
        Ok(read)
    }
}

impl Actor for History {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(BEAT, |history, _| history.vital.beat());
    }
}

impl Handler<Read> for History {
    type Result = ResponseFuture<Result<Replayed, BackplaneError>>;

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
