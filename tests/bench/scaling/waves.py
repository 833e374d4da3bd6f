"""What happens when streams end: who comes back when, to which node, and what that costs. Every client is one of its own; time
goes in ticks of 0.1 s, as in the hub's own loop."""

import heapq
import math
import random

from costs import COSTS

TICK = 0.1
# What a hub that is full answers an EventSource: come back in so many seconds.
REFUSED_RETRY = (5, 60)


def add_arguments(parser, rolling):
    parser.add_argument("--clients", type=int, default=60_000, help="streams that are open (default: 60,000)")
    parser.add_argument("--nodes", type=int, default=6, help="nodes (6)")
    parser.add_argument("--workers", type=int, default=2, help="workers of a node (2)")
    parser.add_argument("--retry", type=float, default=3, help="session.retry in s (3)")
    parser.add_argument("--max-connections", type=int, default=20_000, help="http.max_connections (20,000)")
    parser.add_argument("--connects", type=int, default=0, help="limits.connects_per_second of a node; 0 is none (0)")
    parser.add_argument("--balance", choices=["leastconn", "random"], default="leastconn", help="of the proxy (leastconn)")
    parser.add_argument("--topics", type=int, default=1000, help="topics, of which each client listens to one (1,000)")
    parser.add_argument("--missed", type=int, default=10, help="events that each client missed (10)")
    parser.add_argument("--tls", action="store_true", help="TLS ends at the hub")
    parser.add_argument("--busy", type=float, default=0.3, help="share of the workers that deliveries take (0.3)")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn (1)")
    parser.add_argument("--brief", action="store_true", help="only what it comes to")
    if rolling:
        parser.add_argument("--window", type=float, default=15, help="shutdown.window in s (15)")
        parser.add_argument("--ends", type=int, default=1000, help="shutdown.ends_per_second (1,000)")
        parser.add_argument("--pause", type=float, default=5, help="from not being ready to the first end, in s (5)")
        parser.add_argument("--every", type=float, default=12,
                            help="s from one node to the next: a pod's start and minReadySeconds; 0 waits for the end (12)")
        parser.add_argument("--one", action="store_true", help="only one node, without another in its place")


class Node:
    def __init__(self, sessions, options, draw):
        self.sessions, self.ready, self.ending = sessions, True, None
        # What it follows, and keeps the newest events of.
        self.topics = {draw.randrange(options.topics) for _ in range(sessions)}
        self.tokens = self.burst = float(options.connects)
        self.waiting = 0.0
        self.second = 0


