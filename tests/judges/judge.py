"""What the Python judges share: their arguments, one JSON line for each event, and a deadline."""

import argparse
import json
import os
import sys
import threading

CONTROL = {"connected", "heartbeat", "gap", "close"}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--types", help="for the Node judges; these clients see every type")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--deadline", type=float, default=30)
    args = parser.parse_args()
    args.header = dict(line.split(": ", 1) for line in args.header)
    return args


def fail_after(seconds):
    def fail():
        print(f"judge: not enough events within {seconds} s", file=sys.stderr, flush=True)
        os._exit(3)

    timer = threading.Timer(seconds, fail)
    timer.daemon = True
    timer.start()


def report(events, count):
    """Prints (id, type, data) triples until `count` of the publishers' own have been seen."""
    for id, type, data in events:
        print(json.dumps({"id": id, "type": type, "data": data}), flush=True)
        count -= type not in CONTROL
        if count == 0:
            return
    sys.exit("judge: the stream ended early")
