"""What every engine does with the data of a run; no Keras is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from modeltune.engine.data import (
    DECLARE,
    LoadedData,
    check_data,
    check_suspects,
    check_weights,
    class_labels,
    columns_of_values,
    is_shareable,
    load_data,
    read_parts,
    write_parts,
)
from modeltune.engine.score import (
    check_own_metrics,
    check_slices,
    check_strong_baselines,
    check_threshold,
    masks_of,
    shown_rows,
)
from modeltune.ground import DataError, SpecError
from modeltune.records import Groups, Json, ScoredRows, Verdict
from modeltune.specs import Spec, search_identity


class DataEngine:
    """The part of an engine that holds the data of a run; ``Engine`` and ``PredictorEngine`` have models.

    Args:
        spec: the declared model.
        fixtures: what its data function asks for by argument name.
    """

    def __init__(self, spec: Spec, fixtures: Mapping[str, object]):
        self._spec = spec
        self._fixtures = fixtures
        self._loaded: LoadedData | None = None

    def identity(self) -> dict[str, str]:
        """Return what the search depends on besides its data, as this process has imported it."""
        return search_identity(self._spec)

    def load(self, loaded: LoadedData | None = None) -> tuple[dict[str, Json], dict[str, str]]:
        """Load and check the data, unless they are given; return description and fingerprints."""
        self._loaded = loaded or load_data(self._spec, self._fixtures)
        return self._loaded.description, self._loaded.fingerprints

    def loaded(self) -> LoadedData:
        """Return the data; load them first."""
        return self._data

    def is_told_apart(self) -> bool:
        """Tell whether other data than these would be known as others: not of some varying streams."""
        train = self._data.train
        return not (train.varies and train.fingerprint == train.content)

    def share(self, folder: Path) -> bytes | None:
        """Write the data for other engines; return what they ``take``, None of streams."""
        return write_parts(self._data, folder) if is_shareable(self._data) else None

    def take(self, written: bytes | None, fingerprints: Mapping[str, str]) -> None:
        """Take the data another engine has loaded; streams (None) are loaded anew.

        Raises:
            DataError: the data function returns other data in this process.
        """
        if written is not None:
            self._loaded = read_parts(written)
            return
        self._loaded = load_data(self._spec, self._fixtures)
        if self._loaded.fingerprints != fingerprints:
            now = self._loaded.fingerprints
            changed = [n.removeprefix("data/") for n in now if now[n] != fingerprints[n]]
            remedy = "seed what is random in the data function"
            if changed == ["train"] and self._loaded.train.stream is not None:
                remedy = f"what train is made of cannot be told; {DECLARE}"
            elif "train" not in changed:
                remedy += ", and neither shuffle into parts nor augment what models are scored on"
            raise DataError(
                f"{self._spec.id}: data: {', '.join(changed)} differ each time they are loaded; "
                f"{remedy}, or run with --modeltune-workers=0"
            )

    def check(self) -> tuple[Verdict, ...]:
        """Check the data before training starts.

        Raises:
            SpecError: as ``check_slices``.
        """
        self.check_slices()
        return self.check_data()

    def check_data(self) -> tuple[Verdict, ...]:
        """As ``check``, without the slices that gates name."""
        verdicts = check_data(self._data, self._spec.checks)
        weights = check_weights(self._data, self._spec.fit.class_weight)
        warned = () if weights is None else (weights,)
        return (*verdicts, *warned, *check_suspects(self._data, self._spec.checks))

    def check_slices(self) -> None:
        """Call the functions that make the slices gates name, and look up what metrics and a threshold take.

        Raises:
            SpecError: a slice cannot be made of the test part, or a metric takes what there is not, or
                validation cannot choose the threshold.
        """
        try:
            is_whole = self._spec.most_rows is None
            check_slices(self._spec.slices, self._data.test, is_whole)
            check_own_metrics(self._spec.asked_metrics, self._data.test)
            check_strong_baselines(self._spec, self._data.train, self._data.test)
            check_threshold(self._spec, self._data.validation)
        except SpecError as error:
            spec = self._spec
            raise SpecError(f"{spec.file}:{spec.line}: {spec.name}: {error}") from error

    def scored_rows(self) -> ScoredRows:
        """Return what is known of the test part before anything is scored on it."""
        test = self._data.test
        masks = masks_of(self._spec.slices, test)
        labels = class_labels(test.y) if test.stream is None else None
        return ScoredRows(test.size, test.groups, test.is_ordered, masks, labels)

    def shown_rows(self, rows: Sequence[int]) -> list[Json]:
        """Return these rows of the test part for people to look at."""
        return shown_rows(self._data.test, rows)

    def test_columns(self) -> dict[str, Groups]:
        """Return which value of each column of metadata the test samples have; columns of ids are left out."""
        frame = self._data.test.metadata
        return {} if frame is None else columns_of_values(frame)

    @property
    def _data(self) -> LoadedData:
        assert self._loaded is not None  # load or take comes first
        return self._loaded
