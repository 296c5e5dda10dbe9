"""What a spec demands of its model's behaviour: an invariance, a direction, cases, a relation."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from modeltune.ground import Problem, Word, is_finite_number, is_integer, is_positive_number, typed
from modeltune.specs.gates import Severity, Waiver

DEFAULT_EXAMPLES = 200
"""How many examples are tried unless the author says otherwise or a rate needs more."""

MOST_EXAMPLES = 10_000
"""How many are tried at most without the author asking for them."""

Z = 1.6448536269514722
"""The normal quantile of 95%: a share is judged by one-sided bounds, each right in 95 of 100."""


class Kind(Word):
    """What is demanded; the value is the function an author calls."""

    INVARIANT = "invariant"
    DIRECTIONAL = "directional"
    MINIMUM_FUNCTIONALITY = "minimum_functionality"
    METAMORPHIC = "metamorphic"


@dataclass(frozen=True, eq=False)
class Behaviour:
    """A demand on single predictions; ``repr`` is what was typed, ``str`` its short form.

    ``subject`` is the transform, the feature, the cases or the relation. What was typed
    as ``severity=`` is in ``strength``: a range, or what the gate does to the run.
    """

    kind: Kind
    subject: Any
    direction: object = None
    by: Any = None
    of: Any = None
    strength: Any = None
    tolerance: Any = None
    max_violation: Any = None
    examples: Any = None
    output: Any = None
    on_violation: Severity | str = Severity.FAIL
    waiver: Waiver | None = None

    def waive(self, *, until: str, reason: str) -> Behaviour:
        """Expect this to fail until the end of a day, as ``Gate.waive`` does."""
        return replace(self, waiver=Waiver(until, reason))

    @property
    def demand(self) -> str:
        """The demand as it was typed, without its waiver."""
        return repr(replace(self, waiver=None))

    @property
    def user_code(self) -> tuple[object, ...]:
        """The user's functions or cases that determine what is measured."""
        is_named = isinstance(self.subject, str) or is_integer(self.subject)
        return () if is_named else (self.subject,)

    @property
    def severity(self) -> Severity:
        """What a violation does to the run; not how strongly a sample is transformed."""
        return _severity(self._on_violation) or Severity.FAIL

    @property
    def span(self) -> tuple[float, float]:
        """The range severities are drawn from: whole numbers when both ends are."""
        if self.kind is Kind.DIRECTIONAL:
            return (0, self.by)
        if self.strength is None or isinstance(self.strength, str | Severity):
            return (0.0, 1.0)
        low, high = self.strength
        return (low, high)

    @property
    def sample_size(self) -> int:
        """How many examples are tried: by default twice the fewest that can prove the rate."""
        if self.examples is not None:
            return int(self.examples)
        if self.max_violation is None:
            return DEFAULT_EXAMPLES
        limit = float(self.max_violation)
        return min(MOST_EXAMPLES, max(DEFAULT_EXAMPLES, 2 * math.ceil(Z * Z * (1 - limit) / limit)))

    @property
    def name(self) -> str:
        """What a counter-example calls it: the transform's or relation's name, the feature."""
        if self.kind is Kind.DIRECTIONAL and is_integer(self.subject):
            return f"column {self.subject}"
        if isinstance(self.subject, str):
            return self.subject
        if isinstance(self.subject, list | tuple):
            return f"{len(self.subject)} case{'' if len(self.subject) == 1 else 's'}"
        return typed(self.subject)

    @property
    def key(self) -> str:
        """What its counter-examples are kept under, also when bounds and numbers change."""
        if self.kind is Kind.MINIMUM_FUNCTIONALITY and not callable(self.subject):
            named = "cases"
        else:
            named = _identity(self.subject)
        rest = [typed(part) for part in (self.direction, self.of, self.output) if part is not None]
        return f"{self.kind.value}({', '.join([named, *rest])})"

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with this declaration, as ("", text), as a gate does."""
        waived = self.waiver.problems() if self.waiver else ()
        for text in (*self._subject_problems(), *self._number_problems(), *waived):
            yield "", f"{self!r}: {text}"

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} has no truth value: it is judged after training")

    def __str__(self) -> str:
        direction = f", {self.direction}" if self.kind is Kind.DIRECTIONAL else ""
        return f"{self.kind.value}({self.name}{direction})"

    def __repr__(self) -> str:
        is_list = isinstance(self.subject, list | tuple)
        arguments = [f"[{self.name}]" if is_list else typed(self.subject)]
        if self.kind is Kind.DIRECTIONAL:
            arguments.append(typed(self.direction))
        named = {
            "by": self.by,
            "of": self.of,
            "severity": self.strength,
            "tolerance": self.tolerance,
            "max_violation": self.max_violation,
            "examples": self.examples,
            "output": self.output,
            "on_violation": None if self.on_violation in (Severity.FAIL, "fail") else self._action,
        }
        arguments += [f"{name}={typed(v)}" for name, v in named.items() if v is not None]
        return f"mt.{self.kind.value}({', '.join(arguments)}){self.waiver or ''}"

    @property
    def _action(self) -> object:
        is_enum = isinstance(self.on_violation, Severity)
        return self.on_violation.value if is_enum else self.on_violation  # type: ignore[union-attr]

    @property
    def _on_violation(self) -> Severity | str:
        by_severity = isinstance(self.strength, str | Severity)
        return self.strength if by_severity else self.on_violation

    def _subject_problems(self) -> Iterator[str]:
        subject = self.subject
        if self.kind is Kind.INVARIANT and not callable(subject):
            yield f"{typed(subject)} is no transform; write a function (x, severity) -> x"
        if self.kind is Kind.METAMORPHIC and not callable(subject):
            yield f"{typed(subject)} is no relation; write a function (predict, x) -> bool"
        if self.kind is Kind.MINIMUM_FUNCTIONALITY and not callable(subject):
            if not isinstance(subject, list | tuple) or not subject:
                yield (
                    "the cases are missing; write a list of (x, expected), or a function "
                    "returning arrays (x, y)"
                )
            elif not all(isinstance(case, tuple | list) and len(case) == 2 for case in subject):
                yield "a case is a pair (x, expected)"
        if self.kind is Kind.DIRECTIONAL:
            if not (is_integer(subject) or isinstance(subject, str) or callable(subject)):
                yield (
                    f"{typed(subject)} is no feature; write a column's number, an input's name or "
                    "a function (x, amount) -> x"
                )
            if self.direction not in ("up", "down"):
                yield f'the direction is {typed(self.direction)}; write "up" or "down"'
            if not is_positive_number(self.by):
                yield f"by={typed(self.by)}: write the largest amount to add, a number above 0"

    def _number_problems(self) -> Iterator[str]:
        strength, action = self.strength, self._on_violation
        if _severity(action) is None:
            argument = "severity" if isinstance(strength, str) else "on_violation"
            hint = ", or a range (low, high)" if argument == "severity" else ""
            yield f'{argument} is {typed(action)}; write "fail" or "warn"{hint}'
        elif isinstance(strength, str | Severity) and self.on_violation not in (
            Severity.FAIL,
            "fail",
        ):
            yield "severity and on_violation both say what a violation does; write one of them"
        if strength is not None and not isinstance(strength, str | Severity):
            is_range = isinstance(strength, tuple | list) and len(strength) == 2
            if not is_range or not all(map(is_finite_number, strength)):
                yield f"severity={typed(strength)}: write a range of numbers (low, high)"
            elif strength[0] > strength[1]:
                yield f"severity={typed(strength)}: the range is empty; write the lower end first"
        if self.tolerance is not None and not (
            is_finite_number(self.tolerance) and self.tolerance >= 0
        ):
            yield f"tolerance={typed(self.tolerance)}: write a number, 0 or more"
        if self.max_violation is not None and not (
            is_positive_number(self.max_violation) and self.max_violation < 1
        ):
            yield (
                f"max_violation={typed(self.max_violation)}: write a share above 0 and below 1, "
                "or leave it out to allow no violation"
            )
        if self.examples is not None and (not is_integer(self.examples) or self.examples < 1):
            yield f"examples={typed(self.examples)}: write 1 or more"
        if self.of is not None and (not is_integer(self.of) or self.of < 0):
            yield f"of={typed(self.of)}: write the number of a class or output column, 0 or more"
        if self.output is not None and not isinstance(self.output, str):
            yield f"output={typed(self.output)}: write the name of one of the model's outputs"


def invariant(
    transform: Callable[..., Any],
    *,
    severity: tuple[float, float] | Severity | str | None = None,
    tolerance: float | None = None,
    max_violation: float | None = None,
    examples: int | None = None,
    output: str | None = None,
    on_violation: Severity | str = Severity.FAIL,
) -> Behaviour:
    """Demand that the prediction of a test sample stays when the sample is transformed.

    The predicted class stays the same; a predicted number stays within ``tolerance``.

    Args:
        transform: ``(x, severity) -> x`` on one sample: an array, or the structure of
            arrays the spec's ``x`` has. Shape and dtype stay. One that needs a single
            argument, such as ``np.fliplr``, is called with ``x`` alone.
        severity: the range to draw from, (0.0, 1.0) by default; whole numbers are drawn
            between two whole numbers. modeltune searches for the severity nearest 0 that
            fails, to a thousandth of the range. "warn" or "fail" is read as ``on_violation``.
        tolerance: how far a predicted number may move; by default 5% of the standard
            deviation of the target in train.
        max_violation: the share of examples that may violate it, judged by a Wilson bound;
            by default none may.
        examples: how many are tried; by default 200, or as many as a rate needs.
        output: which of the outputs is meant, for a model with several.
        on_violation: "fail" or "warn".
    """
    return Behaviour(
        Kind.INVARIANT,
        transform,
        strength=severity,
        tolerance=tolerance,
        max_violation=max_violation,
        examples=examples,
        output=output,
        on_violation=on_violation,
    )


def directional(
    feature: int | str | Callable[[Any, float], Any],
    direction: str,
    *,
    by: float,
    of: int | None = None,
    tolerance: float | None = None,
    max_violation: float | None = None,
    examples: int | None = None,
    output: str | None = None,
    on_violation: Severity | str = Severity.FAIL,
    severity: Severity | str | None = None,
) -> Behaviour:
    """Demand that raising a feature never moves the prediction the other way.

    ``directional(2, "up", by=1.5)``: adding any amount in (0, 1.5] to column 2 of a test
    sample does not lower the prediction; for classes: the probability of class ``of``.

    Args:
        feature: a column of ``x`` (its last axis), the name of an input when ``x`` is a
            dict, or a function ``(x, amount) -> x``.
        direction: "up" or "down": where the prediction may go.
        by: the largest amount; a whole number draws whole amounts.
        of: the class whose probability counts, 1 by default for a yes-or-no output; the
            column of an output with several.
        tolerance: how far the prediction may move the other way; by default 0.001 of a
            probability, or of the standard deviation of the target in train.
        max_violation: the share of examples that may violate it, judged by a Wilson bound.
        examples: how many are tried; by default 200, or as many as a rate needs.
        output: which of the outputs is meant, for a model with several.
        on_violation: "fail" or "warn".
        severity: another name for ``on_violation``, as other gates have it.
    """
    return Behaviour(
        Kind.DIRECTIONAL,
        feature,
        direction,
        by,
        of,
        strength=severity,
        tolerance=tolerance,
        max_violation=max_violation,
        examples=examples,
        output=output,
        on_violation=on_violation,
    )


def minimum_functionality(
    cases: Sequence[tuple[Any, Any]] | Callable[[], tuple[Any, Any]],
    *,
    tolerance: float | None = None,
    max_violation: float | None = None,
    output: str | None = None,
    on_violation: Severity | str = Severity.FAIL,
    severity: Severity | str | None = None,
) -> Behaviour:
    """Demand the expected prediction in every one of some cases.

    Args:
        cases: pairs ``(x, expected)`` of one sample each, or a function returning arrays
            ``(x, y)``. ``expected`` is a class, a number, or a function that is given what
            the model predicts for the sample, as an array, and tells whether it will do.
        tolerance: how far a predicted number may be off; by default 5% of the standard
            deviation of the target in train.
        max_violation: the share of cases that may fail, judged by a Wilson bound; by default
            none may.
        output: which of the outputs is meant, for a model with several.
        on_violation: "fail" or "warn".
        severity: another name for ``on_violation``, as other gates have it.
    """
    return Behaviour(
        Kind.MINIMUM_FUNCTIONALITY,
        cases,
        strength=severity,
        tolerance=tolerance,
        max_violation=max_violation,
        output=output,
        on_violation=on_violation,
    )


def metamorphic(
    relation: Callable[[Callable[[Any], Any], Any], Any],
    *,
    max_violation: float | None = None,
    examples: int | None = None,
    on_violation: Severity | str = Severity.FAIL,
    severity: Severity | str | None = None,
) -> Behaviour:
    """Demand a relation between predictions that the author can name.

    Args:
        relation: ``(predict, x)`` with one test sample. ``predict`` takes one sample, or a
            batch of them, and returns what the model predicts, as arrays. The relation
            holds unless it returns False or raises AssertionError.
        max_violation: the share of examples that may violate it, judged by a Wilson bound.
        examples: how many samples are tried; by default 200, or as many as a rate needs.
        on_violation: "fail" or "warn".
        severity: another name for ``on_violation``, as other gates have it.
    """
    return Behaviour(
        Kind.METAMORPHIC,
        relation,
        strength=severity,
        max_violation=max_violation,
        examples=examples,
        on_violation=on_violation,
    )


def _severity(value: object) -> Severity | None:
    try:
        return Severity(value)
    except ValueError:
        return None


def _identity(subject: object) -> str:
    """Return what tells two functions apart: the name, and for a lambda a digest of its code."""
    if isinstance(subject, functools.partial):
        return typed(subject)
    name = getattr(subject, "__qualname__", None) or typed(subject)
    code = getattr(subject, "__code__", None)
    if code is not None and "<lambda>" in name:
        does = repr((code.co_code, code.co_names, [c for c in code.co_consts if _is_plain(c)]))
        name = f"lambda {hashlib.sha256(does.encode()).hexdigest()[:8]}"
    return str(name)


def _is_plain(constant: object) -> bool:
    return constant is None or isinstance(constant, bool | int | float | str)
