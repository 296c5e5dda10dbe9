"""The data of a spec as its author declares it: train, validation and test parts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Data:
    """Three parts of one problem; the search never sees ``test``.

    Each part is ``(x, y)`` or ``(x, y, sample_weight)`` of arrays with equal
    first dimensions, where ``x`` and ``y`` may be dicts or tuples of arrays for
    several inputs or outputs; or a batched, finite ``tf.data.Dataset``; or a
    ``keras.utils.PyDataset``. A ``validation`` or ``test`` part left out is cut
    from array ``train`` data: a fifth each, seeded, stratified by class label.
    """

    train: object
    validation: object = None
    test: object = None