class Waves:
    def __init__(self, options):
        self.options, self.random = options, random.Random(options.seed)
        share, left = divmod(options.clients, options.nodes)
        self.nodes = [Node(share + (number < left), options, self.random) for number in range(options.nodes)]
        self.due = {}
        self.heap = []
        cost = COSTS["connect_tls_us" if options.tls else "connect_us"].value
        cost += options.missed * COSTS["replay_us"].value
        # What a node can take in a tick beside its deliveries.
        self.capacity = options.workers * TICK * 1e6 * (1 - options.busy) / cost
        self.away, self.absent, self.refused, self.longest_wait, self.reads = 0, [], 0, 0.0, 0
        self.seconds = []

    def again(self, tick, since, wait):
        self.due.setdefault(tick + max(1, math.ceil(wait / TICK)), []).append(since)

    def retry(self):
        return self.options.retry * (0.5 + self.random.random())

    def cut(self, node, tick):
        """All streams of a node break at once."""
        for _ in range(node.sessions):
            self.again(tick, tick, self.retry())
        self.away += node.sessions
        node.sessions = 0

    def begin_end(self, node):
        """As actors/src/rooms/drain.rs does."""
        options, count = self.options, node.sessions
        per_tick = max(math.ceil(options.ends * TICK), math.ceil(count / (options.window / TICK)))
        late = max(0, count // options.ends - int(options.window))
        node.ending = (per_tick, late)

    def end_some(self, node, tick):
        per_tick, late = node.ending
        count = min(per_tick, node.sessions)
        for _ in range(count):
            self.again(tick, tick, self.retry() + self.random.random() * late)
        node.sessions -= count
        self.away += count
        if not node.sessions:
            node.ending = None
        return count

    def rebuild(self):
        self.heap = [(node.sessions, number) for number, node in enumerate(self.nodes) if node.ready]
        heapq.heapify(self.heap)

    def choose(self):
        if self.options.balance == "random":
            return self.nodes[self.heap[self.random.randrange(len(self.heap))][1]]
        return self.nodes[self.heap[0][1]]

    def come(self, since, tick):
        node, options = self.choose(), self.options
        if node.sessions >= options.max_connections or (options.connects and node.tokens < 1):
            self.refused += 1
            self.again(tick, since, self.random.uniform(*REFUSED_RETRY))
            return
        node.tokens -= 1
        node.sessions += 1
        node.waiting += 1
        node.second += 1
        self.away -= 1
        self.absent.append((tick - since) * TICK)
        topic = self.random.randrange(options.topics)
        if topic not in node.topics:
            # The first of a topic on a node: a subscription, and its history is read from Redis.
            node.topics.add(topic)
            self.reads += 1
        if options.balance == "leastconn":
            heapq.heapreplace(self.heap, (node.sessions, self.heap[0][1]))

    def run(self, steps):
        """`steps` is called each tick, and gives whether it has more to do. Ends when everybody is back."""
        tick, ended, more, per_second = 0, 0, True, round(1 / TICK)
        while (more or self.away) and tick < 36_000 / TICK:
            more = steps(self, tick)
            for node in self.nodes:
                ended += self.end_some(node, tick) if node.ending else 0
                node.tokens = min(node.burst, node.tokens + self.options.connects * TICK)
                node.waiting = max(0.0, node.waiting - self.capacity)
            self.rebuild()
            for since in self.due.pop(tick, []):
                self.come(since, tick)
            waits = max((node.waiting for node in self.nodes), default=0) / self.capacity * TICK
            self.longest_wait = max(self.longest_wait, waits)
            tick += 1
            if tick % per_second == 0 or not (more or self.away):
                came = [node.second for node in self.nodes]
                self.seconds.append((ended, sum(came), max(came), self.away, self.reads))
                ended = self.reads = 0
                for node in self.nodes:
                    node.second = 0


def rolling(options):
    """Each node ends, and a new one takes its place before."""
    state = {"next": 0, "begin": 0.0, "drains": []}
    old = options.nodes

    def steps(waves, tick):
        now = tick * TICK
        for begin, node in list(state["drains"]):
            if now >= begin + options.pause:
                waves.begin_end(node)
                state["drains"].remove((begin, node))
        quiet = lambda: not state["drains"] and not any(node.ending for node in waves.nodes)
        count = 1 if options.one else old
        if state["next"] < count and now >= state["begin"] and (options.every or quiet()):
            if not options.one:
                waves.nodes.append(Node(0, options, waves.random))
            node = waves.nodes[state["next"]]
            node.ready = False
            state["drains"].append((now, node))
            state["next"] += 1
            state["begin"] = now + options.every
        return state["next"] < count or not quiet()

    return steps


def crash(waves, tick):
    """One node is killed."""
    if tick == 0:
        waves.nodes[0].ready = False
        waves.cut(waves.nodes[0], tick)
    return False


def outage(waves, tick):
    """Every stream breaks, as when a proxy is restarted, and every node is there."""
    if tick == 0:
        for node in waves.nodes:
            waves.cut(node, tick)
    return False


def chart(waves, rows=24):
    step = max(1, math.ceil(len(waves.seconds) / rows))
    print(f"{'s':>5}{'ended/s':>10}{'back/s':>10}{'on one node':>13}{'away':>10}")
    most = max(1, *(row[1] for row in waves.seconds))
    for start in range(0, len(waves.seconds), step):
        part = waves.seconds[start : start + step]
        ended, came = (max(row[column] for row in part) for column in (0, 1))
        node, away = (max(row[column] for row in part) for column in (2, 3))
        print(f"{start:>5}{ended:>10,}{came:>10,}{node:>13,}{away:>10,}  {'#' * round(40 * came / most)}")


def run(options, steps):
    waves = Waves(options)
    waves.run(steps)
    if not options.brief:
        chart(waves)
        print()
    absent = sorted(waves.absent)
    cost = TICK * 1e6 * options.workers * (1 - options.busy) / waves.capacity
    peak = max((row[2] for row in waves.seconds), default=0)
    print(f"most in a second: {max(row[1] for row in waves.seconds):,} in all, {peak:,} on one node, which is "
          f"{peak * cost / 1e6 / options.workers:.1%} of its workers; the longest queue {waves.longest_wait:.2f} s")
    if absent:
        at = lambda share: absent[min(len(absent) - 1, int(len(absent) * share))]
        print(f"away: at most {max(row[3] for row in waves.seconds):,} at once; half of them {at(0.5):.1f} s, all but one "
              f"in a hundred {at(0.99):.1f} s, the last {absent[-1]:.1f} s; {waves.refused:,} refusals")
    print(f"at Redis: at most {max(row[4] for row in waves.seconds):,} topics a second that a node follows anew and reads")
    sessions = [node.sessions for node in waves.nodes if node.ready]
    print(f"streams of a node in the end: {min(sessions):,} to {max(sessions):,}; "
          f"each client came back {len(absent) / options.clients:.2f} times")
    # Nobody is forgotten, and nobody is there twice.
    assert sum(node.sessions for node in waves.nodes) + waves.away == options.clients
    return not waves.away
