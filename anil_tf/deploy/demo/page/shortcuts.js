// A row of buttons under the pad, one for each class: on a narrow screen the cards are out of sight while one draws.

import { element } from "./cards.js";
import { shownName } from "./classes.js";

export class Shortcuts {
  // row: the element of the buttons; add: called with a class to add the picture to.
  constructor(row, add) {
    this.row = row;
    this.classes = [];
    row.addEventListener("click", (event) => {
      const one = this.classes[[...row.children].indexOf(event.target)];
      if (one) add(one);
    });
  }

  // Buttons stay in their places, and with them the focus.
  update(classes) {
    this.classes = classes;
    while (this.row.children.length > classes.length) this.row.lastChild.remove();
    while (this.row.children.length < classes.length) this.row.append(element("button", { type: "button" }));
    classes.forEach((one, index) => {
      const name = shownName(one, index + 1);
      Object.assign(this.row.children[index], { textContent: name, title: name });
      this.row.children[index].setAttribute("aria-label", `Add picture to ${name}`);
    });
  }
}
