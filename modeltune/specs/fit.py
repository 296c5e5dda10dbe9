"""How every candidate is trained: epochs, batches, callbacks, threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modeltune.ground import Problem, as_typed, is_integer, typed


@dataclass(frozen=True, repr=False)
class Fit:
    """How every candidate is trained.

    Args:
        epochs: epochs per trial; Hyperband sets each trial's epochs itself.
        batch_size: samples per gradient step of array data; datasets bring their own.
        class_weight: weight of the loss per class index, as in ``model.fit``. Of several outputs such
            a dict for each by its name: ``{"animal": {0: 1.0, 1: 5.0}}``, which Keras trains by as
            sample weights; outputs that are not named weigh 1.
        callbacks: factories, called without arguments for a fresh callback per fit:
            ``lambda: keras.callbacks.EarlyStopping(patience=3)``.
        dtype_policy: the Keras dtype policy during build and training (``"mixed_float16"``),
            restored afterwards; None leaves the policy as it is.
        shuffle: reshuffle array train data before each epoch.
        threads: TensorFlow's threads in each fit. One suits small models, because as many
            trials train at once as there are cores; give a large model more. The number can
            change the last digit of a score, so it is a field of the spec and not of the machine.
        tensorboard: write the learning curves and hyperparameters of trials and refits, to be
            shown by ``tensorboard --logdir .modeltune/tensorboard``. They are written from the
            records: scores, speed and which runs can be reused stay the same.
        steps_per_epoch: how many batches an epoch has, as in ``model.fit``; None: all of train. An
            endless stream needs it. What is computed of such a train part, as in ``mt.gap``, is of
            its first so many batches.
        validation_steps: of a validation stream, use the first so many batches, the same ones each
            time; None: all. An endless stream needs it.
    """

    epochs: int = 10
    batch_size: int = 32
    class_weight: Mapping[int, float] | Mapping[str, Mapping[int, float]] | None = None
    callbacks: Sequence[Callable[[], Any]] = ()
    dtype_policy: str | None = None
    shuffle: bool = True
    threads: int = 1
    tensorboard: bool = False
    steps_per_epoch: int | None = None
    validation_steps: int | None = None

    label = "fit"

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        for name in ("epochs", "batch_size", "threads"):
            value = getattr(self, name)
            if not is_integer(value) or value < 1:
                yield name, f"{value!r}: write 1 or more"
        for name in ("steps_per_epoch", "validation_steps"):
            value = getattr(self, name)
            if value is not None and (not is_integer(value) or value < 1):
                yield name, f"{value!r}: write 1 or more, or None for all batches"
        if self.class_weight is not None and not isinstance(self.class_weight, Mapping):
            yield (
                "class_weight",
                f"{typed(self.class_weight)}: write a dict of class index to weight",
            )
        elif self.class_weight is not None:
            yield from _weight_problems("class_weight", self.class_weight)
        if not isinstance(self.callbacks, Sequence) or isinstance(self.callbacks, str):
            yield "callbacks", f"{typed(self.callbacks)}: write a list of factories"
        else:
            for index, factory in enumerate(self.callbacks):
                if not callable(factory):
                    yield (
                        f"callbacks[{index}]",
                        f"{typed(factory)} would be shared by all trials; write a factory: "
                        f"lambda: {type(factory).__name__}(...)",
                    )
        if self.dtype_policy is not None and not isinstance(self.dtype_policy, str):
            yield (
                "dtype_policy",
                f'{typed(self.dtype_policy)}: write a name such as "mixed_float16"',
            )
        if not isinstance(self.tensorboard, bool):
            yield "tensorboard", f"{typed(self.tensorboard)}: write True or False"

    def __repr__(self) -> str:
        return as_typed(self)


def _weight_problems(name: str, weights: Mapping[Any, Any]) -> Iterator[Problem]:
    """Yield what is wrong with weights by class index, or with such weights by output."""
    for key, value in weights.items():
        if isinstance(value, Mapping) and isinstance(key, str) and name == "class_weight":
            yield from _weight_problems(f"{name}[{typed(key)}]", value)
        elif isinstance(key, str) or isinstance(value, Mapping):
            yield (
                f"{name}[{typed(key)}]",
                f"{typed(value)}: write a weight for each class index, {{0: 1.0, 1: 5.0}}, or of several "
                'outputs such a dict for each by its name, {"animal": {0: 1.0, 1: 5.0}}',
            )
    if len({isinstance(key, str) for key in weights}) > 1:
        yield name, "has class indices and names of outputs; write either"
