"""A finished model that still learns, outside of this library: SavedModel, LiteRT and StableHLO.

Writing an export, in reading order:

* `signatures`: adapt, predict, adapt_and_predict and embed as functions on tensors (`state`, `resize`);
* `temperature`: what makes their probabilities mean what they say;
* `formats`: what a format is; `saved_model`, `litert` and `stablehlo` are the formats;
* `agreement`: what was written has to answer as the learner does (`made_task`), or is not let out;
* `measure`, `manifest`, `model_card`: what an exported file is worth, for programs and for people.

Using one: `exported.load(directory)`, over `runtimes`; it needs the runtime of the format and NumPy,
and TensorFlow only where that is the runtime. `clients` are copied into each export.
"""
