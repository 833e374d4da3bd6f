//! The SDK's queue, thread and exporter, and the counts of what becomes of the spans that are handed to them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor},
};

use super::{Options, SpansError, collector::Collector};
use crate::Count;

/// Most spans of a request.
const BATCH: usize = 512;

/// How long a span waits for others, at most.
const GATHER: Duration = Duration::from_secs(1);

/// How often a request is tried again, and the wait before, which doubles. Only while [`Options::timeout`] lasts.
const RETRIES: usize = 3;
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_JITTER: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(2);

/// In the count of what waits: nothing more is taken.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// Takes spans, and has them exported.
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    /// How many spans were handed to the SDK and have not come back from it to be exported.
    waiting: Arc<AtomicUsize>,
    max: usize,
    collector: Arc<Collector>,
    dropped: Count,
}

impl Exporter {
    pub(super) fn start(options: &Options, exported: Count, dropped: Count) -> Result<Self, SpansError> {
        let collector = Arc::new(Collector::new(options)?);
        let (waiting, max) = (Arc::new(AtomicUsize::new(0)), options.queue.max(1));
        let retries = RetryPolicy::disabled()
            .with_max_retries(RETRIES)
            .with_initial_delay(RETRY_FIRST)
            .with_max_jitter(RETRY_JITTER)
            .with_max_delay(RETRY_LAST);
        let counted = Counted {
            otlp: otlp(options, &collector, retries)?,
            otlp_once: otlp(options, &collector, RetryPolicy::disabled())?,
            waiting: waiting.clone(),
            collector: collector.clone(),
            exported,
            dropped: dropped.clone(),
        };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(max)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(GATHER)
            .build();
        let mut processor = BatchSpanProcessor::new(counted, config);
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", options.service.clone()),
            KeyValue::new("service.instance.id", options.instance.clone()),
            KeyValue::new("service.version", options.version.clone()),
        ]);
        processor.set_resource(&resource.build());
        Ok(Self { processor, waiting, max, collector, dropped })
    }

    /// Takes a span, if there is room.
    ///
    /// The SDK drops what it has no room for and tells nobody how much, so it is given no more than it has room for.
    pub(super) fn push(&self, span: SpanData) {
        let enter = |waiting| (waiting < self.max).then_some(waiting + 1);
        if self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).is_ok() {
            self.processor.on_end(span);
        } else {
            self.dropped.inc();
        }
    }

    pub(super) fn finish(&self, within: Duration) {
        if self.waiting.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED != 0 {
            return;
        }
        self.collector.end_at(Instant::now() + within);
        if self.processor.shutdown_with_timeout(within).is_ok() {
            // Those that were handed over while the SDK's thread ended.
            let missed = self.waiting.swap(CLOSED, Ordering::AcqRel) & !CLOSED;
            self.dropped.inc_by(missed as u64);
        } else {
            // They are counted as that thread comes to them, if somebody still looks.
            let left = self.waiting.load(Ordering::Acquire) & !CLOSED;
            tracing::warn!(left, "the collector did not take the last spans in time");
        }
    }
}

/// The SDK's exporter. None of its settings is left to the environment.
fn otlp(options: &Options, collector: &Arc<Collector>, retries: RetryPolicy) -> Result<OtlpExporter, SpansError> {
    let exporter = OtlpExporter::builder()
        .with_http()
        .with_shared_http_client(collector.clone())
        .with_endpoint(collector.url())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(options.timeout)
        .with_retry_policy(retries);
    Ok(exporter.build()?)
}

/// The SDK's exporter, and the counts of what becomes of spans.
#[derive(Debug)]
struct Counted {
    otlp: OtlpExporter,
    /// When the hub ends: it does not wait for the collector's sake.
    otlp_once: OtlpExporter,
    waiting: Arc<AtomicUsize>,
    collector: Arc<Collector>,
    exported: Count,
    dropped: Count,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::AcqRel);
        let otlp = if self.collector.is_over() { &self.otlp_once } else { &self.otlp };
        let result = otlp.export(batch).await;
        let rejected = self.collector.take_rejected();
        let taken = if result.is_ok() { (count as u64).saturating_sub(rejected) } else { 0 };
        self.exported.inc_by(taken);
        self.dropped.inc_by(count as u64 - taken);
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
        self.otlp_once.set_resource(resource);
    }
}
