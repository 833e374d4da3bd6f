// The hub's HTTP interface as this page uses it: addresses, publishing, refusals, and the same as curl commands.
// Addresses are relative to the page, so that it works behind a proxy's path prefix too.

const PUBLISH = new URL('admin/v1/publish', document.baseURI);

/** A request that the hub turned down, or that did not reach it. */
export class Refusal extends Error {
  constructor({ status, title, detail, field }) {
    // Details open with the field's name, which a message beside the field does not need.
    const plain = field && detail?.startsWith(`${field}: `) ? detail.slice(field.length + 2) : detail;
    super(plain || title);
    this.status = status;
    this.title = title;
    this.field = field;
  }

  static async of(response) {
    const title = response.statusText || 'The hub refused';
    // A proxy in between answers with its own page, not with problem+json.
    const problem = await response.json().catch(() => ({}));
    return new Refusal({ title, ...problem, status: response.status });
  }
}

/** Where to subscribe. `start` holds the query parameters that say from where: `{}`, `{last}` or `{cursor}`. */
export function eventsUrl(selectors, start = {}) {
  const url = new URL('events', document.baseURI);
  for (const selector of selectors) url.searchParams.append('topic', selector);
  for (const [name, value] of Object.entries(start)) url.searchParams.set(name, value);
  return url;
}

/** The body of a publish request. JSON objects and arrays go as they are, any other text as a string. */
export function publishBody({ topic, event, data }) {
  const head = JSON.stringify({ topic, event: event || undefined });
  // Spliced in as text: a trip through JSON.parse would round numbers past 2^53.
  return `${head.slice(0, -1)},"data":${isStructured(data) ? data.trim() : JSON.stringify(data)}}`;
}

function isStructured(text) {
  if (!/^\s*[{[]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Publishes; gives the event's id, when the request left, and how long the answer took. Throws a `Refusal`. */
export async function publish(body) {
  const startedMs = performance.now();
  const response = await fetch(PUBLISH, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body,
  }).catch(() => {
    throw new Refusal({ title: 'The hub cannot be reached' });
  });
  if (!response.ok) throw await Refusal.of(response);
  const { id } = await response.json();
  return { id, startedMs, tookMs: performance.now() - startedMs };
}

/** Asks once more, as a plain request, why the hub refused a stream: an `EventSource` does not tell. */
export async function whyRefused(url) {
  const abort = new AbortController();
  try {
    const response = await fetch(url, { headers: { Accept: 'text/event-stream' }, signal: abort.signal });
    if (response.status === 204) return new Refusal({ status: 204, title: 'The hub has ended this session for good' });
    if (!response.ok) return await Refusal.of(response);
    return new Refusal({ status: response.status, title: 'The answer was not an event stream' });
  } catch {
    return new Refusal({ title: 'The hub cannot be reached' });
  } finally {
    abort.abort();
  }
}

export function curlSubscribe(selectors, start) {
  // Slashes and commas are safe in a query; leaving them makes the command readable.
  const url = eventsUrl(selectors, start).href.replaceAll('%2F', '/');
  return `curl -N ${quote(url)}`;
}

export function curlPublish(fields) {
  return [
    `curl -X POST ${quote(PUBLISH.href)}`,
    `-H 'Content-Type: application/json'`,
    `-d ${quote(publishBody(fields))}`,
  ].join(' \\\n  ');
}

function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
