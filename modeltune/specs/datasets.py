"""Declare the data of a spec: train, validation and test parts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Data:
    """The three parts of a data set; the search never sees ``test``.

    A part is one of:

    - ``(x, y)`` or ``(x, y, sample_weight)``, arrays with equal first dimensions. ``x`` and
      ``y`` may be dicts or tuples of arrays for several inputs or outputs;
    - a batched, finite ``tf.data.Dataset``;
    - a ``keras.utils.PyDataset``.

    If ``validation`` or ``test`` is left out and ``train`` is arrays, modeltune cuts each from
    train: a fifth of it, seeded, stratified by class label.
    """

    train: object
    validation: object = None
    test: object = None
