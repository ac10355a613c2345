// What is known of the model: a line under the title, and a list.

import { element, percent } from "./cards.js";

export function line({ facts, image_shape: shape, ways }) {
  const classes = ways === null ? "any number of classes" : `exactly ${ways} classes`;
  return `${facts.name ?? "A model"}, exported as ${file(facts)}. Takes ${classes}; sees ${size(shape)}.`;
}

export function list(target, { facts, image_shape: shape }) {
  const known = [
    ["accuracy", accuracy(facts)],
    ["calibration error", facts.calibration_error === undefined ? null : percent(facts.calibration_error)],
    ["normalisation", NORMALIZATIONS[facts.normalization] ?? facts.normalization],
    ["file", file(facts) + (facts.size_bytes ? `, ${(facts.size_bytes / 2 ** 20).toFixed(2)} MiB` : "")],
    ["sees", size(shape)],
  ];
  for (const [name, text] of known.filter(([, value]) => value)) {
    target.append(element("dt", { textContent: name }), element("dd", { textContent: text }));
  }
}

const NORMALIZATIONS = {
  support: "statistics of the examples: an answer depends on the examples and its own picture",
  running: "statistics of the training: an answer depends on the examples and its own picture",
};

const file = ({ format, variant }) => (variant ? `${format} (${variant})` : format);
const size = ([height, width, channels]) =>
  `${width} × ${height} pixels, ${channels === 1 ? "grey" : "in colour"}`;

function accuracy({ accuracy: share, ci95, episodes, ways, shots, dataset, split }) {
  if (share === undefined) return null;
  const interval = ci95 === undefined ? "" : ` ± ${(100 * ci95).toFixed(1)}`;
  return `${(100 * share).toFixed(1)}${interval} % of this file on ${episodes} ${split ?? ""} episodes of ` +
    `${dataset}, ${ways}-way ${shots}-shot`;
}
