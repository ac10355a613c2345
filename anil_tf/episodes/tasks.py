"""Tasks: an endless, reproducible supply of episodes, each a pure function of (seed, step)."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from anil_tf.episodes import image_episodes, pipeline, sampling, sinusoid
from anil_tf.episodes.class_images import ClassImages
from anil_tf.episodes.errors import DataError

Element = tuple[dict[str, tf.Tensor], tf.Tensor]
_FIXED_FIELDS = ("name", "split", "source")


@dataclasses.dataclass(frozen=True, eq=False)
class Tasks:
    """Batches of tasks drawn from one split of a data set.

    Nothing is remembered between draws: element number `step` depends on `seed`, `split` and
    `step` only, so a run resumes exactly with `tasks.from_step(step)`, validation can use the same
    episodes every time, and all hosts draw alike. Copies share the images.

    Classification elements are `({"support_images": uint8 [B, ways * shots, h, w, c],
    "support_labels": int32 [B, ways * shots], "query_images": uint8 [B, ways * queries, h, w, c]},
    query_labels int32 [B, ways * queries])`, with B = `meta_batch_size` and pixels 0..255. Regression
    elements have the same keys, with float32 [B, shots, 1] and [B, queries, 1]; `ways` is then 1.

    Example:
        >>> tasks = load("glyphs", split="train", ways=5, shots=1, queries=15,
        ...              meta_batch_size=8, seed=0)
        >>> inputs, query_labels = tasks.batch(step=0)
        >>> inputs["support_images"].shape
        TensorShape([8, 5, 28, 28, 1])

    Attributes:
        name: the data set, as given to `load`.
        split: "train", "validation" or "test".
        source: what episodes are drawn from; shared by all copies.
        ways: classes in a task.
        shots: support images per class.
        queries: query images per class.
        meta_batch_size: tasks in one element.
        seed: the seed of the episodes.
        first_step: the number of the first element of `as_dataset()`.
        augment: whether images are shifted and mirrored at random.
        leave_out_small_classes: whether classes with fewer than shots + queries images are left
            out; otherwise they are refused.
    """

    name: str
    split: str
    source: ClassImages | sinusoid.Sinusoids
    ways: int
    shots: int
    queries: int
    meta_batch_size: int
    seed: int
    first_step: int = 0
    augment: bool = False
    leave_out_small_classes: bool = False
    _drawn_from: Any = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        for field in ("ways", "shots", "queries", "meta_batch_size"):
            value = getattr(self, field)
            if value < 1:
                raise DataError(f"{field} must be at least 1, received {value}.")
        if self.first_step < 0:
            raise DataError(f"first_step must be at least 0, received {self.first_step}.")
        if self.augment and self.image_shape[-1] != 3:
            raise DataError(
                f"augmentation is for colour images; those of {self.name} have shape"
                f" {self.image_shape}: leave out --augment."
            )
        # The dataclass is frozen, hence the detour to set what follows from the fields.
        if isinstance(self.source, ClassImages):
            object.__setattr__(self, "_drawn_from", self._usable_classes(self.source))
        else:
            object.__setattr__(self, "ways", 1)
            object.__setattr__(self, "_drawn_from", self.source)

    @property
    def regression(self) -> bool:
        """Whether labels are numbers to predict and not classes."""
        return isinstance(self.source, sinusoid.Sinusoids)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels of an image; (1,) for regression."""
        return self.source.image_shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes that tasks are drawn from."""
        return self._drawn_from.class_names

    @property
    def split_description(self) -> str:
        """How the classes were split, a phrase for protocols."""
        return self.source.split_description

    def batch(self, step: int) -> Element:
        """Element number `step`, whatever `first_step` is."""
        with tf.device("CPU:0"):
            return self._draw(tf.constant(step, tf.int64))

    def as_dataset(self) -> tf.data.Dataset:
        """The elements `first_step`, `first_step + 1`, ... without end, prefetched."""
        with tf.device("CPU:0"):
            steps = tf.data.Dataset.counter(self.first_step)
            elements = steps.map(
                self._draw, num_parallel_calls=pipeline.PARALLEL_CALLS, deterministic=True
            )
            return pipeline.untuned(elements.prefetch(pipeline.PREFETCHED))

    def from_step(self, step: int) -> Tasks:
        """The same supply, its dataset starting at element `step`."""
        return self.replace(first_step=step)

    def replace(self, **changes: Any) -> Tasks:
        """A copy on the same images with other ways, shots, queries, seed and so on.

        Args:
            **changes: the attributes to change; not the data set or the split, for which see
                `load`.

        Returns:
            The changed copy.

        Raises:
            DataError: if the data cannot meet the changed request, or another data set is asked.
        """
        for field in _FIXED_FIELDS:
            if field in changes:
                raise DataError(
                    f"replace() keeps the data and cannot change {field!r}; use load()."
                )
        return dataclasses.replace(self, **changes)

    def _draw(self, step: tf.Tensor) -> Element:
        seed = sampling.episode_seed(self.seed, self.split, step)
        if isinstance(self.source, sinusoid.Sinusoids):
            return self.source.draw(
                seed, tasks=self.meta_batch_size, shots=self.shots, queries=self.queries
            )
        return image_episodes.draw(
            self._drawn_from,
            seed,
            tasks=self.meta_batch_size,
            ways=self.ways,
            shots=self.shots,
            queries=self.queries,
            augmented=self.augment,
        )

    def _usable_classes(self, source: ClassImages) -> ClassImages:
        """The classes with enough images, or a DataError."""
        needed = self.shots + self.queries
        usable = source.at_least(needed)
        if usable is not source and not self.leave_out_small_classes:
            smallest = int(source.sizes.argmin())
            raise DataError(
                f"class {source.class_names[smallest]!r} of {self.name} ({self.split}) has"
                f" {source.sizes[smallest]} images, but shots + queries = {self.shots} +"
                f" {self.queries} = {needed} are needed (too small:"
                f" {len(source.sizes) - len(usable.sizes)} of {len(source.sizes)} classes); lower"
                " --shots or --queries, or give --leave_out_small_classes."
            )
        if len(usable.sizes) < self.ways:
            raise DataError(
                f"{self.name} ({self.split}) has {len(usable.sizes)} classes with at least"
                f" {needed} images, fewer than --ways={self.ways}; lower --ways or use data with"
                " more classes."
            )
        return usable
