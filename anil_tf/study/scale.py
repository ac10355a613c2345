"""How large a study is: smoke (3 minutes), small (75 minutes on two cores), long, full (the paper's scale)."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Scale:
    """Sizes that all experiments share; each takes what it needs.

    Attributes:
        name: of the scale.
        seeds: one run per seed; seeds give the intervals. Settings were found by trials on the seeds 0 to 3, which are
            left out here.
        meta_steps: K, outer updates of a run.
        meta_batch_size: B, tasks in a meta-step.
        filters: per convolution.
        ways: classes in a task.
        shots: support images per class.
        queries: query images per class.
        checkpoints: how many times a run is evaluated, the start included.
        evaluation_tasks: tasks of the training classes, and as many of the test classes, in one evaluation.
        inner_steps: the N that are compared.
        meta_batch_sizes: the B that are compared.
        maml_meta_steps: K of runs that adapt all layers, which cost several times as much.
        timing_steps: repetitions of what is timed.
    """

    name: str
    seeds: tuple[int, ...]
    meta_steps: int
    meta_batch_size: int
    filters: int
    ways: int
    shots: int
    queries: int
    checkpoints: int
    evaluation_tasks: int
    inner_steps: tuple[int, ...]
    meta_batch_sizes: tuple[int, ...]
    maml_meta_steps: int
    timing_steps: int


# Two cores without AVX-512 are to do all of it in 75 minutes, hence few and small meta-steps: what asks for more has
# been run at `long`. Of B and K it is B that is low, since a claim on convergence is one on meta-steps.
_SMALL = Scale(
    name="small",
    seeds=(4, 5, 6),
    meta_steps=200,
    meta_batch_size=2,
    filters=32,
    ways=5,
    shots=5,
    queries=5,
    checkpoints=5,
    evaluation_tasks=20,
    inner_steps=(1, 3, 5, 7, 10, 20),
    meta_batch_sizes=(1, 2, 4, 8, 16, 32),
    maml_meta_steps=100,
    timing_steps=30,
)

SCALES: dict[str, Scale] = {
    "smoke": dataclasses.replace(
        _SMALL,
        name="smoke",
        seeds=(0, 1),
        meta_steps=6,
        meta_batch_size=1,
        filters=8,
        queries=2,
        checkpoints=3,
        evaluation_tasks=2,
        inner_steps=(1, 5),
        meta_batch_sizes=(1, 2, 4),
        maml_meta_steps=3,
        timing_steps=3,
    ),
    "small": _SMALL,
    "long": dataclasses.replace(
        _SMALL,
        name="long",
        seeds=(4, 5, 6, 7, 8),
        meta_steps=1000,
        meta_batch_size=4,
        checkpoints=10,
        evaluation_tasks=36,
    ),
    "full": dataclasses.replace(
        _SMALL,
        name="full",
        seeds=(4, 5, 6, 7, 8),
        meta_steps=1000,
        meta_batch_size=32,
        filters=64,
        checkpoints=21,
        evaluation_tasks=600,
        maml_meta_steps=1000,
        timing_steps=100,
    ),
}
