"""Keep fitted estimators in files of skops, which hold data and no code, and load them again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection
from pathlib import Path

import sklearn

from modeltune.engine.fit import Estimator
from modeltune.ground import HistoryError, error_line
from modeltune.records import ESTIMATOR


def write_estimator(estimator: Estimator, path: Path, architecture: Path) -> None:
    """Write a fitted estimator, and beside it what it is and with which versions.

    Raises:
        Exception: whatever skops raises of an object that it cannot write.
    """
    # Importing it takes a second, which runs without estimators spare.
    import skops
    from skops import io as files

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(files.dumps(estimator))
    described = {
        "kind": ESTIMATOR,
        "estimator": repr(estimator),
        "scikit-learn": sklearn.__version__,
        "skops": skops.__version__,
    }
    architecture.write_text(json.dumps(described), encoding="utf-8")


def load_estimator(path: Path, known: Collection[str]) -> Estimator:
    """Return the estimator in a file of skops; no other class or function of it is made than these.

    Args:
        path: a file that may come from a stranger.
        known: names of classes and functions besides those that skops takes for harmless.

    Raises:
        HistoryError: it is no such file, or holds something else.
    """
    from skops import io as files

    try:
        with zipfile.ZipFile(path) as file:
            packed = [one.filename for one in file.infolist() if one.compress_type]
        if packed:
            raise HistoryError("its members are compressed, which modeltune does not write")
        if foreign := sorted(set(files.get_untrusted_types(file=path)) - set(known)):
            raise HistoryError(
                f"it holds {', '.join(foreign)}, which the estimator that its spec builds today has none of"
            )
        return files.load(path, trusted=sorted(known))
    except HistoryError:
        raise
    except Exception as error:
        raise HistoryError(f"skops cannot load it: {error_line(error)}") from error


def parts_of_estimator(estimator: Estimator) -> list[str]:
    """Return the classes and functions that an estimator is made of, besides those harmless to skops."""
    from skops import io as files

    found: list[str] = files.get_untrusted_types(data=files.dumps(estimator))
    return found


def parts_in_file(path: Path) -> list[str]:
    """Return the classes and functions in a file of skops that whoever loads it has to trust.

    Raises:
        HistoryError: it is no such file.
    """
    from skops import io as files

    try:
        found: list[str] = files.get_untrusted_types(file=path)
    except Exception as error:
        raise HistoryError(f"skops cannot read {path}: {error_line(error)}") from error
    return found
