// The classes to learn, each {id, name, examples: [{image, bitmap}]}. The page holds one list of them; what is asked of
// it, and what is made of it, is here.

let nextId = 1;

// A class with the first name that is free.
export function newClass(others) {
  return { id: nextId++, name: freeName(others), examples: [] };
}

export function newClasses(count) {
  const made = [];
  while (made.length < count) made.push(newClass(made));
  return made;
}

export const shownName = (one, place) => one.name.trim() || `class ${place}`;

export function nameOf(classes, id) {
  const index = classes.findIndex((one) => one.id === id);
  return shownName(classes[index], index + 1);
}

export const taught = (classes) => classes.filter((one) => one.examples.length > 0);
export const imagesOf = (some) => some.flatMap((one) => one.examples.map(({ image }) => image));
export const labelsOf = (some) => some.flatMap((one, label) => one.examples.map(() => label));
export const countOf = (some) => some.reduce((sum, one) => sum + one.examples.length, 0);

// What `together` needs to bring back what is removed next.
export const remembered = (classes) => classes.map((one) => ({ one, examples: [...one.examples] }));

// The classes of a moment before a removal and those of now: what was removed is back, what came since stays.
export function together(before, now) {
  const back = before.map(({ one }) => one);
  return [...back, ...now.filter((one) => !back.includes(one) && !isUntouched(one))];
}

// Gives classes the examples back that they had.
export function refill(before) {
  for (const { one, examples } of before) one.examples = [...new Set([...examples, ...one.examples])];
}

const isUntouched = ({ name, examples }) => examples.length === 0 && /^Class \d+$/.test(name);

function freeName(others) {
  let place = 1;
  while (others.some(({ name }) => name === `Class ${place}`)) place += 1;
  return `Class ${place}`;
}
