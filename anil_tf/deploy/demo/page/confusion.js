// What confuses the model, as a sentence and a table: rows are what an example is, columns what it was called.

import { element } from "./cards.js";

// The sentence: how many were right, and the commonest mistake.
export function sentence(names, { counts, tested, testable }) {
  const right = counts.reduce((sum, row, is) => sum + row[is], 0);
  const shown = tested < testable ? `${tested} of ${testable} examples, held out` : `${tested} examples, held out`;
  const begin = `${shown} one at a time and named by what was learned from all the others: ${right} right.`;
  const worst = mistakes(counts).sort((a, b) => b.count - a.count)[0];
  if (!worst) return `${begin} Nothing confuses it so far.`;
  const total = counts[worst.is].reduce((sum, count) => sum + count, 0);
  return `${begin} Most often it takes ${names[worst.is]} for ${names[worst.called]}: ${worst.count} of ${total}.`;
}

export function table(names, { counts }) {
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
