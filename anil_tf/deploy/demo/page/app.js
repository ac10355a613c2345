// The page: classes with their examples live here, and nowhere else. Each change sends all examples to be adapted to;
// the picture at hand is named by what was learned last.

import * as api from "./api.js";
import { Camera } from "./camera.js";
import { Cards, percent, takeDrops } from "./cards.js";
import * as confusion from "./confusion.js";
import * as facts from "./facts.js";
import { Pad } from "./pad.js";
import { paintPicture, toPicture } from "./pictures.js";

const CLASSES_AT_FIRST = 3;
const CONFUSION_AFTER = 500; // milliseconds without a change

const $ = (id) => document.getElementById(id);

let model; // what the server says of it
let pad;
let classes = []; // {id, name, examples: [{image, bitmap}]}
let removed = null; // the classes before the last removal
let current = null; // the picture at hand: {image, bitmap}
let coming = null; // the same as soon as it is asked for: a promise of it
let learned = null; // {state, ids} of the last adaptation
let nextId = 1;

const camera = new Camera($("video"));
const cards = new Cards($("classes"), { add, addFiles, rename, remove, removeExample });

// ---- the picture at hand ----------------------------------------------------------------------------------------------

let looks = 0;

// Has the server turn a file into what the model sees, and names it.
function look(file, shows = false) {
  const turn = ++looks;
  const before = coming;
  const made = (async () => prepared(await file))();
  coming = made.then(({ picture }) => picture, () => before); // a refused file leaves what was at hand
  return guarded(async () => {
    const { picture, note } = await made;
    if (turn !== looks) return;
    if (shows) pad.show(picture.bitmap);
    current = picture;
    paintPicture($("seen"), picture);
    $("seen").hidden = false;
    $("answer-note").textContent = note;
    await ask();
  });
}

async function prepared(file) {
  try {
    if (file.size > model.max_upload) {
      throw new Error(`this is too large: expected at most ${model.max_upload / 2 ** 20} MiB.`);
    }
    const { image, turned_over: turned } = await api.prepare(file);
    const note = turned ? "Turned to light strokes on dark, as the model learned them." : "";
    return { picture: await toPicture(image), note };
  } catch (error) {
    throw file.name ? new Error(`${file.name}: ${error.message}`) : error;
  }
}

function chooseImage(files) {
  if (files.length === 0) return;
  stopCamera();
  look(files[0], true);
}

function clearPicture() {
  looks += 1;
  current = coming = null;
  pad.clear();
  $("seen").hidden = true;
  $("answer-note").textContent = "";
  show(null);
}

function drawn() {
  if (pad.isEmpty) clearPicture();
  else look(pad.toFile());
}

let questions = 0;

// Names the picture at hand, if something has been learned.
async function ask() {
  const turn = ++questions;
  if (!learned || !current) return show(null);
  const { state, ids } = learned;
  let answered;
  try {
    answered = await api.predict(state, [current.image]);
  } catch (error) {
    if (!api.isForgotten(error)) throw error;
    if (learned?.state === state) learned = null;
    return learn();
  }
  if (turn === questions) show(new Map(ids.map((id, i) => [id, answered.probabilities[0][i]])));
}

function show(shares) {
  cards.answer(shares);
  if (!shares) {
    const asks = learned ? "Draw something: what is it?" : "";
    $("answer").textContent = current && !learned ? "Nothing learned yet" : asks;
    return;
  }
  const [id, share] = [...shares].reduce((best, one) => (one[1] > best[1] ? one : best));
  $("answer").textContent = `${nameOf(id)}, ${percent(share)}`;
}

// ---- classes and examples ---------------------------------------------------------------------------------------------

// A class with the first name that is free.
function newClass(others) {
  let place = 1;
  while (others.some(({ name }) => name === `Class ${place}`)) place += 1;
  return { id: nextId++, name: `Class ${place}`, examples: [] };
}

function firstClasses() {
  const made = [];
  while (made.length < (model.ways ?? CLASSES_AT_FIRST)) made.push(newClass(made));
  return made;
}

const nameOf = (id) => {
  const index = classes.findIndex((one) => one.id === id);
  return classes[index]?.name.trim() || `class ${index + 1}`;
};

async function add(one) {
  const picture = coming;
  if (!picture) return complain("First draw something, or choose an image; then add it to a class.");
  clearPicture(); // at once: the next drawing may begin before the server has seen this one
  const seen = await picture;
  if (!seen) return; // it was refused, which has been said
  one.examples.push(seen);
  await changed();
}

async function addFiles(one, files) {
  const refused = [];
  for (const file of files) {
    try {
      one.examples.push((await prepared(file)).picture);
    } catch (error) {
      refused.push(error.message);
    }
  }
  await changed();
  if (refused.length) complain(refused.join(" "));
}

function rename(one, name) {
  one.name = name;
  cards.update(classes);
  ask().catch((error) => complain(error.message));
  testLater();
}

function remove(one) {
  remember();
  const index = classes.indexOf(one);
  classes = classes.filter((other) => other !== one);
  changed();
  const next = classes[Math.min(index, classes.length - 1)];
  if (next) cards.focus(next.id);
  else $("add-class").focus();
}

function removeExample(one, example) {
  remember();
  one.examples = one.examples.filter((other) => other !== example);
  changed();
}

function reset() {
  remember();
  classes = firstClasses();
  clearPicture();
  changed();
}

