// Towncrier's demo page: subscribe, publish, drop the connection, and watch the resume.
//
// Hooks for browser tests, as `data-testid` unless said otherwise. They are stable; ids and classes are not.
//
//   topics, types, start        what to subscribe to: comma lists, and a select: live | last | earliest | cursor
//   keys                        keys of sealed payloads: ID:BASE64, with spaces between
//   connect, disconnect         buttons
//   drop, away                  drop the connection for 1.5 s; checkbox: publish 3 events meanwhile
//   status                      data-state: connecting | live | reconnecting | closed
//   session, node, cursor, count, heartbeat    what is known of the connection, `–` until then; count is grouped, 1,234
//   events                      the list, oldest first, newest 500. Its rows carry
//     data-kind                   event | gap | reconnect | resumed | close | note
//     data-id, data-type          on `event` rows; no data-id on a direct event, which has no id
//     data-replays                on `resumed` and `note` rows of a new connection: events replayed so far
//     class `data`                the event's data; class `delays`: its latency and round trip
//   raw, clear, trimmed         show data as sent; empty the list; says how many rows were dropped
//   publish-topic, publish-type, publish-data, publish-send, publish-result
//                               publish-result has data-outcome: stored | refused
//   auto-off, auto-1, auto-10   the autopublisher's rate, a second
//   curl-subscribe, curl-publish    the same as commands
//   A refused field has aria-invalid="true" and its message in #<id>-error.

import { clearRefusals, showRefusal } from './fields.js';
import { perFrame } from './frame.js';
import { Refusal, curlPublish, curlSubscribe } from './hub.js';
import { EventLog } from './log.js';
import { PublishForm } from './publish-form.js';
import { covers, parseList } from './selectors.js';
import { Stream } from './stream.js';
import { ReplayDetector, RoundTrips } from './timing.js';
import { importKeys, isSealed, unseal } from './unseal.js';

const AWAY_MS = 1_500;
const AWAY_EVENTS = 3;
const ANNOUNCE_EVERY_MS = 1_000;

const STATES = { connecting: 'Connecting', live: 'Live', reconnecting: 'Reconnecting', closed: 'Closed' };

const GAPS = {
  expired: 'older than the history holds',
  backplane_lost: 'the backplane lost its history',
  unknown_cursor: 'the hub does not know this cursor',
  dropped: 'this session was too slow',
};

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const plural = (count, thing) => `${count.toLocaleString()} ${thing}${count === 1 ? '' : 's'}`;
const stillness = matchMedia('(prefers-reduced-motion: reduce)');

const log = new EventLog({
  list: $('events'),
  scroller: $('scroller'),
  jump: $('jump'),
  empty: $('empty'),
  trimmed: $('trimmed'),
});
let keys = new Map();
const roundTrips = new RoundTrips();
const detector = new ReplayDetector();

const facts = { count: 0, session: null, node: null, heartbeat: null };
let arrival = null; // the row of the newest connection, which counts its replays
let loss = null; // the row of the newest lost connection, which counts the attempts

const stream = new Stream({
  state(state) {
    $('status').dataset.state = state;
    $('status').textContent = STATES[state];
    $('connect').textContent = state === 'closed' ? 'Connect' : 'Reconnect';
    $('disconnect').disabled = state === 'closed';
    $('drop').disabled = state !== 'live';
    if (state !== 'live') facts.session = facts.node = facts.heartbeat = null;
    announce(STATES[state]);
    showFacts();
    showCoverage();
  },

  connected({ session, node, resumed, after, history }) {
    Object.assign(facts, { session, node });
    detector.connected(history);
    // `earliest` is taken up like a cursor, but nothing went before it.
    const kind = resumed && after !== 'earliest' ? 'resumed' : 'note';
    const how = { kind, after, lost: loss !== null, replays: 0 };
    arrival = control({ ...how, text: arrivalText(how) });
    loss = null;
  },

  event({ type, data, id, direct }) {
    facts.count += 1;
    showFacts();
    const atMs = Date.now();
    const entry = { kind: 'event', atMs, type, data, id, direct, replayed: false };
    if (id) {
      entry.latencyMs = Math.max(0, atMs - id.ms);
      entry.replayed = detector.isReplay(id.ms);
      if (entry.replayed) {
        arrival.replays += 1;
        arrival.text = arrivalText(arrival);
        log.refresh(arrival);
        announce(arrival.text);
      } else {
        detector.live(id.ms);
        roundTrips.received(id.text, (roundTripMs) => {
          entry.roundTripMs = roundTripMs;
          log.refresh(entry);
          publishForm.returned(id.text, roundTripMs);
        });
      }
    }
    log.append(entry);
    if (isSealed(data)) open(entry);
  },

  heartbeat() {
    facts.heartbeat = new Date().toLocaleTimeString();
    showFacts();
    ring();
  },

  gap({ reason, topics }) {
    const where = topics ? `, ${topics.length === 1 ? 'topic' : 'topics'} ${topics.join(', ')}` : '';
    const why = GAPS[reason] ? ` (${GAPS[reason]})` : '';
    control({ kind: 'gap', text: `events were lost: ${reason}${why}${where}` });
    showFacts();
  },

  close({ reason, reconnect }) {
    const text = reconnect
      ? `the hub ends this stream: ${reason}; the browser will come back`
      : `the hub ended this session for good: ${reason}; not reconnecting`;
    control({ kind: 'close', text });
  },

  lost({ cursor, attempt, deliberate }) {
    const what = deliberate ? 'connection dropped on purpose' : 'connection lost';
    const then = cursor ? `resuming after ${cursor}` : 'trying again';
    const text = attempt > 1 ? `${what}, ${then}, attempt ${attempt}` : `${what}, ${then}`;
    if (loss) {
      loss.text = text;
      log.refresh(loss);
    } else {
      loss = control({ kind: 'reconnect', text });
    }
  },

  refused(refusal) {
    loss = null;
    control({ kind: 'close', text: `the hub refused the stream: ${refusal.message}; not reconnecting` });
    showRefusal($('subscribe'), refusal);
  },
});

