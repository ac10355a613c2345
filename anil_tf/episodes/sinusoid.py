"""Sinusoid regression tasks (Finn, Abbeel, Levine 2017, arXiv:1703.03400, section 5.1)."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from anil_tf.episodes.sampling import ALGORITHM, derived_seed

_AMPLITUDES, _PHASES, _POINTS = range(3)


@dataclasses.dataclass(frozen=True)
class Sinusoids:
    """Curves y = amplitude * sin(x - phase); a task is one curve.

    Amplitudes are uniform on [0.1, 5], phases on [0, pi], and points x on [-5, 5]. Splits differ
    in their seed only, as tasks are drawn from a continuum.
    """

    split_description: str = "curves drawn anew for every split from one distribution"
    image_shape: tuple[int, ...] = (1,)
    class_names: tuple[str, ...] = ()

    def draw(
        self, seed: tf.Tensor, *, tasks: int, shots: int, queries: int
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Draws an element of `Tasks`: curves, and points x on them with their y, all float32."""

        def uniform(purpose: int, points: int, low: float, high: float) -> tf.Tensor:
            shape = [tasks, points, 1]
            return tf.random.stateless_uniform(
                shape, derived_seed(seed, purpose), low, high, alg=ALGORITHM
            )

        amplitudes = uniform(_AMPLITUDES, 1, 0.1, 5.0)
        phases = uniform(_PHASES, 1, 0.0, math.pi)
        points = uniform(_POINTS, shots + queries, -5.0, 5.0)
        values = amplitudes * tf.sin(points - phases)
        inputs = {
            "support_images": points[:, :shots],
            "support_labels": values[:, :shots],
            "query_images": points[:, shots:],
        }
        return inputs, values[:, shots:]