function remember() {
  removed = classes.map((one) => ({ ...one, examples: [...one.examples] }));
  $("bring-back").hidden = removed.length === 0;
}

function bringBack() {
  classes = removed;
  $("bring-back").hidden = true;
  $("reset").focus();
  changed();
}

// ---- learning ---------------------------------------------------------------------------------------------------------

function changed() {
  cards.update(classes);
  $("add-class").disabled = model.ways !== null && classes.length >= model.ways;
  return guarded(learn);
}

const taught = () => classes.filter((one) => one.examples.length > 0);
const examplesOf = (some) => some.flatMap((one) => one.examples.map(({ image }) => image));
const labelsOf = (some) => some.flatMap((one, label) => one.examples.map(() => label));

let changes = 0;
let learning = null;

// Adapts to the examples there are; changes that come while it does are learned together, after it.
function learn() {
  changes += 1;
  learning ??= (async () => {
    try {
      let seen;
      do {
        seen = changes;
        await adaptOnce();
      } while (seen !== changes);
    } catch (error) {
      progress("It could not learn from these examples.");
      throw error;
    } finally {
      learning = null;
    }
    await ask();
    testLater();
  })();
  return learning;
}

async function adaptOnce() {
  const some = taught();
  const wanted = model.ways ?? 2;
  learned = null;
  if (some.length < wanted) return progress(`${missing(wanted - some.length)} before it can learn.`);
  const images = examplesOf(some);
  if (images.length > model.max_examples) {
    throw new Error(`At most ${model.max_examples} examples can be learned from; remove some.`);
  }
  const { state, milliseconds } = await api.adapt(images, labelsOf(some));
  learned = { state, ids: some.map(({ id }) => id) };
  const examples = `${images.length} examples of ${some.length} classes`;
  progress(`Learned from ${examples} in ${milliseconds.toFixed(1)} ms.`);
}

const missing = (count) => (count === 1 ? "One more class needs an example" : `${count} more classes need an example`);

function progress(text) {
  $("progress").textContent = text;
}

// ---- what confuses it -------------------------------------------------------------------------------------------------

let timer = null;
let tests = 0;

function testLater() {
  tests += 1;
  clearTimeout(timer);
  timer = setTimeout(() => guarded(test), CONFUSION_AFTER);
}

async function test() {
  const some = taught();
  const turn = tests;
  const table = $("confusion-table");
  if (!learned || !some.some((one) => one.examples.length > 1)) {
    table.replaceChildren();
    $("confusion-note").textContent =
      "With two examples or more in a class, each of them is held out and named by what was learned from all the others.";
    return;
  }
  const found = await api.confusion(examplesOf(some), labelsOf(some));
  if (turn !== tests) return;
  const names = some.map(({ id }) => nameOf(id));
  $("confusion-note").textContent = confusion.sentence(names, found);
  table.replaceChildren(confusion.table(names, found));
}

// ---- what went wrong --------------------------------------------------------------------------------------------------

function complain(text) {
  $("problem").textContent = text.charAt(0).toUpperCase() + text.slice(1);
  $("problem").hidden = !text;
}

// Does something, and says what went wrong with it.
async function guarded(action) {
  try {
    await action();
  } catch (error) {
    complain(error.message);
  }
}

// ---- buttons, keys, drops ---------------------------------------------------------------------------------------------

async function toggleCamera() {
  if (camera.isOn) return stopCamera();
  if (!camera.isThere) return $("capture").click();
  await camera.start();
  clearPicture();
  $("camera").setAttribute("aria-pressed", "true");
  $("shoot").hidden = false;
}

function stopCamera() {
  camera.stop();
  $("camera").setAttribute("aria-pressed", "false");
  $("shoot").hidden = true;
}

function padKey(event) {
  const place = Number(event.key);
  if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() !== "z") return;
    pad.undo();
  } else if (event.key === "Delete" || event.key === "Backspace") clearPicture();
  else if (place >= 1 && place <= classes.length) add(classes[place - 1]);
  else return;
  event.preventDefault();
}

function listen() {
  // What an action has to complain about stays until the next one.
  for (const kind of ["pointerdown", "keydown", "change"]) {
    document.addEventListener(kind, () => complain(""), { capture: true });
  }
  $("undo").addEventListener("click", () => pad.undo());
  $("clear").addEventListener("click", clearPicture);
  $("camera").addEventListener("click", () => guarded(toggleCamera));
  $("shoot").addEventListener("click", () => look(camera.toFile()));
  $("add-class").addEventListener("click", () => {
    classes.push(newClass(classes));
    changed();
    cards.focus(classes.at(-1).id);
  });
  $("reset").addEventListener("click", reset);
  $("bring-back").addEventListener("click", bringBack);
  $("pad").addEventListener("keydown", padKey);
  for (const id of ["file", "capture"]) {
    $(id).addEventListener("change", (event) => {
      chooseImage([...event.target.files]);
      event.target.value = "";
    });
  }
  takeDrops($("pad-frame"), chooseImage);
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) chooseImage(files);
  });
  for (const kind of ["dragover", "drop"]) {
    window.addEventListener(kind, (event) => event.preventDefault()); // a missed drop must not leave the page
  }
}

async function begin() {
  model = await api.model();
  pad = new Pad($("pad"), model.drawing, model.image_shape, drawn);
  $("model").textContent = facts.line(model);
  facts.list($("facts"), model);
  classes = firstClasses();
  listen();
  await changed();
  document.body.dataset.ready = "true";
}

guarded(begin);
