"""PyPI `httpx-sse`."""

import httpx
from httpx_sse import connect_sse

from judge import arguments, fail_after, report

args = arguments()
fail_after(args.deadline)
with httpx.Client(timeout=None) as client:
    with connect_sse(client, "GET", args.url, headers=args.header) as source:
        report(((e.id, e.event, e.data) for e in source.iter_sse()), args.count)
