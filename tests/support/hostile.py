"""Text that somebody may call a spec, metric, parameter, class or file, to do harm wherever it is shown."""

from __future__ import annotations

from modeltune.records.facts import (
    Area,
    BehaviourFacts,
    CheckFacts,
    MetricFacts,
    Quantity,
    SliceRule,
)
from modeltune.records.probes import RowChange, ValueChange
from modeltune.records.runs import Artifact, Best, Run, RunStatus, Scores, Trial, TrialStatus
from modeltune.records.verdicts import Outcome, SliceResult, SliceResults, Verdict
from modeltune.specs.behaviours import Kind
from modeltune.specs.gates import Operator, Waiver
from tests.support.verdicts import regression, violation

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "image": '<img src=x onerror="alert(1)">',
    "closing": "</td></details></code></pre></script>-->",
    "entity": "&lt;b&gt; &#124; &amp;#124;",
    "pipes": "a|b||c|",
    "backslash pipe": "a\\|b \\\\| c\\",
    "backslash pipe email": "a\\|b@example.com",
    "backticks": "`one` ``two`` ```three",
    "one backtick": "`",
    "fence": "```\n# not a heading\n```",
    "tildes": "~~~ ~~gone~~",
    "mention": "@octocat/team",
    "issue": "#123 GH-123 octo/repo#4",
    "url": "https://example.com/?a=1&b=2 www.example.com",
    "email": "someone@example.com",
    "link": "[click](javascript:alert(1)) ![i](http://example.com/i.png)",
    "reference": "[a]: http://example.com",
    "emphasis": "*bold* _thin_ __init__ :tada: $x^2$",
    "list": "- [ ] one\n1. two\n> three",
    "delimiter row": "| --- | --- |",
    "workflow command": "::error file=x,line=1::owned",
    "indented command": "  ::set-env name=PATH::/tmp",
    "old command": "done ##[error]owned ##[add-mask]a",
    "encoded command": "%0A::error::owned%25",
    "command after a line break": "fine\r\n::stop-commands::x\n::error::owned",
    "colours": "\x1b[31mred\x1b[0m",
    "terminal link": "\x1b]8;;http://example.com\x07text\x1b]8;;\x07",
    "bell and backspace": "\x07\x08\x7f\x9b31m",
    "traversal": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "device": "con",
    "nul": "before\0after",
    "300 characters": "x" * 300,
    "right-to-left override": "\u202egnp.exe\u202c \u2066isolated",
    "right-to-left": "שלום مرحبا",
    "emoji": "🎉 \U0001f469\u200d\U0001f4bb e\u0301",
    "invisible": "a\u200bb\ufeffc\u00ad",
    "line separators": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "lone surrogate": "\ud800",
    "sql": "'; DROP TABLE runs; --",
    "template": "{{ 7 * 7 }} {% raw %} ${HOME} $(id) %s %(a)s {0}",
    "number": "1e3",
    "formula": "=1+1",
    "quotes": "\"double\" 'single'",
    "spaces": "  padded  twice  ",
    "empty": "",
}
"""By what it tries."""


def hostile_run(text: str, status: RunStatus = RunStatus.FAILED) -> Run:
    """Return a run in which everything that can be named is named so."""
    waiver = Waiver(text, text)
    metric = MetricFacts(
        Quantity.METRIC, text, Operator.AT_LEAST, 0.9,
        output=text, slices=SliceRule(text, 3), waiver=waiver,
    )  # fmt: skip
    behaviour = BehaviourFacts(Kind.INVARIANT, text, text, text, waiver=waiver)
    compared = regression(
        test=text, reference=text, reference_value=0.9, delta=-0.4, interval=(-0.5, -0.3)
    )
    part = SliceResult(text, 3, Outcome.FAILED, 0.5, 0.9, text, regression=compared)
    change = RowChange(text, (ValueChange(None, text, text),), 1)
    return Run(
        id=text,
        created=text,
        spec=text,
        file=text,
        status=status,
        objective=f"maximize {text}",
        scores={text: Scores((0.5, 0.6))},
        verdicts=(
            Verdict(text, Outcome.FAILED, 0.5, 0.9, text, metric, SliceResults((part, part))),
            Verdict(text, Outcome.WARNED, 0.5, 0.9, text, behaviour, violation(text, change)),
        ),
        best=Best(1, 0.5, {text: text}),
        trials=(
            Trial(0, TrialStatus.FAILED, {text: text}, None, text, 0, 0, None, None, 0.1, 0, {}, text, text),
            Trial(1, TrialStatus.COMPLETED, {text: text}, 0.5, None, 1, 0, None, 0, 0.1, 0, {text: (0.5,)}, text),
        ),
        search={"kind": text},
        data={text: {"samples": 3}, "train": {"samples": text}},
        task_report={text: text},
        fingerprints={text: text},
        environment={"versions": {text: text}, "devices": [text], "git_revision": text},
        artifact=Artifact(text, text, 1, 0),
        files={text: Artifact(text, text, 1, 0)},
        checks=(Verdict(text, Outcome.WARNED, 0.5, 0.9, text, CheckFacts(Area.DATA, text)),),
        advice=(text,),
        notes=(text,),
        error=text if status in (RunStatus.ERROR, RunStatus.INTERRUPTED) else None,
        baseline=text,
    )  # fmt: skip
