//! `fanout`: a steady rate of events to many subscribers; checks and times every delivery.

use std::fmt;

use serde::Serialize;

use crate::args::FanoutArgs;
use crate::client::{Audience, Client, Faults, Outcome};
use crate::report::{Report, Table};
use crate::stats::{Quantiles, ServerCpu};
use crate::{Error, sys};

/// What one load on one server came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FanoutReport {
    /// Connections held.
    pub subscribers: usize,
    /// Topics that they were spread over.
    pub topics: usize,
    /// Events per second asked for.
    pub rate: f64,
    /// Bytes of data per event.
    pub size: usize,
    /// Length of the measured window in seconds.
    pub window_s: f64,
    /// Events that the schedule held, warm-up included.
    pub scheduled: u64,
    /// Events published, warm-up included; fewer than scheduled if the server could not keep up.
    pub published: u64,
    /// Publishes answered by a 2xx status.
    pub acknowledged: u64,
    /// Deliveries received in the window.
    pub deliveries: u64,
    /// Deliveries received per second.
    pub deliveries_per_s: f64,
    /// Megabytes (10^6) received per second, HTTP framing included.
    pub megabytes_per_s: f64,
    /// Publishes in the window per second.
    pub publishes_per_s: f64,
    /// From when an event was due to its receipt by a subscriber, for events due in the window; absent if none came.
    pub latency: Option<Quantiles>,
    /// From a publish request to its answer.
    pub publish_answer: Option<Quantiles>,
    /// The longest that a publish went out after it was due, in milliseconds: the client's own or the server's slowness.
    pub publish_late_ms_max: f64,
    /// The server's CPU in the window, if its process was named.
    pub server: Option<ServerCpu>,
    /// Cores that the client used.
    pub client_cores: f64,
    /// Whether the client was so busy that the figures may be its own.
    pub client_was_bottleneck: bool,
    /// What went wrong.
    pub faults: Faults,
    /// The first thing that went wrong with a connection or publish, in words.
    pub problem: Option<String>,
}

/// Connects, publishes and receives; see [`FanoutArgs`].
///
/// # Errors
/// If the server refuses a subscriber, breaks a publishing connection or is not on loopback. Wrong deliveries are no
/// error but counted in [`FanoutReport::faults`].
pub fn fanout(args: &FanoutArgs) -> Result<FanoutReport, Error> {
    let mut client = Client::connect(&args.target, args.subscribers, args.topics)?;
    let outcome = client.publish(args.rate, &args.traffic, Audience::Subscribers)?;
    Ok(FanoutReport::new(args, outcome))
}

impl FanoutReport {
    /// Whether the server took events as fast as they were due: all but one, or 1 in 100, of them in time.
    #[must_use]
    pub fn schedule_was_kept(&self) -> bool {
        let (due, published) = (self.rate * self.window_s, self.publishes_per_s * self.window_s);
        self.published == self.scheduled && published + 1.0 >= due * 0.99
    }

    fn new(args: &FanoutArgs, outcome: Outcome) -> Self {
        let window_s = outcome.window.as_secs_f64();
        Self {
            subscribers: args.subscribers,
            topics: args.topics,
            rate: args.rate,
            size: args.traffic.size,
            window_s,
            scheduled: outcome.scheduled,
            published: outcome.published,
            acknowledged: outcome.acknowledged,
            deliveries: outcome.deliveries,
            deliveries_per_s: outcome.deliveries as f64 / window_s,
            megabytes_per_s: outcome.bytes as f64 / 1e6 / window_s,
            publishes_per_s: outcome.publishes as f64 / window_s,
            latency: outcome.latency,
            publish_answer: outcome.answers,
            publish_late_ms_max: outcome.lateness.as_secs_f64() * 1e3,
            server: outcome.server,
            client_cores: outcome.client_cores,
            client_was_bottleneck: outcome.client_was_busy(),
            faults: outcome.faults,
            problem: outcome.problem,
        }
    }
}

impl Report for FanoutReport {
    fn passed(&self) -> bool {
        self.faults.is_empty() && self.published > 0
    }
}

impl fmt::Display for FanoutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} subscribers, {} topics, {} events/s of {} B, {:.1} s\n",
            self.subscribers, self.topics, self.rate, self.size, self.window_s
        )?;
        let one = |value: f64| format!("{value:.1}");
        let three = |value: f64| format!("{value:.3}");
        let mut table = Table::default();
        table
            .row([&"deliveries/s", &format!("{:.0}", self.deliveries_per_s)])
            .row([&"publishes/s", &one(self.publishes_per_s)])
            .row([&"MB/s", &one(self.megabytes_per_s)])
            .row([&"client, cores", &format!("{:.2}", self.client_cores)]);
        if let Some(server) = self.server {
            table
                .row([&"server, cores", &format!("{:.2}", server.cores)])
                .row([&"server, CPU µs per delivery", &three(server.us_per_delivery)])
                .row([&"  in user space", &three(server.user_us_per_delivery)])
                .row([&"  in the kernel", &three(server.system_us_per_delivery)]);
        }
        writeln!(f, "{table}")?;
        let mut table = Table::default();
        table.row([&"ms", &"p50", &"p90", &"p99", &"p99.9", &"max"]);
        for (name, quantiles) in [("publish to receipt", self.latency), ("publish to answer", self.publish_answer)] {
            let Some(Quantiles { p50_ms, p90_ms, p99_ms, p999_ms, max_ms }) = quantiles else {
                continue;
            };
            let [p50, p90, p99, p999, max] = [p50_ms, p90_ms, p99_ms, p999_ms, max_ms].map(three);
            table.row([&name, &p50, &p90, &p99, &p999, &max]);
        }
        write!(f, "{table}")?;
        self.write_remarks(f)
    }
}

impl FanoutReport {
    fn write_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.schedule_was_kept() {
            let (rate, late) = (self.publishes_per_s, self.publish_late_ms_max);
            writeln!(f, "\nThe schedule was not kept: {rate:.1} publishes/s, up to {late:.0} ms late.")?;
        }
        if self.client_was_bottleneck {
            writeln!(f, "\nThe client was the bottleneck: it used {:.0} % of its core.", self.client_cores * 100.0)?;
        }
        write_faults(f, &self.faults, self.problem.as_deref())
    }
}

/// One line on what went wrong, or that nothing did.
pub(crate) fn write_faults(f: &mut fmt::Formatter<'_>, faults: &Faults, problem: Option<&str>) -> fmt::Result {
    if faults.is_empty() {
        return writeln!(f, "\nEvery event arrived once and in order.");
    }
    let Faults { lost, duplicated, reordered, misrouted, damaged, gaps, ended, refused } = faults;
    writeln!(
        f,
        "\nFAILED: {lost} lost, {duplicated} duplicated, {reordered} out of order, {misrouted} misrouted, {damaged} damaged, \
         {gaps} gaps, {ended} streams ended, {refused} publishes refused or unanswered"
    )?;
    problem.map_or(Ok(()), |problem| writeln!(f, "first: {problem}"))
}

/// Refuses what would only fail later: a scenario that measures a process needs to know which.
pub(crate) fn require_pid(pid: Option<u32>) -> Result<u32, Error> {
    let pid = pid.ok_or_else(|| Error::Options("--server-pid is needed to measure the server".to_owned()))?;
    sys::cpu(pid)?;
    Ok(pid)
}
