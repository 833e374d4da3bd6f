// Turns entries of the log into rows. Data reaches the page as text nodes and attributes only, never as markup.

import { layOut } from './json.js';

// A megabyte of text in one row would stall the page; the copy that counts is the subscriber's, not this view.
const DATA_CHARS_MAX = 20_000;

const LABELS = { gap: 'gap', reconnect: 'lost', resumed: 'resumed', close: 'close', note: 'note' };

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hourCycle: 'h23',
});

/**
 * An entry is `{kind, atMs}` and, for an event, `{type, data, id, direct, replayed, latencyMs, roundTripMs}`; for any
 * other kind `{text}` and perhaps `{replays}`, the number of events that this connection got from history.
 */
export function renderRow(entry, { raw }) {
  const row = element('li', 'row');
  row.dataset.kind = entry.kind;
  row.append(element('time', 'at', CLOCK.format(entry.atMs)));
  if (entry.kind === 'event') fillEvent(row, entry, raw);
  else fillControl(row, entry);
  return row;
}

function fillControl(row, { kind, text, replays }) {
  if (replays !== undefined) row.dataset.replays = replays;
  row.append(element('span', 'label', LABELS[kind]), element('span', 'text', text));
}

function fillEvent(row, entry, raw) {
  row.dataset.type = entry.type;
  row.append(element('span', 'type', entry.type));
  if (entry.id) {
    row.dataset.id = entry.id.text;
    row.append(element('span', 'id', entry.id.text));
  }
  row.append(delays(entry), data(entry.data, raw));
}

function delays({ id, direct, replayed, opened, latencyMs, roundTripMs }) {
  const box = element('span', 'delays');
  if (opened) box.append(element('span', 'chip', 'opened'));
  if (direct) box.append(element('span', 'chip', 'direct'));
  if (replayed) box.append(element('span', 'chip', 'replayed'));
  if (roundTripMs !== undefined) box.append(element('span', 'round-trip', `round trip ${duration(roundTripMs)}`));
  if (id) box.append(element('span', 'latency', replayed ? `${duration(latencyMs)} old` : `latency ${duration(latencyMs)}`));
  return box;
}

function data(text, raw) {
  const box = element('pre', 'data');
  const pieces = raw || text.length > DATA_CHARS_MAX ? null : layOut(text);
  if (pieces) {
    box.append(...pieces.map(({ kind, text }) => (kind === 'mark' ? text : element('span', kind, text))));
  } else {
    box.append(text.slice(0, DATA_CHARS_MAX));
    const rest = text.length - DATA_CHARS_MAX;
    if (rest > 0) box.append(element('span', 'more', `\n… and ${rest.toLocaleString()} more characters`));
  }
  return box;
}

/** A duration for people: 0.4 ms, 12 ms, 1.6 s, 4 min, 2 h. */
export function duration(ms) {
  if (ms < 10 && !Number.isInteger(ms)) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3_600_000)} h`;
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
