// npm `eventsource`: the EventSource of Node programs. It reconnects by itself, with its last id.
import { EventSource } from "eventsource";
import { arguments_, counter, failAfter, print } from "./judge.mjs";

const { url, headers, types, count, deadline_s } = arguments_();
failAfter(deadline_s);

const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
});
const see = counter(count, () => {
  source.close();
  process.exit(0);
});

for (const type of ["message", "connected", "gap", "close", ...types]) {
  source.addEventListener(type, (event) => see({ id: event.lastEventId, type: event.type, data: event.data }));
}
source.onopen = () => print({ state: "open" });
source.onerror = () => print({ state: ["connecting", "open", "closed"][source.readyState] });
// A closed EventSource keeps nothing alive; the deadline above must still be able to fail.
setInterval(() => {}, 1000);
