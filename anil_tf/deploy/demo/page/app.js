// The page: classes with their examples live here, and nowhere else. Each change has all examples learned (learning.js);
// the picture at hand is named by what was learned last.

import * as api from "./api.js";
import { Camera } from "./camera.js";
import { Cards, percent, takeDrops } from "./cards.js";
import { countOf, nameOf, newClass, newClasses, refill, remembered, taught, together } from "./classes.js";
import { Confusion } from "./confusion.js";
import * as facts from "./facts.js";
import { Learning, full } from "./learning.js";
import { Pad } from "./pad.js";
import { paintPicture, toPicture } from "./pictures.js";
import { Shortcuts } from "./shortcuts.js";

const CLASSES_AT_FIRST = 3;

const $ = (id) => document.getElementById(id);

let model; // what the server says of it
let pad;
let learning;
let classes = [];
let removed = null; // the classes before the last removal
let current = null; // the picture at hand: {image, bitmap}
let coming = null; // the same as soon as it is asked for: a promise of it, of null if it was refused
let shares = null; // what the picture at hand was called: id -> probability

const camera = new Camera($("video"));
const cards = new Cards($("classes"), { add, addFiles, rename, remove, removeExample });
const shortcuts = new Shortcuts($("shortcuts"), add);
const confusion = new Confusion(
  $("confusion-note"), $("confusion-table"), () => classes, () => learning.learned !== null, guarded);

// ---- the picture at hand ----------------------------------------------------------------------------------------------

let looks = 0;

// Has the server turn a file into what the model sees, and names it. A refused one leaves what was at hand.
function look(file, shows = false) {
  const turn = ++looks;
  const before = coming;
  const made = (async () => prepared(await file))();
  coming = made.then(({ picture }) => picture, () => before);
  return guarded(async () => {
    let picture, note;
    try {
      ({ picture, note } = await made);
    } catch (error) {
      if (turn === looks) coming = before;
      throw error;
    }
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
    const { image, turned_over: turned } = await api.prepare(await bytesOf(file));
    const note = turned ? "Turned to light strokes on dark, as the model learned them." : "";
    return { picture: await toPicture(image), note };
  } catch (error) {
    throw file.name ? new Error(`${file.name}: ${error.message}`) : error;
  }
}

async function bytesOf(file) {
  try {
    return await file.arrayBuffer();
  } catch {
    throw new Error("this cannot be read. If it is a folder, drop the images that are in it.");
  }
}

function chooseImage(files) {
  if (files.length === 0) return;
  if (files.length > 1) {
    complain(`Only the first of ${files.length} files was taken, ${files[0].name}: drop several on a class.`);
  }
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
  if (pad.isEmpty) return clearPicture();
  coming = null; // if this cannot be sent, the drawing before it is not what is meant
  look(pad.toFile());
}

let questions = 0;

// Names the picture at hand, if something has been learned; while something is, that asks when it is done.
async function ask() {
  const turn = ++questions;
  if (learning.isRunning) return;
  if (!learning.learned || !current) return show(null);
  const { state, ids } = learning.learned;
  let answered;
  try {
    answered = await api.predict(state, [current.image]);
  } catch (error) {
    if (!api.isForgotten(error)) throw error;
    learning.forget(state);
    return learning.learn();
  }
  if (turn === questions) show(new Map(ids.map((id, i) => [id, answered.probabilities[0][i]])));
}

function show(found) {
  shares = found;
  cards.answer(shares);
  $("answer").textContent = shares ? best() : invitation();
}

function best() {
  const [id, share] = [...shares].reduce((most, one) => (one[1] > most[1] ? one : most));
  return `${nameOf(classes, id)}, ${percent(share)}`;
}

function invitation() {
  if (!current) return learning.learned ? "Draw something: what is it?" : "";
  return learning.learned || learning.isRunning ? "" : "Nothing learned yet";
}

// ---- classes and examples ---------------------------------------------------------------------------------------------

const isFull = () => countOf(classes) >= model.max_examples;

async function add(one) {
  if (isFull()) return complain(full(model));
  if (!coming && !pad.isEmpty) drawn(); // it could not be sent when it was drawn
  const picture = coming;
  if (!picture) return complain("First draw something, or choose an image; then add it to a class.");
  const { strokes } = pad;
  clearPicture(); // at once: the next drawing may begin before the server has seen this one
  const seen = await picture;
  if (seen) {
    one.examples.push(seen);
    await changed();
  } else if (pad.isEmpty && !coming) pad.redraw(strokes); // why it was refused has been said
}

async function addFiles(one, files) {
  const refused = [];
  for (const file of files) {
    if (isFull()) {
      refused.push(full(model));
      break;
    }
    try {
      one.examples.push((await prepared(file)).picture);
      refresh();
    } catch (error) {
      refused.push(error.message);
    }
  }
  await changed();
  if (refused.length) complain(refused.join(" "));
}

function rename(one, name) {
  one.name = name;
  cards.label(classes);
  shortcuts.update(classes);
  if (shares) $("answer").textContent = best();
  confusion.show();
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

const firstClasses = () => newClasses(model.ways ?? CLASSES_AT_FIRST);

function remember() {
  removed = remembered(classes);
  $("bring-back").hidden = removed.length === 0;
}

function bringBack() {
  const all = together(removed, classes);
  if (model.ways !== null && all.length > model.ways) {
    return complain(`That would be ${all.length} classes, and the model takes ${model.ways}: remove a new one first.`);
  }
  refill(removed);
  classes = all;
  $("bring-back").hidden = true;
  $("reset").focus();
  changed();
}

function changed() {
  questions += 1; // what is still being asked is of classes that were
  confusion.outdate();
  if (shares && taught(classes).length < shares.size) show(null);
  refresh();
  return guarded(() => learning.learn());
}

function refresh() {
  cards.update(classes);
  shortcuts.update(classes);
  $("hint").hidden = countOf(classes) > 0;
  $("add-class").disabled = model.ways !== null && classes.length >= model.ways;
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
  if (!(await camera.start())) return;
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
  learning = new Learning(model, () => classes, (text) => { $("progress").textContent = text; }, async () => {
    await ask();
    confusion.later();
  });
  $("model").textContent = facts.line(model);
  facts.list($("facts"), model);
  classes = firstClasses();
  listen();
  await changed();
  document.body.dataset.ready = "true";
}

guarded(begin);
