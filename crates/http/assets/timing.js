// What the time in an event's id, and this page's own clock, say about how an event travelled.

const ROUND_TRIPS_MAX = 256;

/**
 * The event's own id, `{text, ms}`, from the cursor that came with it; null if it cannot be told.
 *
 * In a hub with one partition the cursor is the id. With more it is `<partitions>~<id>~<id>…`, base 36, and the event's
 * id is the part that moved. Clients at large treat cursors as opaque; this page is served by the hub that made them.
 */
export function parseEventId(cursor, previous) {
  if (!cursor.includes('~')) return parseParts(cursor, 10);
  const before = previous?.split('~') ?? [];
  const moved = cursor.split('~').filter((part, i) => part !== before[i]);
  return moved.length === 1 ? parseParts(moved[0], 36) : null;
}

function parseParts(text, radix) {
  const [ms, seq] = text.split('-').map((part) => Number.parseInt(part, radix));
  return Number.isSafeInteger(ms) && Number.isSafeInteger(seq) ? { text: `${ms}-${seq}`, ms } : null;
}

/**
 * Tells replayed events from live ones: an event was replayed if it was published before the connection stood.
 *
 * The hub's clock may differ from this one. The smallest delay seen so far, of an event that was surely live, is that
 * difference plus the fastest trip, so it places the hub's times on this clock. Until there is one: no difference.
 */
export class ReplayDetector {
  #delayMinMs = null;
  #connectedMs = 0;

  /** A connection stands; `history` says whether it may get events from before. */
  connected(history) {
    this.#connectedMs = history ? Date.now() : -Infinity;
  }

  /** An event with this time in its id was published or received live just now. */
  live(idMs) {
    const delayMs = Date.now() - idMs;
    this.#delayMinMs = Math.min(this.#delayMinMs ?? delayMs, delayMs);
  }

  isReplay(idMs) {
    return idMs + (this.#delayMinMs ?? 0) < this.#connectedMs;
  }
}

/** Joins publishes from this page with the receipt of their events, whichever of the two is known first. */
export class RoundTrips {
  #published = new Map();
  #received = new Map();

  /** The hub answered a publish with this id. */
  published(id, startedMs) {
    const receipt = this.#received.get(id);
    if (receipt) receipt.done(receipt.atMs - startedMs);
    else remember(this.#published, id, startedMs);
  }

  /** An event came in now; `done(ms)` is called once its round trip is known, if it was published from here. */
  received(id, done) {
    const atMs = performance.now();
    const startedMs = this.#published.get(id);
    if (startedMs !== undefined) done(atMs - startedMs);
    else remember(this.#received, id, { atMs, done });
  }
}

function remember(map, key, value) {
  map.set(key, value);
  // Maps iterate in order of insertion: the first key is the oldest.
  if (map.size > ROUND_TRIPS_MAX) map.delete(map.keys().next().value);
}
