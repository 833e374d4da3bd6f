// `fetch` and npm `eventsource-parser`: what the AI SDKs and fetch-based clients read streams with.
import { createParser } from "eventsource-parser";
import { arguments_, counter, failAfter, print } from "./judge.mjs";

const { url, headers, count, deadline_s } = arguments_();
failAfter(deadline_s);

const see = counter(count, () => process.exit(0));
const parser = createParser({
  onEvent: ({ id, event, data }) => see({ id, type: event ?? "message", data }),
  onRetry: (retry) => print({ retry }),
  onComment: (comment) => print({ comment }),
  onError: (error) => print({ error: String(error) }),
});

const response = await fetch(url, { headers: { Accept: "text/event-stream", ...headers } });
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
for await (const bytes of response.body) parser.feed(decoder.decode(bytes, { stream: true }));
console.error("judge: the stream ended early");
process.exit(4);
