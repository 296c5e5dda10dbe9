"""Bad input gets one clear error that names the file and the field, and never a traceback of ours."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.example import Example, source

Refused = Callable[..., list[str]]


@pytest.fixture
def refused(project: Example) -> Refused:
    """Run pytest on a spec file; return the error it shows, line by line."""

    def refused(text: str, *arguments: str, code: int) -> list[str]:
        done = project.with_spec(text).run_pytest(*arguments)
        assert done.exit_code == code
        printed = done.output
        assert not done.stderr.lines
        assert not re.search(r"INTERNALERROR|_pytest/|modeltune/\w+\.py|trial 1", printed)
        lines = done.lines
        start = next(n for n, line in enumerate(lines) if re.match(r"_+ (ERROR )?\w.* _+$", line))
        section = []
        for line in lines[start + 1 :]:
            if re.match(r"[=_-]{3,}", line):
                break
            section.append(line)
        return section

    return refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            'search=mt.RandomSearch("val_accuracy")',
            r'search\.objective: "val_accuracy" has no direction; write mt\.maximize\("val_accuracy"\)',
        ),
        ("search=mt.RandomSearch(None)", r"search\.objective: None is not an objective"),
        (
            'search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=0)',
            r"search\.max_trials: 0",
        ),
        ("search='random'", r'search: "random": write mt\.RandomSearch'),
        ("epoch=3", r"epoch: unknown field.* A spec has data, search, fit, validation, gates"),
        ("gate=[]", r'gate: unknown field; did you mean "gates"'),
        ("data=None", r"data: None: write a function that returns mt\.Data"),
        ("fit=mt.Fit(epochs=0)", r"fit\.epochs: 0"),
        ("validation=mt.Holdout(seeds=0)", r"validation\.seeds: 0"),
        ("gates=[mt.metric('accuracy')]", r'gates\[0\]: mt\.metric\("accuracy"\) has no bound'),
        ("gates=[mt.metric('accuracy') >= 'high']", r'gates\[0\]: .*the bound is "high"'),
    ],
)
def test_a_broken_declaration_is_refused_at_collection(
    refused: Refused, fields: str, message: str
) -> None:
    lines = refused(source(fields), code=2)
    assert re.match(r".*spec_a\.py:\d+: mt\.spec\(\.\.\.\) has 1 problem:$", lines[0])
    assert re.match(rf"  {message}", lines[1])
    assert len(lines) == 2


def test_all_broken_fields_of_a_spec_are_reported_together(refused: Refused) -> None:
    lines = refused(
        source(
            'data=3, search=mt.GridSearch("auc", max_trials=0), fit=mt.Fit(epochs=0, batch_size=0), '
            "validation=mt.KFold(k=1), gates=[mt.metric('a') >= None, 5], epochs=1"
        ),
        code=2,
    )
    assert lines[0].endswith("has 9 problems:")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "epochs", "data", "search.objective", "search.max_trials", "fit.epochs", "fit.batch_size",
        "validation.k", "gates[0]", "gates[1]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_the_kind", "E   ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("from keras import nothing_of_the_kind", "E   ImportError: cannot import name 'nothing_of"),
        ("import absent_helper", "E   ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("import broken_helper", "E   ZeroDivisionError: division by zero"),
        ("1 / 0", "E   ZeroDivisionError: division by zero"),
        ("def dense(:", "SyntaxError: invalid syntax"),
        ("import modeltune as mt\nmt.RandomSearch()", "E   TypeError: .*'objective'"),
        ("import modeltune as mt\nmt.metrics('a')", "E   AttributeError: .*no attribute 'metrics'"),
        ("import modeltune as mt\n0.8 <= mt.metric('a') <= 0.9", "E   TypeError: .*two gates"),
    ],
)  # fmt: skip
def test_a_spec_file_that_does_not_import_shows_the_author_s_line(
    project: Example, refused: Refused, text: str, message: str
) -> None:
    helpers = {"broken_helper.py": "1 / 0", "absent_helper.py": "import nothing_of_the_kind"}
    project.with_files(helpers).write()
    lines = refused(text, code=2)
    assert any(re.match(message, line) for line in lines)
    assert any("spec_a.py" in line for line in lines)


def test_a_relative_import_without_a_package_says_what_is_missing(refused: Refused) -> None:
    lines = refused("from .datasets import digits", code=2)
    assert re.match(
        "Hint: relative imports need a package; add an empty /.*/__init__.py", lines[-1]
    )


@pytest.mark.parametrize("arguments", [[], ["--collect-only"], ["-q"], ["-p", "no:terminal"]])
def test_an_unknown_key_in_pyproject_is_refused(project: Example, arguments: list[str]) -> None:
    settings = "[tool.modeltune]\nworker = 2\nstrict = 1\n[tool.pytest]\n"
    done = project.with_files({"pyproject.toml": settings, "spec_a.py": source()}).run_pytest(
        *arguments
    )
    assert done.exit_code == 2
    if arguments != ["-p", "no:terminal"]:
        done.stdout.fnmatch_lines(
            [
                "*pyproject.toml: [[]tool.modeltune] has 2 problems:",
                '  worker: unknown key; did you mean "workers"?*',
                "  strict: an integer; write true or false",
            ]
        )


COMPILED = "return compiled(hp)"


@pytest.mark.parametrize(
    ("fields", "body", "message"),
    [
        (
            "gates=[mt.metric('loss') <= 9, mt.metric('auc') >= 0.8]", COMPILED,
            r'.*gates\[1\].*: no metric "auc" in spec_a\.py::dense; measured: .*accuracy',
        ),
        (
            "search=mt.GridSearch(mt.maximize('val_auc'))", COMPILED,
            r".*search\.objective: .*val_auc.* names no logged metric; logged: .*val_accuracy",
        ),
        ("data=lambda: None", COMPILED, ".*data.*None"),
        ("data=lambda: ([[0.0, 0.0]], [0])", COMPILED, ".*data.*tuple"),
        ("data=lambda: mt.Data(train='digits.csv')", COMPILED, ".*train is a str"),
        ("data=lambda: mt.Data(train=np.zeros((9, 2)))", COMPILED, ".*train.*"),
        ("data=lambda: blobs(slice(0))", COMPILED, ".*train.*"),
        (
            "data=lambda: mt.Data(blobs().train, test=(np.zeros((0, 2)), np.zeros(0, int)))", COMPILED,
            ".*test.*",
        ),
        (
            "data=lambda: mt.Data(train=(np.full((60, 2), np.nan), np.arange(60) % 2))", COMPILED,
            ".*train.*(NaN|finite|nan)",
        ),
        (
            "data=lambda: mt.Data(train=(np.zeros((60, 2)), np.arange(60) % 5))", COMPILED,
            r".*data: .*labels.* 4.*",
        ),
        ("", "return None", ".*(None)"),
        ("", "return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])", ".*(not compiled|compile)"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_before_training(
    refused: Refused, fields: str, body: str, message: str
) -> None:
    lines = refused(source(fields, body), code=1)
    assert re.match(r".*spec_a\.py", lines[0])
    assert any(re.match(message, line) for line in lines)


def test_all_that_the_dry_run_finds_is_reported_together(refused: Refused) -> None:
    fields = (
        "search=mt.GridSearch(mt.maximize('val_auc')), "
        "gates=[mt.metric('auc') >= 0.8, mt.metric('recal') >= 0.8]"
    )
    error = "\n".join(refused(source(fields), code=1))
    assert all(name in error for name in ("search.objective", "gates[0]", "gates[1]"))


@pytest.mark.parametrize(
    "url", ["sqlite:////proc/history.db", "nonsense", "oracle://scott:tiger@db/runs"]
)
def test_a_store_that_cannot_be_opened_is_never_green(refused: Refused, url: str) -> None:
    lines = refused(source(), f"--modeltune-store={url}", code=1)
    assert lines
    assert "tiger" not in "".join(lines)


def test_the_author_s_own_errors_keep_their_traceback(refused: Refused) -> None:
    text = source("data=lambda: open('absent.csv')")
    lines = refused(text, code=1)
    assert any("absent.csv" in line and line.startswith("E ") for line in lines)
    assert any("spec_a.py:" in line for line in lines)
