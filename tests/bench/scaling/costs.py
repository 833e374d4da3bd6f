"""What things cost, and where that is known from. docs/scaling.md says the same in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """A figure, and whether anybody has measured it."""

    value: float
    source: str

    @property
    def measured(self):
        return not self.source.startswith("assumed")


# Two virtual cores; docs/performance.md has the commands and the doubts.
COSTS = {
    "connection_bytes": Cost(2_600, "docs/performance.md: an idle connection"),
    "tls_bytes": Cost(20_900, "docs/performance.md: what TLS at the hub adds"),
    "delivery_us": Cost(5.9, "docs/performance.md: a delivery to one of 10,000 subscribers, 100 bytes"),
    "worker_connections": Cost(10_000, "docs/performance.md: the most that were tried on one worker"),
    "script_us": Cost(1e6 / 42_600, "docs/performance.md: the publish script alone"),
    "node_events": Cost(39_300, "docs/performance.md: what a node publishes that another one follows"),
    "connect_us": Cost(85, "tests/bench/connects: a stream in clear"),
    "connect_tls_us": Cost(226, "tests/bench/connects: a stream by TLS, with its handshake"),
    "replay_us": Cost(2.2, "tests/bench/connects: an event that is replayed from the node's own history"),
    "message_us": Cost(1.0, "assumed: Redis hands a message to one more node"),
    "card_us": Cost(2.0, "assumed: Redis hands one node's card to another node"),
    "wire_bytes": Cost(100, "assumed: what an event takes on the wire beside its data"),
    "network_bytes": Cost(1.25e9, "assumed: 10 Gbit/s"),
}

# Up to which share of a core, or of Redis' thread, it is wise to go.
CPU_SHARE = 0.6
