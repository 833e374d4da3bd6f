"""PyPI `sseclient-py`, over the bytes of an httpx stream."""

import httpx
import sseclient

from judge import arguments, fail_after, report

args = arguments()
fail_after(args.deadline)
headers = {"Accept": "text/event-stream", **args.header}
with httpx.stream("GET", args.url, headers=headers, timeout=None) as response:
    client = sseclient.SSEClient(response.iter_bytes())
    report(((e.id, e.event, e.data) for e in client.events()), args.count)
