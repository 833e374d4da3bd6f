// One subscription over a native EventSource: its state, its cursor, its control events, and dropping it on purpose.

import { eventsUrl, whyRefused } from './hub.js';
import { parseEventId } from './timing.js';

const CONTROL_TYPES = new Set(['connected', 'heartbeat', 'gap', 'close']);

/**
 * `observer` is told what happens:
 *
 * - `state(state)`: `connecting`, `live`, `reconnecting` or `closed`
 * - `connected({session, node, resumed, after, history})`: the hub's first block; `after` is the cursor that was sent,
 *   if any; `history` whether events from before the connection may come first
 * - `event({type, data, id, direct})`: a published event; `id` is null for one without an id of its own
 * - `heartbeat()`, `gap({reason, topics})`, `close({reason, reconnect})`: control events
 * - `lost({cursor, attempt, deliberate})`: the connection went away and will be tried again
 * - `refused(refusal)`: the EventSource gave up
 */
export class Stream {
  #observer;
  #source = null;
  #types = new Set(['message']);
  #selectors = [];
  #cursor = null;
  #after = null;
  #asksNewest = false;
  #state = 'closed';
  #attempt = 0;
  // Changes with every connect, disconnect and drop, so that what still waits for an older one can see it is stale.
  #epoch = 0;

  constructor(observer) {
    this.#observer = observer;
  }

  get state() {
    return this.#state;
  }

  get cursor() {
    return this.#cursor;
  }

  get selectors() {
    return this.#selectors;
  }

  /** Subscribes anew. `start` as for `eventsUrl`. */
  connect(selectors, start) {
    this.#shut();
    this.#selectors = selectors;
    this.#cursor = start.cursor ?? null;
    this.#open(start);
    this.#enter('connecting');
  }

  disconnect() {
    this.#shut();
    this.#enter('closed');
  }

  /** Drops the connection, waits for `whileAway()`, and resumes after the last cursor. */
  async drop(whileAway) {
    this.#shut();
    const epoch = this.#epoch;
    this.#enter('reconnecting');
    this.#observer.lost({ cursor: this.#cursor, attempt: 1, deliberate: true });
    await whileAway();
    if (epoch === this.#epoch) this.#open({ cursor: this.#cursor });
  }

  /** Listens to exactly these event types, and `message`, from now on; a live stream needs no reconnect for that. */
  listen(types) {
    const wanted = new Set(['message', ...types].filter((type) => !CONTROL_TYPES.has(type)));
    for (const type of this.#types) if (!wanted.has(type)) this.#source?.removeEventListener(type, this.#onEvent);
    // Adding the same listener a second time does nothing.
    for (const type of wanted) this.#source?.addEventListener(type, this.#onEvent);
    this.#types = wanted;
  }

  #open(start) {
    const url = eventsUrl(this.#selectors, { ...start, heartbeat: 'event' });
    const source = new EventSource(url);
    this.#source = source;
    this.#after = this.#cursor;
    this.#asksNewest = 'last' in start;
    source.addEventListener('error', (event) => {
      // A published event may be of type `error` too.
      if (!(event instanceof MessageEvent)) this.#onError(source, url);
    });
    source.addEventListener('connected', this.#onConnected);
    source.addEventListener('heartbeat', this.#onHeartbeat);
    source.addEventListener('gap', this.#onGap);
    source.addEventListener('close', this.#onClose);
    for (const type of this.#types) source.addEventListener(type, this.#onEvent);
  }

  #shut() {
    this.#epoch += 1;
    this.#attempt = 0;
    this.#source?.close();
    this.#source = null;
  }

  #enter(state) {
    this.#state = state;
    this.#observer.state(state);
  }

  #onConnected = (message) => {
    this.#cursor = message.lastEventId;
    this.#attempt = 0;
    this.#enter('live');
    const after = this.#after;
    this.#observer.connected({ ...JSON.parse(message.data), after, history: after !== null || this.#asksNewest });
  };

  #onEvent = (message) => {
    // `open` and `error` are types that a publisher may use and names of events that the browser itself fires.
    if (!(message instanceof MessageEvent)) return;
    // A direct event has no `id:`, so the browser repeats the last one. (After an event of a type that is not listened
    // to, that is an id this page has not seen, and the direct event passes for it: an EventSource gives no more.)
    const direct = message.lastEventId === this.#cursor;
    const id = direct ? null : parseEventId(message.lastEventId, this.#cursor);
    this.#cursor = message.lastEventId;
    this.#observer.event({ type: message.type, data: message.data, id, direct });
  };

  #onHeartbeat = (message) => {
    this.#cursor = message.lastEventId;
    this.#observer.heartbeat();
  };

  #onGap = (message) => {
    this.#cursor = message.lastEventId;
    this.#observer.gap(JSON.parse(message.data));
  };

  #onClose = (message) => {
    const { reason, reconnect } = JSON.parse(message.data);
    this.#observer.close({ reason, reconnect });
    // With `reconnect` the browser comes back by itself at the end of the stream. Without, its `id:` is the word
    // `closed` and no cursor: the one before stays, for a person who connects again.
    if (!reconnect) this.disconnect();
  };

  async #onError(source, url) {
    if (source.readyState !== EventSource.CLOSED) {
      this.#attempt += 1;
      this.#after = this.#cursor;
      this.#enter('reconnecting');
      this.#observer.lost({ cursor: this.#cursor, attempt: this.#attempt, deliberate: false });
      return;
    }
    this.disconnect();
    const epoch = this.#epoch;
    const refusal = await whyRefused(url);
    if (epoch === this.#epoch) this.#observer.refused(refusal);
  }
}
