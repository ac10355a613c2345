// The drawing pad. It keeps strokes as points, so that a drawing can be scaled to the size that the training images
// have, its strokes staying as wide as theirs, and be drawn at once at the size that the model takes.

import { isSmooth } from "./pictures.js";

const LIGHT = "#fff";
const DARK = "#000";
const MOST_ENLARGED = 3;

export class Pad {
  // canvas: where it is drawn; drawing, shape: of the model; onChange: called when a stroke ends or is taken back.
  constructor(canvas, drawing, shape, onChange) {
    this.canvas = canvas;
    this.drawing = drawing;
    [this.height, this.width] = shape;
    this.onChange = onChange;
    this.strokes = [];
    this.shown = null;
    const lightOnDark = drawing.ink === "light_on_dark";
    [this.ink, this.ground] = lightOnDark ? [LIGHT, DARK] : [DARK, LIGHT];
    this.listen();
    new ResizeObserver(() => this.paint()).observe(canvas);
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  clear() {
    this.strokes = [];
    this.shown = null;
    this.paint();
  }

  undo() {
    this.strokes.pop();
    this.paint();
    this.onChange();
  }

  // Puts strokes back that were cleared away.
  redraw(strokes) {
    this.strokes = strokes;
    this.paint();
  }

  // Shows a picture in place of a drawing, until one is begun.
  show(bitmap) {
    this.strokes = [];
    this.shown = bitmap;
    this.paint();
  }

  // The drawing as a PNG of the model's own size.
  toFile() {
    const canvas = document.createElement("canvas");
    canvas.width = this.width;
    canvas.height = this.height;
    this.paintOn(canvas, fitted(this.strokes, this.drawing));
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  listen() {
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    let stroke = null;
    let pointer = null; // that draws it; other fingers are passed over
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || stroke) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.shown = null;
      pointer = event.pointerId;
      stroke = [at(event)];
      this.strokes.push(stroke);
      this.paint();
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!stroke || event.pointerId !== pointer) return;
      const events = event.getCoalescedEvents?.() ?? [];
      stroke.push(...(events.length ? events : [event]).map(at));
      this.paint();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, (event) => {
        if (!stroke || event.pointerId !== pointer) return;
        stroke = null;
        this.onChange();
      });
    }
  }

  paint() {
    const side = Math.round(this.canvas.clientWidth * devicePixelRatio);
    if (side === 0) return;
    this.canvas.width = this.canvas.height = side;
    if (!this.shown) return this.paintOn(this.canvas, this.strokes);
    const context = this.canvas.getContext("2d");
    context.imageSmoothingEnabled = isSmooth(this.shown);
    context.drawImage(this.shown, 0, 0, side, side);
  }

  paintOn(canvas, strokes) {
    const context = canvas.getContext("2d");
    context.setTransform(canvas.width, 0, 0, canvas.height, 0, 0);
    context.fillStyle = this.ground;
    context.fillRect(0, 0, 1, 1);
    context.strokeStyle = this.ink;
    context.lineWidth = this.drawing.stroke;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of strokes) {
      context.beginPath();
      context.moveTo(...stroke[0]);
      for (const point of stroke) context.lineTo(...point);
      context.stroke();
    }
  }
}

// Strokes scaled and centred, so that the ink's longer side fills the share that the training images' ink fills.
export function fitted(strokes, { fill, stroke: width }) {
  const points = strokes.flat();
  if (fill === null || points.length === 0) return strokes;
  const low = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
  const high = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])));
  const longer = Math.max(high[0] - low[0], high[1] - low[1]);
  const scale = Math.min((fill - width) / (longer || 1), MOST_ENLARGED);
  const middle = [0, 1].map((axis) => (low[axis] + high[axis]) / 2);
  return strokes.map((stroke) =>
    stroke.map((point) => [0, 1].map((axis) => 0.5 + scale * (point[axis] - middle[axis]))));
}
