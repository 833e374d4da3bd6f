// The publish form: sending by hand, the autopublisher, and what the hub said.

import { clearRefusals, showRefusal } from './fields.js';
import { publish, publishBody } from './hub.js';
import { duration } from './row.js';

// More than this unanswered means that the hub is slower than the rate: sending more would only lengthen the queue.
const UNANSWERED_MAX = 20;

const CRIES = [
  'Oyez, oyez! The market opens at eight',
  'Bread is a farthing dearer',
  'The ferry runs again at noon',
  'Lost: one grey goose, answers to Matilda',
  'Ten o’clock, and all is well',
];

export class PublishForm {
  #form;
  #result;
  #count;
  #observer;
  #timer = 0;
  #unanswered = 0;
  #cries = 0;
  #lastSent = null;

  /** `observer.sending(fields)` is told of each publish before it leaves, `observer.stored({id, startedMs})` after. */
  constructor({ form, result, count }, observer) {
    this.#form = form;
    this.#result = result;
    this.#count = count;
    this.#observer = observer;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    form.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.#send();
      }
    });
    for (const choice of form.elements.rate) {
      choice.addEventListener('change', () => this.#setRate(Number(choice.value)));
    }
  }

  get fields() {
    const { topic, event, data } = this.#form.elements;
    return { topic: topic.value, event: event.value, data: data.value };
  }

  /** Publishes made-up news under the form's topic and type. Never rejects: a refusal shows in the form. */
  async cry() {
    this.#cries += 1;
    const text = CRIES[this.#cries % CRIES.length];
    const sent = await this.#publish({ ...this.fields, data: JSON.stringify({ cry: this.#cries, text }) });
    if (!sent) return;
    this.#count.textContent = `${this.#cries.toLocaleString()} cried`;
    this.#observer.stored(sent);
  }

  /** The event of a publish came back; said here if that was the last one sent by hand. */
  returned(id, roundTripMs) {
    if (id === this.#lastSent) this.#result.append(`, received after ${duration(roundTripMs)}`);
  }

  async #send() {
    clearRefusals(this.#form);
    const sent = await this.#publish(this.fields);
    if (!sent) return;
    this.#lastSent = sent.id;
    this.#say('stored', `Stored as ${sent.id} in ${duration(sent.tookMs)}`);
    this.#observer.stored(sent);
  }

  /** Gives what `publish` gives, or nothing after showing why the hub refused. */
  async #publish(fields) {
    this.#observer.sending(fields);
    this.#unanswered += 1;
    try {
      return await publish(publishBody(fields));
    } catch (refusal) {
      this.#stopRate();
      this.#lastSent = null;
      const shown = showRefusal(this.#form, refusal);
      this.#say('refused', shown ? `Not stored: ${refusal.title}` : `Not stored: ${refusal.message}`);
    } finally {
      this.#unanswered -= 1;
    }
  }

  #say(outcome, text) {
    this.#result.dataset.outcome = outcome;
    this.#result.textContent = text;
  }

  #setRate(perSecond) {
    clearInterval(this.#timer);
    if (perSecond === 0) return;
    this.#timer = setInterval(() => {
      if (this.#unanswered < UNANSWERED_MAX) this.cry();
    }, 1_000 / perSecond);
  }

  #stopRate() {
    clearInterval(this.#timer);
    this.#form.elements.rate.value = '0';
  }
}
