"""The engine of a run: everything it needs Keras for, from its data to trials and refits."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

# TensorFlow logs its view of the machine to stderr when it is imported, below.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from modeltune.engine.backends import is_tensorflow, note_on_backend, why_only_numbers
from modeltune.engine.data import LoadedData, leaves, padded, prepared_spec
from modeltune.engine.data_engine import DataEngine
from modeltune.engine.dry_run import dry_run, rehearse_given
from modeltune.engine.environments import KERAS_PACKAGES, environment, git_problem, old_keras
from modeltune.engine.estimator_engine import EstimatorEngine
from modeltune.engine.examination import examine_model
from modeltune.engine.fit import (
    OtherKindBuild,
    data_for_model,
    for_model,
    surroundings,
    take_cautions,
    train_trial,
)
from modeltune.engine.internals import KERAS, KERAS_TUNER, TENSORFLOW
from modeltune.engine.oracles import Oracle, ReadHyperParameters
from modeltune.engine.predictor_engine import PredictorEngine
from modeltune.engine.score import (
    digest_of,
    is_keras_model,
    kept_points,
    load_given,
    notes_on_given,
    parts_of,
    random_scores,
    rebuilt_model,
    save_model,
    score_given,
    scores_again,
    scores_of_exports,
    train_refit,
)
from modeltune.ground import (
    CodeError,
    DataError,
    ModeltuneError,
    SpecError,
    error_text,
    monotonic,
)
from modeltune.records import (
    Examination,
    ExamineTask,
    GivenModels,
    HyperParameters,
    IdentifyTask,
    Json,
    Proposal,
    RefitTask,
    RehearsalResult,
    RehearseTask,
    Result,
    Task,
    Values,
    failure_of,
)
from modeltune.specs import Refit, Spec, Validation, uses_package

T = TypeVar("T")

INSTEAD_OF_TEXTS = {
    "x": (
        "declare them with mt.texts or mt.table, have what is prepared on train give numbers for them "
        "by a method numbers(x), or make numbers of them in the data function"
    ),
    "y": "make class numbers of them in the data function",
}
"""What to do about texts where Keras has no tensors of them."""

SAMPLES = 4
"""Samples of test that a model and the file it is written to both predict."""


class Engine(DataEngine):
    """The keras side of one run; its methods take and return plain data.

    A run in several processes has one that loads the data and owns the oracle, and one in
    each process that trains; a run in one process has one engine for all. ``start_engine``
    makes them.

    Args:
        spec: the declared model.
        fixtures: what its data function asks for by argument name.
        features: the folder that keeps the outputs of frozen layers, for any trial and run.
    """

    def __init__(self, spec: Spec, fixtures: Mapping[str, object], features: Path):
        super().__init__(spec, fixtures)
        self._features = features
        self._given: list[Any] = []
        self._predictors: PredictorEngine | None = None
        self._is_of_estimators = False
        self._oracle: Oracle | None = None
        self._specs: dict[tuple[Refit | None, Validation], Spec] = {}

    def load(self, loaded: LoadedData | None = None) -> tuple[dict[str, Json], dict[str, str]]:
        """Load and check the data, and prepare on train what models are built with.

        Returns:
            As ``DataEngine.load``; the description says what was prepared, and how long it took.
        """
        description, fingerprints = super().load(loaded)
        self._suit_backend()
        prepare = self._data.prepare
        if prepare is not None and self._spec.takes_prepared:
            started = monotonic()
            self.prepared()
            by = getattr(prepare, "__name__", type(prepare).__name__)
            seconds = monotonic() - started
            samples = self._data.train.size
            description["prepared"] = {"by": by, "samples": samples, "seconds": seconds}
        return description, fingerprints

    def take(self, written: bytes | None, fingerprints: Mapping[str, str]) -> None:
        """As ``DataEngine.take``."""
        super().take(written, fingerprints)
        self._suit_backend()

    def _suit_backend(self) -> None:
        """Pad rows of different lengths, and refuse texts, that the backend has no tensors of.

        What models are built with may give numbers for the texts of inputs.

        Raises:
            DataError: names the array.
        """
        why = why_only_numbers()
        # An estimator takes texts as well.
        if why is None or not uses_package(self._spec, KERAS_PACKAGES):
            return
        self._loaded = padded(self._data, keras.backend.backend())
        prepares = self._data.prepare is not None and self._spec.takes_prepared
        gives_numbers: bool | None = None
        for part in self._data.parts:
            for kind, arrays in (("x", part.x), ("y", part.y)):
                for path, array in leaves(arrays):
                    if array.dtype.kind not in "OUS":
                        continue
                    if kind == "x" and prepares and gives_numbers is None:
                        gives_numbers = callable(getattr(self.prepared().prepared, "numbers", None))
                    if kind == "x" and gives_numbers:
                        continue
                    name = f"{kind}.{path}" if path else kind
                    raise DataError(
                        f"{self._spec.id}: data: {part.name} {name} holds texts: {why}; {INSTEAD_OF_TEXTS[kind]}, or "
                        "compute with TensorFlow (KERAS_BACKEND=tensorflow)"
                    )

    def environment(self) -> dict[str, Json]:
        """Describe what numbers depend on besides the spec."""
        spec = self._spec
        sources = ("*.py", "*.ipynb") if spec.is_in_notebook else ("*.py",)
        return environment(Path(spec.file).parent, spec.fit.dtype_policy, sources)

    def notes(self) -> tuple[str, ...]:
        """Say which private names the libraries lack and what happens instead, and that Keras is too old.

        Also say what the backend is slower at or cannot do, and why git tells nothing of the spec's repository; and, once data are loaded, what is
        to be known of them. Which names are lacking is of given models said by ``identify``, whose
        process looks them up anyway: it builds models to do so.
        """
        notes = [old_keras(), note_on_backend(), git_problem(Path(self._spec.file).parent)]
        notes += [] if self._spec.is_given else _lacking_names()
        loaded = () if self._loaded is None else self._loaded.notes
        return (*(note for note in notes if note), *loaded)

    def begin(self, scratch: Path, rehearsed: RehearsalResult | None = None) -> RehearsalResult:
        """Make the oracle of a rehearsed spec; return how the rehearsal ended.

        The rehearsal is made here unless another engine has made it.
        """
        self._oracle = Oracle(self._spec.search, scratch)
        if rehearsed is None:
            return self._rehearsed(self._oracle)
        if rehearsed.space is not None:
            self._oracle.learn(ReadHyperParameters.of(rehearsed.space))
        return rehearsed

    def ask(self) -> Proposal | None:
        """As ``Oracle.ask``."""
        return self._begun_oracle.ask()

    def tell(
        self,
        proposal: str,
        score: float | None,
        hyperparameters: HyperParameters,
        read: frozenset[str],
        reason: str | None,
    ) -> frozenset[str] | None:
        """As ``Oracle.tell``."""
        return self._begun_oracle.tell(proposal, score, hyperparameters, read, reason)

    def space_at(self, values: Values) -> HyperParameters:
        """As ``Oracle.space_at``."""
        return self._begun_oracle.space_at(values)

    def default_values(self) -> Values:
        """As ``Oracle.default_values``."""
        return self._begun_oracle.default_values()

    def perform(self, task: Task) -> Result:
        """Train a trial, refit and score, rehearse or examine; what a candidate raises is in the result.

        Raises:
            SpecError, SearchError: of a rehearsal, as ``dry_run``.
        """
        if isinstance(task, RehearseTask):
            return self._rehearsed(Oracle(self._spec.search, task.scratch))
        if isinstance(task, ExamineTask):
            return self.examine(task)
        if isinstance(task, IdentifyTask):
            return self.identify(task.with_behaviours)
        if isinstance(task, RefitTask) and self._spec.is_of_estimator_file:
            return self._estimators.score_file(task)
        if isinstance(task, RefitTask) and self._spec.is_given:
            models = self._given_models()
            if self._predictors is not None:
                return self._predictors.perform(task)
            model = models[task.refit.seed]
            return score_given(self._spec, self._data, task, model)
        if isinstance(task, RefitTask):
            return self._of_kind(
                lambda: train_refit(self.prepared(task.refit), self._data, task, self._features),
                lambda estimators: estimators.train_refit(task),
            )
        # The test part stays here.
        parts = self._data.train, self._data.validation
        return self._of_kind(
            lambda: train_trial(self.prepared(), *parts, task, features=self._features),
            lambda estimators: estimators.train_trial(task),
        )

    def examine(self, task: ExamineTask) -> Examination:
        """Measure what gates need to know about the tuned model besides its scores."""
        if self._spec.is_of_estimator_file:
            return self._estimators.examine(task)
        if self._predictors is not None:
            return self._predictors.examine(task)
        try:
            return self._of_kind(
                lambda: examine_model(self.prepared(self._first_refit), self._data, task),
                lambda estimators: estimators.examine(task),
            )
        except (Exception, SystemExit) as error:  # noqa: BLE001  the author's functions are called
            return Examination(failure=failure_of(error))

    def identify(self, with_behaviours: bool = True) -> GivenModels:
        """Load the models that are given, and tell which they are; try behaviours once, if at all.

        Raises:
            SpecError: they cannot be loaded, or do not fit the data or the gates.
        """
        if self._spec.is_of_estimator_file:
            return self._estimators.identify_file(with_behaviours)
        models = self._given_models()
        if self._predictors is not None:
            return self._predictors.identify(with_behaviours)
        take_cautions()  # of what ended before it could be told of
        for model in models:
            rehearse_given(self._spec, self._data, model, with_behaviours)
        digests = tuple(map(digest_of, models))
        lacking = filter(None, _lacking_names())
        notes = (*lacking, *notes_on_given(self._spec, models))
        return GivenModels(digests, notes, cautions=take_cautions())

    def score_again(
        self,
        values: Values,
        refit: Refit,
        validation: Validation | None,
        weights: Path,
        recorded: Collection[str],
    ) -> tuple[dict[str, float], list[str]]:
        """Score the model that the spec builds from these values, with the weights in a file.

        Args:
            values: those of the run.
            refit: the one whose weights they are.
            validation: that of the run, None of a given model.
            weights: the file.
            recorded: names of scores.

        Returns:
            The scores by name, and the names of those that are random.

        Raises:
            SpecError: the model cannot be built.
        """
        if self._spec.is_of_estimator_file:
            return self._estimators.score_again(values, refit, validation, weights, recorded), []
        if self._spec.is_given and self._given_models() and self._predictors is not None:
            return self._predictors.score_again(values, refit, validation, weights, recorded)
        spec = self._spec if validation is None else self._spec.with_fields(validation=validation)
        built = self.prepared(refit, spec.validation)

        def of_model() -> tuple[dict[str, float], list[str]]:
            with rebuilt_model(built, values, refit.seed, weights, self._data.test) as model:
                again = scores_again(spec, model, self._data, refit, recorded)
                return again, random_scores(model, self._data, spec.fit.batch_size)

        return self._of_kind(
            of_model,
            lambda estimators: (
                estimators.score_again(values, refit, validation, weights, recorded),
                [],
            ),
        )

    def score_exports(
        self,
        values: Values,
        refit: Refit,
        validation: Validation | None,
        weights: Path,
        files: Mapping[str, Path],
        thresholds: Mapping[str, Sequence[float]],
    ) -> dict[str, float]:
        """Score the kept files of exports by their runtimes on today's test part.

        Args:
            values, refit, validation, weights: as of ``score_again``.
            files: by the name of each export its file.
            thresholds: by output from where on the run's model says yes.

        Raises:
            SpecError: the model cannot be built, or a file cannot be run.
        """
        spec = self._spec if validation is None else self._spec.with_fields(validation=validation)
        built = self.prepared(refit, spec.validation)
        points = kept_points({name: tuple(one) for name, one in thresholds.items()})
        with rebuilt_model(built, values, refit.seed, weights, self._data.test) as model:
            return scores_of_exports(built, model, data_for_model(model, self._data), points, files)

    def write_model(self, values: Values, seed: int, weights: Path, path: Path) -> tuple[str, ...]:
        """Write the model that the spec builds from these values; return notes on the file.

        Raises:
            SpecError: the model cannot be built.
            HistoryError: Keras would not load the file again.
            CodeError: Keras cannot write it.
        """
        if self._spec.is_given and self._given_models() and self._predictors is not None:
            return self._predictors.write_model(values, seed, weights, path)
        spec = self.prepared(self._first_refit)
        with rebuilt_model(spec, values, seed, weights, self._data.test) as model:
            test = for_model(model, self._data.test)
            x = next(test.batches(SAMPLES))[0]
            try:
                return save_model(model, path, x)
            except ModeltuneError:
                raise
            except Exception as error:
                raise CodeError(error_text(error)) from error

    def estimator(self, values: Values, weights: Path) -> Any:
        """Return the estimator in the file that a run of the spec kept.

        Raises:
            SpecError, HistoryError: as ``EstimatorEngine.load``.
        """
        return self._estimators.load({"space": [], "values": dict(values)}, weights)

    def _rehearsed(self, oracle: Oracle) -> RehearsalResult:
        return self._of_kind(
            lambda: dry_run(self.prepared(), self._data, oracle),
            lambda estimators: estimators.rehearse(oracle),
        )

    def _of_kind(
        self, of_keras: Callable[[], T], of_estimators: Callable[[EstimatorEngine], T]
    ) -> T:
        """Return what is done with the Keras model, or with the estimator, that the spec builds.

        The kind of the last task is tried first: which it is shows when it is built.

        Raises:
            SpecError: the spec builds another kind each time.
        """
        for _ in range(2):
            try:
                if self._is_of_estimators:
                    return of_estimators(self._estimators)
                return of_keras()
            except OtherKindBuild:
                self._is_of_estimators = not self._is_of_estimators
        raise SpecError(
            f"{self._spec.id} builds a Keras model and then an estimator of the same values"
        )

    @property
    def _estimators(self) -> EstimatorEngine:
        return EstimatorEngine(self._data, self.prepared)

    def _given_models(self) -> list[Any]:
        """Return the given models; predictors among them are left to another engine."""
        if not self._given:
            with surroundings(self._spec, seed=0):
                self._given = load_given(self._spec)
            if not is_keras_model(self._given[0]):
                self._predictors = PredictorEngine(self._spec, self._fixtures)
                self._predictors.adopt(self._data, self._given)
        return self._given

    def adopt(self, loaded: LoadedData, models: list[Any]) -> None:
        """Take the data and the Keras models that an engine of predictors has loaded."""
        self._loaded, self._given = loaded, models

    @property
    def _first_refit(self) -> Refit:
        """The refit whose weights a run keeps."""
        return self._spec.validation.refits()[0]

    def prepared(self, refit: Refit | None = None, validation: Validation | None = None) -> Spec:
        """Return the spec that builds with what its data prepare, on train or on that of a refit's fold.

        It is prepared once for each in a process.

        Args:
            validation: what says which the folds are, default: that of the spec.

        Raises:
            DataError: as ``prepared_spec``.
        """
        spec, loaded = self._spec, self._data
        if loaded.prepare is None or not spec.takes_prepared:
            return spec
        validation = validation or spec.validation
        fold = refit if refit is not None and refit.fold is not None else None
        if (fold, validation) not in self._specs:
            train = loaded.train
            if fold is not None:
                train = parts_of(spec.with_fields(validation=validation), loaded, fold).train
            self._specs[fold, validation] = prepared_spec(spec, loaded, train)
        return self._specs[fold, validation]

    @property
    def _begun_oracle(self) -> Oracle:
        assert self._oracle is not None  # begin comes first
        return self._oracle


def _lacking_names() -> list[str | None]:
    libraries = (KERAS, TENSORFLOW, KERAS_TUNER) if is_tensorflow() else (KERAS, KERAS_TUNER)
    return [library.note() for library in libraries]
