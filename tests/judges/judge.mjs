// What the Node judges share: their arguments, one JSON line for each thing seen, and a deadline.
import { parseArgs } from "node:util";

export function arguments_() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      count: { type: "string", default: "1" },
      types: { type: "string", default: "" },
      header: { type: "string", multiple: true, default: [] },
      deadline: { type: "string", default: "30" },
    },
  });
  const [url] = positionals;
  if (!url) throw new Error("usage: <judge> URL --count N [--types a,b] [--header 'name: value'] [--deadline S]");
  const headers = Object.fromEntries(values.header.map((line) => line.split(/:\s*/, 2)));
  const types = values.types.split(",").filter(Boolean);
  return { url, headers, types, count: Number(values.count), deadline_s: Number(values.deadline) };
}

export function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

/** The hub's own events are printed but do not count. */
const CONTROL = new Set(["connected", "heartbeat", "gap", "close"]);

/** Prints events until `count` of the publishers' own have been seen, then calls `done`. */
export function counter(count, done) {
  let seen = 0;
  return ({ id, type, data }) => {
    if (seen === count) return;
    print({ id, type, data });
    if (!CONTROL.has(type) && ++seen === count) done();
  };
}

export function failAfter(seconds) {
  setTimeout(() => {
    console.error(`judge: not enough events within ${seconds} s`);
    process.exit(3);
  }, seconds * 1000).unref();
}