const publishForm = new PublishForm(
  { form: $('publish'), result: $('publish-result'), count: $('auto-count') },
  {
    sending({ event }) {
      listenTo(event);
    },
    stored({ id, startedMs }) {
      detector.live(Number.parseInt(id, 10));
      roundTrips.published(id, startedMs);
    },
  },
);

/** Adds a row that tells of the connection. */
function control(details) {
  const entry = { atMs: Date.now(), ...details };
  log.append(entry);
  announce(entry.text);
  return entry;
}

function arrivalText({ kind, after, lost, replays }) {
  const replayed = `${plural(replays, 'event')} replayed`;
  if (kind === 'resumed') return `resumed after ${after}, ${replayed}`;
  return `${lost ? 'reconnected, not resumed' : 'connected'}${replays ? `, ${replayed}` : ''}`;
}

const showFacts = perFrame(() => {
  const cursor = stream.cursor;
  for (const [id, value] of Object.entries({ ...facts, cursor })) {
    $(id).textContent = value?.toLocaleString() ?? '–';
    $(id).title = value ?? '';
  }
  $('start').querySelector('[value=cursor]').disabled = !cursor;
});

/** One swing of the bell for each heartbeat; where motion is unwelcome, its colour alone. */
function ring() {
  const swing = [0, 16, -12, 7, -3, 0].map((deg) => ({ transform: `rotate(${deg}deg)` }));
  const glow = [{ opacity: 1 }, { opacity: 0.45 }, { opacity: 1 }];
  $('bell').animate(stillness.matches ? glow : swing, { duration: 900, easing: 'ease-out' });
}

let announcement = '';
let announcing = 0;

/** Tells screen readers the latest news, at most once a second: a storm of them would drown the page. */
function announce(text) {
  announcement = text;
  announcing ||= setTimeout(() => {
    announcing = 0;
    $('announcer').textContent = announcement;
  }, ANNOUNCE_EVERY_MS);
}

/** The query parameters for the chosen place to start from. */
function chosenStart() {
  const choices = { live: {}, last: { last: 20 }, earliest: { cursor: 'earliest' }, cursor: { cursor: stream.cursor } };
  return choices[$('start').value];
}

function connect() {
  const selectors = parseList($('topics').value);
  if (selectors.length === 0) {
    showRefusal($('subscribe'), new Refusal({ title: 'Name at least one topic', field: 'topic' }));
    return;
  }
  clearRefusals($('subscribe'));
  facts.count = 0;
  loss = null;
  stream.connect(selectors, chosenStart());
}

function drop() {
  stream.drop(() => {
    const cries = $('away').checked ? Array.from({ length: AWAY_EVENTS }, () => publishForm.cry()) : [];
    // The publishes are waited for too: an event that a slow hub stores after the return would arrive live.
    return Promise.all([sleep(AWAY_MS), ...cries]);
  });
}

/** An EventSource drops events of types that nobody listens to, so what this page publishes joins the list. */
function listenTo(type) {
  const types = parseList($('types').value);
  if (type && !types.includes(type)) {
    types.push(type);
    $('types').value = types.join(', ');
  }
  stream.listen(types);
}

/** Warns before a publish that would seem to vanish. */
function showCoverage() {
  const { topic } = publishForm.fields;
  const selectors = stream.state === 'closed' ? parseList($('topics').value) : stream.selectors;
  $('publish-topic-hint').hidden = !topic || selectors.some((selector) => covers(selector, topic));
}

function showCommands() {
  $('curl-subscribe').textContent = curlSubscribe(parseList($('topics').value), chosenStart());
  $('curl-publish').textContent = curlPublish(publishForm.fields);
}

async function copy(button) {
  const command = $(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(command.textContent);
    button.textContent = 'Copied';
    announce('Copied');
    await sleep(1_500);
    button.textContent = 'Copy';
  } catch {
    // The clipboard is for secure origins only; elsewhere the keyboard has to do the rest.
    getSelection().selectAllChildren(command);
    announce('Selected: press Control C to copy');
  }
}

$('subscribe').addEventListener('submit', (event) => {
  event.preventDefault();
  connect();
});
$('disconnect').addEventListener('click', () => {
  stream.disconnect();
  control({ kind: 'note', text: 'disconnected' });
});
$('drop').addEventListener('click', drop);
$('types').addEventListener('change', () => stream.listen(parseList($('types').value)));
$('publish-type').addEventListener('change', () => listenTo($('publish-type').value));
$('raw').addEventListener('change', () => log.setRaw($('raw').checked));
$('clear').addEventListener('click', () => log.clear());
for (const form of [$('subscribe'), $('publish')]) {
  form.addEventListener('input', () => {
    showCommands();
    showCoverage();
  });
}
for (const button of document.querySelectorAll('[data-copies]')) button.addEventListener('click', () => copy(button));

listenTo($('publish-type').value);
showCommands();
showCoverage();

/** Shows what a sealed payload says, if one of the keys opens it. */
async function open(entry) {
  try {
    Object.assign(entry, { data: await unseal(entry.data, keys), opened: true });
    log.refresh(entry);
  } catch {
    // It stays as it came: a key may be missing, and the reader sees that.
  }
}

$('keys').addEventListener('change', async () => {
  try {
    keys = await importKeys($('keys').value);
    clearRefusals($('subscribe'));
  } catch (error) {
    showRefusal($('subscribe'), new Refusal({ field: 'keys', detail: error.message }));
  }
});
