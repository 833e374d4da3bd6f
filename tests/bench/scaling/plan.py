"""What each node and each Redis has to bear, and what of it comes to its end first."""

from costs import COSTS, CPU_SHARE


def add_arguments(parser):
    parser.add_argument("--clients", type=float, default=1e5, help="streams that are open (default: 100,000)")
    parser.add_argument("--events", type=float, default=1.0, help="events published in a second, in all (1)")
    parser.add_argument("--audience", type=float, help="subscribers of each event (all clients)")
    parser.add_argument("--bytes", type=float, default=100, help="data of an event (100)")
    parser.add_argument("--workers", type=int, default=2, help="workers of a node (2)")
    parser.add_argument("--memory", type=float, default=2, help="GB that a node has (2)")
    parser.add_argument("--nodes", type=int, help="nodes of a hub (as few as bear it, and half as many more)")
    parser.add_argument("--shards", type=int, default=1, help="primaries of Redis that partitions lie on, 1 to 8 (1)")
    parser.add_argument("--hubs", type=int, default=1, help="hubs that share clients and events (1)")
    parser.add_argument("--tls", action="store_true", help="TLS ends at the hub")


def loads(options, nodes):
    """Rows of: where, what, how much, of how much, unit. Each can be used up to the second number."""
    cost = {name: one.value for name, one in COSTS.items()}
    clients, events = options.clients / options.hubs, options.events / options.hubs
    audience = min(options.audience or clients, clients)
    on_node = clients / nodes
    # A node wants an event if one of its sessions does, which are spread over the nodes as chance has it.
    wanting = nodes * (1 - (1 - 1 / nodes) ** audience)
    deliveries = events * audience / nodes
    connection = cost["connection_bytes"] + (cost["tls_bytes"] if options.tls else 0)
    sent = options.bytes + cost["wire_bytes"]
    shard_events = events / options.shards
    script, told = shard_events * cost["script_us"] / 1e6, shard_events * wanting * cost["message_us"] / 1e6
    # Cards lie on one of the shards.
    cards = nodes**2 * cost["card_us"] / 1e6
    return [
        ("node", "connections", on_node, options.workers * cost["worker_connections"], ""),
        ("node", "memory of connections", on_node * connection / 1e9, options.memory / 2, "GB"),
        ("node", "cores that deliver", deliveries * cost["delivery_us"] / 1e6, options.workers * CPU_SHARE, ""),
        ("node", "events to work on", events * wanting / nodes, cost["node_events"] * CPU_SHARE, "/s"),
        ("node", "bytes to clients", deliveries * sent / 1e6, cost["network_bytes"] / 1e6, "MB/s"),
        ("redis", "its thread: scripts", script, CPU_SHARE, ""),
        ("redis", "its thread: scripts, messages, cards", script + told + cards, CPU_SHARE, ""),
        ("redis", "bytes to nodes", shard_events * wanting * sent / 1e6, cost["network_bytes"] / 1e6, "MB/s"),
    ]


def least_nodes(options):
    """As few nodes as bear it, or none if no number of them does."""
    for nodes in range(1, 1001):
        if all(load <= most for place, _, load, most, _ in loads(options, nodes) if place == "node"):
            return nodes
    return None


def figure(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def run(options):
    least = least_nodes(options)
    nodes = options.nodes or (max(3, -(-3 * least // 2)) if least else 1000)
    audience = min(options.audience or options.clients, options.clients)
    print(f"{options.clients:,.0f} clients, {figure(options.events)} events/s of {options.bytes:,.0f} bytes to "
          f"{audience:,.0f} each; {options.hubs} hub(s) of {nodes} nodes with {options.workers} workers, "
          f"{options.shards} shard(s)\n")
    rows = loads(options, nodes)
    print(f"{'of each':8}{'what':38}{'load':>10}{'of':>10}{'':6}{'used':>6}")
    for place, what, load, most, unit in rows:
        print(f"{place:8}{what:38}{figure(load):>10}{figure(most):>10} {unit:5}{load / most:>6.0%}")
    place, what, load, most, _ = max(rows, key=lambda row: row[2] / row[3])
    verdict = "does not fit" if load > most else "fits"
    print(f"\n{verdict}; the first limit is: {place}, {what}")
    if least and not options.nodes:
        print(f"{least} nodes would bear it; the rest is for those that die, and for deploys")
    assumed = [name for name, cost in COSTS.items() if not cost.measured]
    print(f"measured, but for: {', '.join(assumed)}")
    return load <= most
