"""Declare the data of a spec: train, validation and test parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modeltune.ground import is_integer, typed

CUT = 0.2
"""The share of train that is cut for each missing part, of train as the data function returned it."""


@dataclass(frozen=True, eq=False)
class Data:
    """The three parts of a data set; the search never sees ``test``.

    A part is one of:

    - ``(x, y)`` or ``(x, y, sample_weight)``, arrays with equal first dimensions. ``x`` and
      ``y`` may be dicts or tuples of arrays for several inputs or outputs;
    - ``x`` or ``(x,)`` for a model that has its loss inside, as an autoencoder or a GAN may;
    - a batched ``tf.data.Dataset`` or a ``keras.utils.PyDataset`` that yields these, which is read in
      the process that trains;
    - a function without arguments that yields such batches, a generator function for instance. It is
      called each time the part is read.

    A tuple or list is taken apart as Keras takes it apart: one of two is ``(x, y)``, one of three
    ``(x, y, sample_weight)``. Three inputs alone are ``((a, b, c),)``.

    A stream without an end needs ``mt.Fit(steps_per_epoch=n)`` in train, and
    ``mt.Fit(validation_steps=n)`` in validation; in test it is refused.

    If ``validation`` or ``test`` is left out and ``train`` is arrays, modeltune cuts each from
    train: a fifth of it, seeded, stratified by class label.

    A stream in ``train`` may be shuffled and augmented, so that it yields other samples each time it
    is read: a run is known by the elements a ``tf.data.Dataset`` is made of. Where these cannot be
    told, as of a generator or a ``PyDataset``, ``version`` says which data it is, as "2026-11".
    ``validation`` and ``test`` yield the same samples every time, in any order.

    ``test`` alone is enough for a model that is trained already.

    ``metadata`` are what is known of samples besides x and y, such as a region: a pandas frame with
    one row per sample, in order, or a dict of frames by part, ``{"train": ..., "test": ...}``. A frame
    alone belongs to the only part there is; parts cut from train inherit the rows they are cut with.
    No model gets them: ``.by("region")`` judges the groups of a column, and a metric of your own gets
    them by an argument of this name. They belong to what the data are known by.

    ``groups`` say which samples belong together, such as those of one patient: an array with a label per
    row of train, or a dict of arrays by part, ``{"train": ..., "validation": ...}``; of streams a function of
    a batch, ``groups=lambda x, y: x["patient"]``, or a dict of functions. Parts that are cut
    from train get whole groups, about a fifth of the rows each, and inherit their labels; ``mt.KFold``
    draws folds of whole groups, from train and validation. Both are balanced by class where each class
    has rows enough.

    ``ordered=True`` says that the rows of train are in time, and train before validation before test:
    missing parts are cut from the end of train, and ``mt.KFold`` trains each fold on what comes before
    the rows it holds out. ``gap`` rows are left out between parts, and before the rows a fold holds out.
    With ``groups`` too no part is cut and no fold drawn: return all three.

    ``prepare`` is a function that fits what a model needs on the train part, and on nothing else: it is
    called with ``(x, y)``, ``(x, y, sample_weight)`` or the stream that train is, and what it returns,
    such as an adapted ``keras.layers.Normalization``, is the second argument of a build function
    ``build(hp, prepared)``. Of cross-validation it is called with the train part of each fold.

    ``class_names`` are what reports call the classes, or the labels of a multi-label output, in the
    order of their numbers: ``["negative", "positive"]``. Of several outputs it is a dict by the name of
    the output. They change nothing that is trained or judged.
    """

    train: object = None
    validation: object = None
    test: object = None
    version: str | None = field(default=None, kw_only=True)
    metadata: object = field(default=None, kw_only=True)
    class_names: Sequence[str] | Mapping[str, Sequence[str]] | None = field(
        default=None, kw_only=True
    )
    prepare: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    groups: object = field(default=None, kw_only=True)
    ordered: bool = field(default=False, kw_only=True)
    gap: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        self._check_rows()
        if self.prepare is not None and not callable(self.prepare):
            raise TypeError(
                f"prepare is {self.prepare!r}; write a function that is called with the train part"
            )
        if self.version is not None and not (
            isinstance(self.version, str) and self.version.strip()
        ):
            raise TypeError(
                f'version is {self.version!r}; write a text that changes with the data, as "2026-11"'
            )
        for whose, names in self.names_by_output.items():
            _check_names(f"class_names[{whose!r}]" if whose else "class_names", names)

    def _check_rows(self) -> None:
        if not isinstance(self.ordered, bool):
            raise TypeError(f"ordered is {typed(self.ordered)}; write True where rows are in time")
        if not is_integer(self.gap) or self.gap < 0:
            raise TypeError(
                f"gap is {typed(self.gap)}; write how many rows are left out, from 0 on"
            )
        if self.gap and not self.ordered:
            raise ValueError(
                f"gap={self.gap} is left out between rows in time; write ordered=True too"
            )
        if isinstance(self.groups, str):
            raise TypeError(
                f"groups is {typed(self.groups)}; write an array with a label per row of train, a dict "
                "of arrays by part, or a function of a batch"
            )
        missing = [name for name in ("validation", "test") if getattr(self, name) is None]
        if self.groups is not None and self.ordered and self.train is not None and missing:
            raise ValueError(
                f"groups and ordered=True are both given, and {missing[0]} is missing: a part that is cut in time "
                "would cut groups in two, and whole groups are in no order; return mt.Data(train, validation, "
                "test), or leave one of both out"
            )

    @property
    def names_by_output(self) -> dict[str, Sequence[str]]:
        """The class names by the output's name, "" for those of a single output."""
        if self.class_names is None:
            return {}
        if isinstance(self.class_names, Mapping):
            return dict(self.class_names)
        return {"": self.class_names}


def _check_names(field: str, names: Any) -> None:
    is_list = isinstance(names, Sequence) and not isinstance(names, str | bytes)
    if not is_list or not names or not all(isinstance(name, str) for name in names):
        raise TypeError(f'{field} is {names!r}; write a list of texts, as ["negative", "positive"]')
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise ValueError(f"{field} names two classes {twice[0]!r}; give each a name of its own")
