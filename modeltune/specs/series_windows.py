"""Declare windows of a series as the data of a spec."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modeltune.ground import DataError, error_line, first_names, is_integer, typed
from modeltune.specs.datasets import CUT, Data
from modeltune.specs.frames import (
    frame_of,
    module_of_caller,
    read_frame,
    root_of_module,
    shown_source,
)

WINDOW = "window"
"""The name of the only input."""

LAST_VALUE = "last"
"""The column of the metadata that has the target's last value in a window."""


def windows(
    series: Any, *, length: int, horizon: int = 1, target: str | int | None = None
) -> Windows:
    """Return a data function of windows of a series whose rows are in time.

    ``x`` is ``{"window": array of shape (n, length, columns)}``, float32; ``y`` of shape ``(n,)`` is the target ``horizon``
    steps after the last of a window. The latest fifth of the windows is test, the fifth before validation, and windows are left
    out between parts so that no two parts share a step; so they are before the windows that a fold of ``mt.KFold`` holds
    out, which is trained on those before. The metadata's column ``last`` is the target's last value in a window, which a metric
    of one's own may hold predictions against::

        def skill(y_true, y_pred, metadata):
            return 1 - abs(y_true - y_pred).mean() / abs(y_true - metadata["last"]).mean()

    A build function with a second argument gets what was fitted on train::

        @mt.spec(data=mt.windows("workouts.csv", length=14, target="minutes"), ...)
        def net(hp, prepared):
            inputs = prepared.inputs()  # {"window": a keras.Input}
            x = prepared.encode(inputs)  # each column of mean 0 and variance 1 on train
            ...

    Args:
        series: an array of shape (steps,) or (steps, columns); or a frame or column, the path of a ``.csv`` or ``.parquet`` file from the
            project's root, all of whose columns are numbers; or a function that returns one of these.
        length: the steps of a window.
        horizon: how many steps ahead the target is.
        target: the column to predict, by name or place; may be left out where there is one.

    Raises:
        TypeError: a number is none.
        DataError: when called, if the series cannot be read, has no such column, or is too short.
    """
    for name, value in (("length", length), ("horizon", horizon)):
        if not is_integer(value) or value < 1:
            raise TypeError(f"mt.windows: {name} is {typed(value)}; write a whole number from 1 on")
    if target is not None and not isinstance(target, str | int):
        raise TypeError(
            f"mt.windows: target is {typed(target)}; write the name or place of a column"
        )
    return Windows(series, length, horizon, target, module_of_caller())


@dataclass(frozen=True, eq=False)
class Windows:
    """A data function: called, it cuts a series into windows. ``mt.windows`` makes it."""

    series: Any = field(repr=False)
    length: int
    horizon: int
    target: str | int | None
    module: str = field(repr=False)

    __name__ = "windows"

    def __call__(self) -> Data:
        """Cut the series into windows.

        Raises:
            DataError: as ``windows``.
        """
        what = f"mt.windows({shown_source(self.series)})"
        steps, place = self._steps(what)
        gap = self.length + self.horizon - 1
        count = len(steps) - gap
        cut = round(CUT * count)
        if cut < 1 or count - 2 * cut - 2 * gap < 1:
            raise DataError(
                f"{what}: {len(steps)} steps are too few for windows of length {self.length} and horizon "
                f"{self.horizon} in three parts that share no step; write a smaller length or horizon, or bring "
                "more steps"
            )
        last = frame_of({LAST_VALUE: steps[self.length - 1 :, place][:count]})
        return Data(
            self._windows(steps, place, count),
            metadata=last,
            prepare=WindowScaling(),
            ordered=True,
            gap=gap,
        )

    def _steps(self, what: str) -> tuple[Any, int]:
        """Return the series as float32 of shape (steps, columns), and the place of its target."""
        import numpy as np

        series, target = self.series, self.target
        if callable(series):
            try:
                series = series()
            except Exception as error:
                raise DataError(f"{what}: it cannot be read: {error_line(error)}") from error
        if isinstance(series, np.ndarray | list | tuple):
            steps = np.asarray(series)
            steps = steps[:, None] if steps.ndim == 1 else steps
            if steps.ndim != 2 or steps.dtype.kind not in "iufb":
                raise DataError(
                    f"{what}: it has shape {steps.shape} and dtype {steps.dtype}; write numbers of shape "
                    "(steps,) or (steps, columns)"
                )
            names = list(map(str, range(steps.shape[1])))
        else:
            frame = read_frame(what, series, root_of_module(self.module))
            names = list(frame.columns)
            try:
                steps = frame.to_numpy("float32")
            except (TypeError, ValueError):
                kinds = {
                    name: str(kind)
                    for name, kind in frame.dtypes.items()
                    if kind.kind not in "iufb"
                }
                listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
                raise DataError(
                    f"{what}: {listed} are no numbers; write a function that returns a frame of numbers"
                ) from None
        if target is None and len(names) == 1:
            return steps.astype("float32"), 0
        place = names.index(target) if target in names else target
        if not is_integer(place) or not -len(names) <= place < len(names):
            if isinstance(series, np.ndarray | list | tuple):
                raise DataError(f"{what}: target={target!r} is none of its {len(names)} columns")
            raise DataError(
                f"{what}: target={target!r} is no column; it has {first_names(frame.columns)}"
            )
        return steps.astype("float32"), int(place)

    def _windows(self, steps: Any, place: int, count: int) -> tuple[Any, Any]:
        import numpy as np

        windows = np.lib.stride_tricks.sliding_window_view(steps, self.length, axis=0)[:count]
        x = np.ascontiguousarray(windows.transpose(0, 2, 1))
        return {WINDOW: x}, steps[self.length + self.horizon - 1 :, place][:count]


@dataclass(frozen=True)
class WindowScaling:
    """Fits the scale of each column on train: ``prepare`` of windows."""

    __name__ = "mt.windows"

    def __call__(self, train: Any) -> PreparedWindows:
        """Return the means and variances of the columns of a train part."""
        import numpy as np

        windows = train[0][WINDOW].astype(np.float64)
        columns = windows.reshape(-1, windows.shape[-1])
        return PreparedWindows(
            windows.shape[1], tuple(columns.mean(axis=0)), tuple(columns.var(axis=0))
        )


@dataclass(frozen=True)
class PreparedWindows:
    """The scale of each column on train. Each call of ``encode`` makes a new Keras layer that holds it.

    Args:
        length: the steps of a window.
        means, variances: of each column over the windows of train.
    """

    length: int
    means: tuple[float, ...]
    variances: tuple[float, ...]

    def inputs(self) -> dict[str, Any]:
        """Return a new ``keras.Input`` of shape ``(length, columns)`` by its name, ``window``."""
        import keras

        return {WINDOW: keras.Input((self.length, len(self.means)), name=WINDOW)}

    def encode(self, inputs: dict[str, Any]) -> Any:
        """Return windows of shape ``(batch, length, columns)`` whose columns have mean 0 and variance 1 on train."""
        from keras import layers

        scale = layers.Normalization(mean=list(self.means), variance=list(self.variances))
        return scale(inputs[WINDOW])
