// Learning: with each change, all examples are sent to be adapted to.

import * as api from "./api.js";
import { countOf, imagesOf, labelsOf, taught } from "./classes.js";

export class Learning {
  // model: what the server says of it; classes: a function that returns those there are; say: shows how far it is;
  // onLearned: called, and awaited, once nothing is left to learn.
  constructor(model, classes, say, onLearned) {
    Object.assign(this, { model, classes, say, onLearned });
    this.learned = null; // {state, ids} of the last adaptation
    this.changes = 0;
    this.running = null;
  }

  get isRunning() {
    return this.running !== null;
  }

  // A state that the server has forgotten is no longer any.
  forget(state) {
    if (this.learned?.state === state) this.learned = null;
  }

  // Adapts to the examples there are; changes that come while it does are learned together, after it.
  learn() {
    this.changes += 1;
    this.running ??= this.untilNothingChanges();
    return this.running;
  }

  async untilNothingChanges() {
    try {
      let seen;
      do {
        seen = this.changes;
        await this.adaptOnce();
      } while (seen !== this.changes);
    } catch (error) {
      this.learned = null;
      this.say("It could not learn from these examples.");
      throw error;
    } finally {
      this.running = null;
    }
    await this.onLearned();
  }

  // What was learned before serves until the new state is there.
  async adaptOnce() {
    const some = taught(this.classes());
    const wanted = this.model.ways ?? 2;
    if (some.length < wanted) {
      this.learned = null;
      this.say(`${missing(wanted - some.length)} before it can learn.`);
      return;
    }
    const count = countOf(some);
    if (count > this.model.max_examples) throw new Error(full(this.model));
    const { state, milliseconds } = await api.adapt(imagesOf(some), labelsOf(some));
    this.learned = { state, ids: some.map(({ id }) => id) };
    this.say(`Learned from ${count} examples of ${some.length} classes in ${milliseconds.toFixed(1)} ms.`);
  }
}

export const full = (model) => `At most ${model.max_examples} examples can be learned from; remove some first.`;

const missing = (count) => (count === 1 ? "One more class needs an example" : `${count} more classes need an example`);
