// What confuses the model, as a sentence and a table: rows are what an example is, columns what it was called.

import * as api from "./api.js";
import { element } from "./cards.js";
import { imagesOf, labelsOf, nameOf, taught } from "./classes.js";

const AFTER = 500; // milliseconds without a change
const NOTHING_YET =
  "With two examples or more in a class, each of them is held out and named by what was learned from all the others.";

export class Confusion {
  // note, target: the elements of the sentence and of the table; classes: a function that returns those there are;
  // isLearned: whether there is anything to test; guarded: does something, and says what went wrong with it.
  constructor(note, target, classes, isLearned, guarded) {
    Object.assign(this, { note, target, classes, isLearned, guarded });
    this.shown = null; // {ids, found}, until something changes
    this.turns = 0;
    this.timer = null;
  }

  // What was found, or is being asked, is of examples that were.
  outdate() {
    this.turns += 1;
    this.shown = null;
    clearTimeout(this.timer);
  }

  // Asks when nothing has changed for a while.
  later() {
    this.outdate();
    this.timer = setTimeout(() => this.guarded(() => this.ask()), AFTER);
  }

  async ask() {
    const some = taught(this.classes());
    if (!this.isLearned() || !some.some((one) => one.examples.length > 1)) return this.clear();
    const turn = this.turns;
    const found = await api.confusion(imagesOf(some), labelsOf(some));
    if (turn !== this.turns) return;
    if (found.interrupted) return this.later(); // the model had something more urgent to do
    this.shown = { ids: some.map(({ id }) => id), found };
    this.show();
  }

  // Shows what was found, with the names that the classes have now.
  show() {
    if (!this.shown) return;
    const names = this.shown.ids.map((id) => nameOf(this.classes(), id));
    this.note.textContent = sentence(names, this.shown.found);
    this.target.replaceChildren(table(names, this.shown.found));
  }

  clear() {
    this.note.textContent = NOTHING_YET;
    this.target.replaceChildren();
  }
}

// How many were right, and the commonest mistake.
function sentence(names, { counts, tested, testable }) {
  const right = counts.reduce((sum, row, is) => sum + row[is], 0);
  const shown = tested < testable ? `${tested} of ${testable} examples, held out` : `${tested} examples, held out`;
  const begin = `${shown} one at a time and named by what was learned from all the others: ${right} right.`;
  const worst = mistakes(counts).sort((a, b) => b.count - a.count)[0];
  if (!worst) return `${begin} Nothing confuses it so far.`;
  const total = counts[worst.is].reduce((sum, count) => sum + count, 0);
  return `${begin} Most often it takes ${names[worst.is]} for ${names[worst.called]}: ${worst.count} of ${total}.`;
}

function table(names, { counts }) {
  const head = element("tr", {}, [element("td"), ...names.map((name) => heading(name, "col"))]);
  const rows = counts.map((row, is) => element("tr", {}, [
    heading(names[is], "row"),
    ...row.map((count, called) => element("td", {
      textContent: count,
      className: count === 0 ? "none" : is === called ? "right" : "wrong",
    })),
  ]));
  return element("table", {}, [
    element("caption", { textContent: "Rows: what it is. Columns: what it was called." }),
    element("thead", {}, [head]),
    element("tbody", {}, rows),
  ]);
}

const heading = (name, scope) => element("th", { scope, textContent: name, title: name });

function mistakes(counts) {
  return counts.flatMap((row, is) =>
    row.map((count, called) => ({ is, called, count })).filter(({ called, count }) => called !== is && count));
}
