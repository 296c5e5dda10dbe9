"""The engine of a run of predictors: it loads data, predicts and scores, and needs no Keras."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from modeltune.engine.data import LoadedData
from modeltune.engine.data_engine import DataEngine
from modeltune.engine.environments import git_problem, machine
from modeltune.engine.probe import (
    PredictorSource,
    behaviour_problems,
    probe,
    what_hypothesis_lacks,
    without_inputs,
)
from modeltune.engine.score import (
    GivenPredictor,
    digest_of_predictor,
    is_keras_model,
    kept_points,
    load_given,
    notes_on_predictors,
    predictor_scores,
    rehearse_predictor,
    score_predictor,
)
from modeltune.ground import CodeError
from modeltune.records import (
    Examination,
    ExamineTask,
    GivenModels,
    IdentifyTask,
    Json,
    Probe,
    RefitTask,
    RescoreResult,
    Result,
    Task,
    Values,
    failure_of,
)
from modeltune.specs import Behaviour, Refit, Spec, Validation


class PredictorEngine(DataEngine):
    """An engine of models that are trained already and need no Keras; one that does goes to ``Engine``.

    Args:
        spec: the declared model.
        fixtures: what its data function asks for by argument name.
        with_keras: makes the engine of Keras models, should one be given after all.
    """

    def __init__(
        self,
        spec: Spec,
        fixtures: Mapping[str, object],
        with_keras: Callable[[], Any] | None = None,
    ):
        super().__init__(spec, fixtures)
        self._with_keras = with_keras
        self._given: list[Any] = []
        self._keras: Any = None

    def environment(self) -> dict[str, Json]:
        """Describe what numbers depend on besides the spec."""
        spec = self._spec
        sources = ("*.py", "*.ipynb") if spec.is_in_notebook else ("*.py",)
        return machine(Path(spec.file).parent, {}, sources)

    def notes(self) -> tuple[str, ...]:
        """As ``Engine.notes``."""
        problem = git_problem(Path(self._spec.file).parent)
        loaded = () if self._loaded is None else self._loaded.notes
        return (*([] if problem is None else [problem]), *loaded)

    def identify(self, with_behaviours: bool = True) -> GivenModels:
        """Load the predictors, and tell which they are; try behaviours once, if at all.

        Raises:
            SpecError: they cannot be loaded, or do not fit the data or the gates.
        """
        models = self._models()
        if self._keras is not None:
            identified: GivenModels = self._keras.identify(with_behaviours)
            return identified
        for model in models:
            rehearse_predictor(model, self._data)
        if with_behaviours:
            self._rehearse_behaviours(models[0])
        digests = tuple(digest_of_predictor(model, self._data) for model in models)
        return GivenModels(digests, notes_on_predictors(self._spec, models))

    def perform(self, task: Task) -> Result:
        """Identify, score or examine; what a predictor raises is in the result."""
        if isinstance(task, IdentifyTask):
            return self.identify(task.with_behaviours)
        models = self._models()
        if self._keras is not None:
            result: Result = self._keras.perform(task)
            return result
        if isinstance(task, ExamineTask):
            return self.examine(task)
        assert isinstance(task, RefitTask)  # nothing is searched
        return score_predictor(models[task.refit.seed], self._data, task)

    def examine(self, task: ExamineTask) -> Examination:
        """Probe the first predictor, and say that one of an earlier run cannot be scored again."""
        if self._keras is not None:
            examination: Examination = self._keras.examine(task)
            return examination
        why = "of a predictor only predictions are kept, which are those of other samples"
        rescored = {name: RescoreResult(problem=why) for name in task.rescore}
        try:
            probed = self._probed(task)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the author's functions are called
            return Examination(failure=failure_of(error))
        lacking = what_hypothesis_lacks() if probed else None
        return Examination(probed, rescored, notes=() if lacking is None else (lacking,))

    def score_again(
        self,
        values: Values,
        refit: Refit,
        validation: Validation | None,
        weights: Path,
        recorded: Collection[str],
    ) -> tuple[dict[str, float], list[str]]:
        """As ``Engine.score_again``, with the predictor as the spec returns it today."""
        models = self._models()
        if self._keras is not None:
            again: tuple[dict[str, float], list[str]] = self._keras.score_again(
                values, refit, validation, weights, recorded
            )
            return again
        scores = predictor_scores(models[refit.seed], self._data)
        return {name: scores[name] for name in recorded if name in scores}, []

    def write_model(self, values: Values, seed: int, weights: Path, path: Path) -> tuple[str, ...]:
        """Refuse to write a predictor: it is where its build function takes it from.

        Raises:
            CodeError: always, unless it is a Keras model.
        """
        self._models()
        if self._keras is None:
            raise CodeError(
                "a predictor is no Keras model and is not kept: it is where its build function takes it "
                "from"
            )
        notes: tuple[str, ...] = self._keras.write_model(values, seed, weights, path)
        return notes

    def adopt(self, loaded: LoadedData, models: list[Any]) -> None:
        """Take the data and the predictors that ``Engine`` has loaded."""
        self._loaded, self._given = loaded, models

    def _probed(self, task: ExamineTask) -> dict[str, Probe]:
        spec, data = self._spec, self._data
        probed: dict[str, Probe] = {}
        if not task.behaviours:
            return probed
        source = PredictorSource(self._models()[0], data.test)
        for gate in spec.gates:
            if isinstance(gate, Behaviour) and gate.demand in task.behaviours:
                known = task.known.get(gate.key, ())
                seed, points = spec.search.seed, kept_points(task.thresholds)
                result = probe(gate, source, data.test, data.train, seed, known, points)
                probed[gate.demand] = result if spec.examples else without_inputs(result)
        return probed

    def _rehearse_behaviours(self, model: GivenPredictor) -> None:
        if not any(isinstance(gate, Behaviour) for gate in self._spec.gates):
            return
        test, train = self._data.test, self._data.train
        source = PredictorSource(model, test)
        if problems := list(behaviour_problems(self._spec, source, test, train)):
            raise model.refusal("".join(f"\n  {p}" for p in problems).removeprefix("\n  "))

    def _models(self) -> list[GivenPredictor]:
        if not self._given:
            self._given = load_given(self._spec)
        if self._keras is None and is_keras_model(self._given[0]):
            # Its code did not show it, as where a pickle or a library of others loads it.
            assert self._with_keras is not None
            self._keras = self._with_keras()
            self._keras.adopt(self._data, self._given)
        return [GivenPredictor(model, self._spec) for model in self._given]
