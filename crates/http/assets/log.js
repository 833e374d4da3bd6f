// The bounded list of rows. All changes to the document wait for the next animation frame and go in at once, so that
// ten thousand events a second cost sixty updates a second, and rows that would scroll off at once are never built.

import { perFrame } from './frame.js';
import { renderRow } from './row.js';

const ROWS_MAX = 500;

// How close to the end, in pixels, still counts as following it.
const FOLLOW_SLACK_PX = 24;

export class EventLog {
  #parts;
  #shown = [];
  #pending = [];
  #stale = new Set();
  #rows = new WeakMap();
  #trimmed = 0;
  #unseen = 0;
  #following = true;
  #raw = false;
  #schedule = perFrame(() => this.#flush());

  /** `parts`: the elements `list`, `scroller`, `jump`, `empty` and `trimmed`. */
  constructor(parts) {
    this.#parts = parts;
    parts.scroller.addEventListener('scroll', () => this.#onScroll(), { passive: true });
    parts.jump.addEventListener('click', () => {
      this.#toEnd();
      // The button disappears; without this the keyboard's place in the page would go with it.
      parts.scroller.focus({ preventScroll: true });
    });
    this.#schedule();
  }

  append(entry) {
    this.#pending.push(entry);
    // No frames are drawn in a hidden tab, where this could otherwise grow without bound.
    if (this.#pending.length > ROWS_MAX) {
      this.#pending.shift();
      this.#trimmed += 1;
    }
    this.#schedule();
  }

  /** The entry has changed: draw its row anew, if it is still there. */
  refresh(entry) {
    this.#stale.add(entry);
    this.#schedule();
  }

  setRaw(raw) {
    this.#raw = raw;
    for (const entry of this.#shown) if (entry.kind === 'event') this.refresh(entry);
  }

  clear() {
    this.#shown = [];
    this.#pending = [];
    this.#trimmed = 0;
    this.#unseen = 0;
    this.#following = true;
    this.#parts.list.replaceChildren();
    this.#schedule();
  }

  #flush() {
    for (const entry of this.#stale) {
      const old = this.#rows.get(entry);
      if (old?.isConnected) old.replaceWith(this.#render(entry));
    }
    this.#stale.clear();

    const { list, empty, trimmed, jump } = this.#parts;
    list.append(...this.#pending.map((entry) => this.#render(entry)));
    this.#shown.push(...this.#pending);
    if (!this.#following) this.#unseen += this.#pending.length;
    this.#pending = [];
    for (const entry of this.#shown.splice(0, Math.max(0, this.#shown.length - ROWS_MAX))) {
      this.#rows.get(entry).remove();
      this.#trimmed += 1;
    }

    empty.hidden = this.#shown.length > 0;
    trimmed.textContent = this.#trimmed
      ? `The newest ${ROWS_MAX} rows are kept; ${this.#trimmed.toLocaleString()} older ones were dropped.`
      : `The newest ${ROWS_MAX} rows are kept.`;
    jump.textContent = `${this.#unseen.toLocaleString()} new ↓`;
    jump.hidden = this.#unseen === 0;
    if (this.#following) this.#toEnd();
  }

  #render(entry) {
    const row = renderRow(entry, { raw: this.#raw });
    this.#rows.set(entry, row);
    return row;
  }

  #onScroll() {
    const { scroller, jump } = this.#parts;
    this.#following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < FOLLOW_SLACK_PX;
    if (this.#following) {
      this.#unseen = 0;
      jump.hidden = true;
    }
  }

  #toEnd() {
    this.#parts.scroller.scrollTop = this.#parts.scroller.scrollHeight;
  }
}
