// The list of classes: a card for each, with its name, its bar, its examples, and what can be done with it.

import { shownName } from "./classes.js";
import { paintPicture } from "./pictures.js";

// No probability is 0 or 1.
export function percent(share) {
  if (share > 0.9995) return "> 99.9 %";
  return share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

export function element(tag, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export class Cards {
  // list: the <ol>; actions: add, addFiles, rename, remove, removeExample, each of a class and what they need.
  constructor(list, actions) {
    this.list = list;
    this.actions = actions;
    this.cards = new Map();
  }

  // Brings the list up to date; a card that stays keeps its element, and with it the focus.
  update(classes) {
    const ids = new Set(classes.map(({ id }) => id));
    for (const [id, card] of this.cards) {
      if (!ids.has(id)) {
        card.item.remove();
        this.cards.delete(id);
      }
    }
    classes.forEach((one, index) => {
      if (!this.cards.has(one.id)) this.cards.set(one.id, this.makeCard(one));
      const card = this.cards.get(one.id);
      if (this.list.children[index] !== card.item) {
        this.list.insertBefore(card.item, this.list.children[index] ?? null);
      }
      this.updateCard(card, one);
    });
    this.label(classes);
  }

  // Puts the names of the classes on what is there.
  label(classes) {
    classes.forEach((one, index) => this.labelCard(this.cards.get(one.id), shownName(one, index + 1), index + 1));
  }

  // Shows a probability for each class, or none.
  answer(shares) {
    const most = Math.max(...(shares?.values() ?? []));
    for (const [id, { item, fill, number }] of this.cards) {
      const share = shares?.get(id);
      const isBest = share !== undefined && share === most;
      item.classList.toggle("best", isBest);
      fill.style.width = `${100 * (share ?? 0)}%`;
      number.textContent = share === undefined ? "" : (isBest ? "✓ " : "") + percent(share);
    }
  }

  focus(id) {
    this.cards.get(id)?.add.focus();
  }

  makeCard(one) {
    const { actions } = this;
    const name = element("input", { type: "text", maxLength: 40, autocomplete: "off" });
    name.addEventListener("input", () => actions.rename(one, name.value));
    const add = element("button", { type: "button", textContent: "Add picture", className: "main" });
    add.addEventListener("click", () => actions.add(one));
    const files = element("input", {
      type: "file", accept: "image/*", multiple: true, className: "hidden", id: `files-${one.id}`,
    });
    files.addEventListener("change", async () => {
      await actions.addFiles(one, [...files.files]);
      files.value = "";
    });
    const label = element("label", { className: "button", htmlFor: files.id, textContent: "Files" });
    const remove = element("button", { type: "button", textContent: "Remove" });
    remove.addEventListener("click", () => actions.remove(one));
    const fill = element("div", { className: "fill" });
    const number = element("span");
    const examples = element("ul", { className: "examples" });
    const item = element("li", { className: "class" }, [
      element("div", { className: "row" }, [name, add]),
      element("div", { className: "bar" }, [element("div", { className: "track" }, [fill]), number]),
      element("div", { className: "row" }, [examples, files, label, remove]),
    ]);
    takeDrops(item, (dropped) => actions.addFiles(one, dropped));
    return { item, name, add, files, remove, fill, number, examples };
  }

  updateCard(card, one) {
    if (card.name.value !== one.name) card.name.value = one.name;
    card.examples.replaceChildren(...one.examples.map((example) => {
      const canvas = element("canvas");
      paintPicture(canvas, example);
      const button = element("button", { type: "button", className: "example" }, [
        canvas, element("span", { textContent: "×", ariaHidden: "true" }),
      ]);
      button.addEventListener("click", () => {
        this.actions.removeExample(one, example);
        this.focus(one.id);
      });
      return element("li", {}, [button]);
    }));
  }

  labelCard(card, shown, place) {
    card.name.setAttribute("aria-label", `Name of class ${place}`);
    card.add.setAttribute("aria-label", `Add picture to ${shown}`);
    card.files.setAttribute("aria-label", `Files for ${shown}`);
    card.remove.setAttribute("aria-label", `Remove ${shown}`);
    card.examples.setAttribute("aria-label", `Examples of ${shown}`);
    card.examples.querySelectorAll("button").forEach((button, index) =>
      button.setAttribute("aria-label", `Remove example ${index + 1} of ${shown}`));
  }
}

// Hands over the image files that are dropped on an element.
export function takeDrops(target, take) {
  const mark = (on) => (event) => {
    event.preventDefault();
    target.classList.toggle("dropping", on);
  };
  target.addEventListener("dragover", mark(true));
  target.addEventListener("dragleave", mark(false));
  target.addEventListener("drop", (event) => {
    mark(false)(event);
    const files = [...event.dataTransfer.files];
    if (files.length) take(files);
  });
}
