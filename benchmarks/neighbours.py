"""Does a plain test suite behave the same once modeltune is installed? python benchmarks/neighbours.py

Two environments get pytest and the plugins of neighbours.txt; the second gets modeltune as well. The
same suite, which has no specs, runs in both under many options. Outcomes and warnings (the log of
pytest-reportlog), junit.xml and what is printed have to be equal, but for times and addresses. After
that specs run in the second environment beside all those plugins, and what is reported of each has to
agree with what pytest says of it in the end.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
NEIGHBOURS = Path(__file__).with_suffix(".txt")
BESIDE = ["pytest==9.2.0", "pandas==3.1.1"]
"""Some plugins import pandas where it is installed, as it is with modeltune: both environments have it."""

MOST_IN_DIFF = 40
"""Lines that are shown of each difference."""

ALIKE = ["--randomly-seed=1", "--benchmark-disable", "--pytest-durations=0"]
"""Options of all sessions: the same order and the same random numbers, and nothing that is measured."""

SUITE = {
    "pytest.ini": """
        [pytest]
        junit_family = xunit1
        asyncio_default_fixture_loop_scope = function
        markers =
            own: of this suite
        """,
    "package/__init__.py": "",
    "package/clock.py": '''
        """A module whose attributes are found when they are asked for."""
        import datetime
        import importlib

        def today():
            """Say the day.

            >>> 1 + 1
            2
            >>> "one".upper()
            'TWO'
            """
            return datetime.datetime.now()

        def __getattr__(name):
            if name == "fractions":
                return importlib.import_module(name)
            raise AttributeError(name)

        def __dir__():
            return ["today", "fractions"]
        ''',
    "conftest.py": """
        import pytest

        @pytest.fixture(scope="session")
        def shared():
            yield [1, 2, 3]

        @pytest.fixture(params=["a", "b"])
        def letter(request):
            return request.param
        """,
    "test_outcomes.py": """
        import logging, sys, unittest, warnings
        import pytest

        def test_passes(shared, letter):
            assert len(shared) == 3

        def test_fails(tmp_path):
            print("printed")
            logging.getLogger("own").warning("logged")
            assert {"a": [1, 2, 3], "b": 1} == {"a": [1, 2, 4], "b": 1}

        @pytest.mark.parametrize("value", [1, 2.5, "text", None, float("nan"), b"x"])
        def test_parametrized(value):
            assert value != 2.5

        @pytest.fixture
        def broken():
            raise OSError("no such thing")

        @pytest.fixture
        def broken_at_the_end():
            yield
            raise OSError("not closed")

        def test_error(broken): ...
        def test_error_at_the_end(broken_at_the_end): ...

        @pytest.mark.skip(reason="not here")
        def test_skipped(): ...

        @pytest.mark.skipif(sys.maxsize > 0, reason="large")
        def test_skipped_if(): ...

        @pytest.mark.xfail(reason="known")
        def test_expected(): assert 0

        @pytest.mark.xfail
        def test_unexpected(): ...

        @pytest.mark.xfail(strict=True, reason="fixed?")
        def test_strict(): ...

        def test_warns():
            warnings.warn("old", DeprecationWarning)
            warnings.warn("own", UserWarning)

        def test_properties(record_property, record_xml_attribute):
            record_property("speed", 1.5)

        def test_subtests(subtests):
            for number in range(3):
                with subtests.test(number=number):
                    assert number != 1

        class TestClass:
            def test_method(self, monkeypatch, capsys):
                print("captured")
                assert capsys.readouterr().out == "captured\\n"
                monkeypatch.setattr(sys, "argv", ["other"])

        class Case(unittest.TestCase):
            def test_case(self): self.assertEqual(1, 1)
            @unittest.expectedFailure
            def test_expected(self): self.assertEqual(1, 2)
            def test_sub(self):
                for number in range(2):
                    with self.subTest(number=number):
                        self.assertEqual(number, 0)
        """,
    "test_time.py": """
        import datetime, sys, time
        import pytest

        def test_freezer(freezer):
            freezer.move_to("2020-02-02")
            assert datetime.date.today() == datetime.date(2020, 2, 2)

        @pytest.mark.freeze_time("2017-05-21")
        def test_marked():
            assert datetime.date.today().year == 2017

        def test_freezegun_in_all_modules():
            import freezegun
            with freezegun.freeze_time("2021-01-01"):
                import package.clock
                assert package.clock.today().year == 2021

        def test_time_machine(time_machine):
            time_machine.move_to(datetime.datetime(2019, 1, 1, tzinfo=datetime.timezone.utc))
            assert time.gmtime().tm_year == 2019

        def test_each_attribute_of_each_module():
            import inspect
            for name, module in list(sys.modules.items()):
                if name.partition(".")[0] in ("modeltune", "package"):
                    inspect.getmembers(module)
            heavy = {"tensorflow", "keras", "keras_tuner", "pandas", "sqlalchemy", "sklearn", "scipy"}
            loaded = sorted(heavy & {*sys.modules})
            assert not loaded
        """,
    "test_async.py": """
        import asyncio
        import pytest

        @pytest.mark.asyncio
        async def test_asyncio():
            await asyncio.sleep(0)

        @pytest.mark.anyio
        async def test_anyio():
            await asyncio.sleep(0)

        @pytest.mark.trio
        async def test_trio():
            import trio
            await trio.sleep(0)

        async def test_unmarked(): ...

        async def test_client(aiohttp_client):
            from aiohttp import web
            client = await aiohttp_client(web.Application())
            assert (await client.get("/")).status == 404
        """,
    "test_mocks.py": """
        import os, subprocess, urllib.request
        import pytest

        def test_mocker(mocker):
            mocker.patch("os.getcwd", return_value="/nowhere")
            assert os.getcwd() == "/nowhere"

        def test_requests(requests_mock):
            import requests
            requests_mock.get("http://own.test", text="found")
            assert requests.get("http://own.test").text == "found"

        def test_httpx(httpx_mock):
            import httpx
            httpx_mock.add_response(json={"a": 1})
            assert httpx.get("http://own.test").json() == {"a": 1}

        def test_respx(respx_mock):
            import httpx
            respx_mock.get("http://own.test").mock(return_value=httpx.Response(204))
            assert httpx.get("http://own.test").status_code == 204

        def test_file_system(fs):
            fs.create_file("/nowhere/a.txt", contents="a")
            assert open("/nowhere/a.txt").read() == "a"

        def test_processes(fp):
            fp.register(["own", "program"], stdout="said")
            assert subprocess.check_output(["own", "program"]) == b"said"

        def test_server(httpserver):
            httpserver.expect_request("/").respond_with_data("served")
            assert urllib.request.urlopen(httpserver.url_for("/")).read() == b"served"

        def test_no_socket(socket_disabled):
            import socket
            socket.socket()

        def test_logs(log):
            import structlog
            structlog.get_logger().info("said", number=1)
            assert log.has("said", number=1)
        """,
    "test_others.py": """
        import random
        import pytest
        from hypothesis import given, strategies

        @given(strategies.integers())
        def test_law(number): assert number + 0 == number

        def test_faker(faker): assert faker.name()
        def test_benchmark(benchmark): benchmark(sum, [1, 2])
        def test_snapshot(snapshot): assert {"a": 1} == snapshot
        def test_data(data_regression): data_regression.check({"a": 1})
        def test_numbers(num_regression): num_regression.check({"a": [1.0, 2.0]})
        def test_random(): assert random.random() > 2
        def test_check(check):
            check.equal(1, 2)
            check.equal(2, 3)
        def test_unordered():
            from pytest_unordered import unordered
            assert [1, 2, 3] == unordered(3, 2, 1)
        def test_inline():
            from inline_snapshot import snapshot
            assert 1 == snapshot(2)

        @pytest.mark.timeout(60)
        def test_in_time(): ...

        @pytest.mark.order(2)
        def test_second(): ...
        @pytest.mark.order(1)
        def test_first(): ...

        @pytest.mark.dependency()
        def test_needed(): assert 0
        @pytest.mark.dependency(depends=["test_needed"])
        def test_dependent(): ...

        @pytest.mark.parametrize("value", [pytest.lazy_fixture("shared")] if hasattr(pytest, "lazy_fixture") else [1])
        def test_lazy(value): ...

        def describe_something():
            def it_holds(): assert True

        def test_remembered(cache, record_testsuite_property):
            record_testsuite_property("suite", "own")
            cache.set("own/value", cache.get("own/value", 0) + 1)
        """,
    "test_again.py": """
        import pytest

        tries = []

        def test_at_the_second_try():
            tries.append(1)
            assert len(tries) > 1

        @pytest.mark.flaky(reruns=2)
        def test_marked():
            tries.append(1)
            assert len(tries) > 3

        @pytest.fixture
        def slow_to_start():
            tries.append("fixture")
            assert tries.count("fixture") > 1

        def test_fixture(slow_to_start): ...
        """,
    "test_broken_file.py": "import nothing_of_this_name\n",
}
"""The plain suite, by the paths of its files: every outcome, and what many plugins give tests."""

ALONE = {
    name: [f"-pno:{other}" for other in ("rerunfailures", "pytest-retry", "flaky") if other != name]
    for name in ("rerunfailures", "pytest-retry", "flaky")
}
"""Three plugins share a mark, and stumble over its arguments: options that leave one of them."""

GOES_ON = "--continue-on-collection-errors"

REPORTS = [
    "--json-report",
    "--html=page.html",
    "--alluredir=allure",
    "--csv=rows.csv",
    "--md=page.md",
    "--ctrf=ctrf.json",
    "--nunit-xml=nunit.xml",
]
"""Options that have plugins write files."""

SESSIONS: Mapping[str, Sequence[str]] = {
    "plain": [GOES_ON],
    "verbose": [GOES_ON, "-vv", "-ra", "--tb=short"],
    "quiet": [GOES_ON, "-q", "--tb=line", "-s"],
    "stopped": ["-x"],
    "collect only": ["--collect-only", "-q"],
    "fixtures and markers": ["--fixtures", "--markers"],
    "doctests": [GOES_ON, "--doctest-modules", "--doctest-plus", "package", "test_time.py"],
    "last failed": [GOES_ON, "--lf"],
    "chosen": ["-k", "passes or law", "-m", "not own", "test_outcomes.py", "test_others.py"],
    "two processes": [GOES_ON, "-n2", "--dist=loadfile"],
    "forked": ["--forked", "test_outcomes.py"],
    "rerun": [GOES_ON, *ALONE["rerunfailures"], "--reruns=1"],
    "retried": [*ALONE["pytest-retry"], "--retries=1", "test_again.py", "test_outcomes.py"],
    "flaky": [*ALONE["flaky"], "--force-flaky", "test_again.py", "test_outcomes.py"],
    "repeated": ["--count=2", "test_outcomes.py"],
    "multiplied": ["--flake-finder", "--flake-runs=2", "test_outcomes.py"],
    "sockets": ["--disable-socket", "test_mocks.py"],
    "warnings are errors": ["-W", "error::UserWarning", "test_outcomes.py"],
    "coverage": ["--cov=package", "--cov-report=term", "test_time.py"],
    "split": ["--splits=2", "--group=1", "test_outcomes.py"],
    "random order": ["--random-order", "--random-order-seed=1", "test_outcomes.py"],
    "drawn": [GOES_ON, "--force-sugar", "--instafail", "test_outcomes.py"],
    "selected by change": ["--testmon", "test_outcomes.py", "test_time.py"],
    "files": [
        GOES_ON,
        *REPORTS,
    ],
    "GitHub Actions": ["test_outcomes.py"],
}  # fmt: skip
"""Options by what they are for."""

STEADY: Sequence[tuple[str, str]] = (
    # The hooks that an error of another plugin passes through.
    (
        r'^(?:INTERNALERROR>)? +File "[^"]*/(?:modeltune|pluggy)/[^"]*", line \d+, in .*\n'
        r"(?:(?:INTERNALERROR>)? {4,}.*\n)*",
        "",
    ),
    # Which plugins are installed.
    (r"^(metadata: ).*", r"\1PLUGINS"),
    (r"modeltune-[\w.]+(, )?", ""),
    (r'(time|timestamp|hostname|start-time|end-time|duration)="[^"]*"', r'\1=""'),
    (r"\b\d+(\.\d+)?(e-?\d+)? ?(s|ms|us|µs|seconds)\b", "TIME"),
    (r"\b\d+:\d\d:\d\d(\.\d+)?", "TIME"),
    (r"\d{4}-\d\d-\d\d[T ]TIME(\+\d\d:\d\d)?", "TIME"),
    (r"0x[0-9a-f]+", "ADDRESS"),
    (r"pytest-of-\w+/pytest-\d+", "TEMPORARY"),
    (r"id=.\d{6,}.?|at \d{6,}", "ADDRESS"),
    (r"(:|port=)\d{5}\b", "PORT"),
    (r'(name="hypothesis-statistics[^"]*" value=)"[^"]*"', r"\1"),
    (r"TIME +", "TIME "),
    # The last column of a table.
    (r",\d+\.\d+(e-?\d+)?$", ",TIME"),
)
"""What differs from one session to the next, as patterns, and what stands for it."""


SPECS = {
    "pytest.ini": SUITE["pytest.ini"],
    "conftest.py": """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_setup(item):
            if item.name.startswith("again"):
                tries = item.__dict__.setdefault("tries", [])
                tries.append(1)
                if len(tries) > 1:
                    bound = item.spec.gates[0].measure >= 0.25
                    item.__dict__["spec"] = item.spec.with_fields(gates=[bound])
        """,
    "spec_a.py": """
        import modeltune as mt
        import pytest

        def judged(bound):
            return mt.spec(
                data=lambda: None,
                search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3),
                validation=mt.Holdout(seeds=2),
                gates=[mt.metric("accuracy") >= bound],
            )

        @judged(0.5)
        def green(hp):
            raise NotImplementedError

        @judged(0.99)
        def red(hp):
            raise NotImplementedError

        @judged(0.99)
        def again(hp):  # red at the first try, green at the second
            raise NotImplementedError

        @pytest.mark.xfail
        @judged(0.99)
        def expected(hp):
            raise NotImplementedError
        """,
    "test_b.py": "def test_b(): ...\n",
}
"""A project whose specs are trained by a script: ``tests.support.scripted_runs``."""

REAL = """
    import keras
    import modeltune as mt
    import numpy as np

    def points():
        y = np.arange(90) % 3
        x = np.random.default_rng(0).normal(size=(90, 4)) + 4.0 * np.eye(4)[y]
        return mt.Data(train=(x.astype("float32"), y))

    @mt.spec(
        data=points,
        search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=2),
        fit=mt.Fit(epochs=4, batch_size=8),
        validation=mt.Holdout(epochs=6, seeds=2),
        gates=[mt.metric("accuracy") >= 0.2, mt.metric("accuracy") >= mt.baseline - 0.5],
    )
    def small(hp):
        units = hp.Choice("units", [4, 8])
        layers = [keras.layers.Dense(units, "relu"), keras.layers.Dense(3, "softmax")]
        model = keras.Sequential([keras.Input((4,)), *layers])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model
    """
"""A spec that is trained, in about a second."""


@dataclass(frozen=True)
class SpecSession:
    """Options, and what becomes of the specs under them.

    Args:
        times: how many items each spec has.
        annotations: lines of GitHub Actions that tell of an error in a spec.
    """

    options: Sequence[str] = ()
    again: str = "failed"
    times: int = 1
    annotations: int = 2
    exit_code: int = 1


ANNOTATIONS_OFF = "-pno:pytest_github_actions_annotate_failures"

SPEC_SESSIONS: Mapping[str, SpecSession] = {
    "plain": SpecSession(),
    "annotated by us": SpecSession([ANNOTATIONS_OFF]),
    "rerun": SpecSession(
        [*ALONE["rerunfailures"], ANNOTATIONS_OFF, "--reruns=1"], "passed", annotations=1
    ),
    "retried": SpecSession(
        [*ALONE["pytest-retry"], ANNOTATIONS_OFF, "--retries=1"], "passed", annotations=1
    ),
    "flaky": SpecSession(
        [*ALONE["flaky"], ANNOTATIONS_OFF, "--force-flaky"], "passed", annotations=1
    ),
    "rerun in workers": SpecSession(
        [*ALONE["rerunfailures"], ANNOTATIONS_OFF, "--reruns=1", "-n1"], "passed", annotations=1
    ),
    "retried in workers": SpecSession(
        [*ALONE["pytest-retry"], ANNOTATIONS_OFF, "--retries=1", "-n1"], "passed", annotations=1
    ),
    "repeated": SpecSession(["--count=2"], times=2, annotations=4),
    "multiplied": SpecSession(["--flake-finder", "--flake-runs=2"], times=2, annotations=4),
    "two processes": SpecSession(["-n2"]),
    "sockets": SpecSession(["--disable-socket"]),
    "in time": SpecSession(["--timeout=600"]),
    "drawn": SpecSession(["--force-sugar", "--instafail"]),
    "rich": SpecSession(["--rich"]),
    "random order": SpecSession(["--random-order"]),
    "ordered": SpecSession(["--indulgent-ordering"]),
    "split": SpecSession(["--splits=1", "--group=1"]),
    "selected by change": SpecSession(["--testmon"]),
    "picked": SpecSession(["--picked"]),
    "asynchronous": SpecSession(["--asyncio-mode=auto"]),
    "coverage": SpecSession(["--cov=."]),
    "doctests": SpecSession(["--doctest-modules", "--doctest-plus", "--xdoctest"]),
    "not loaded as plugins": SpecSession(["-p", "no:cacheprovider", "-p", "no:logging"]),
    "files": SpecSession(
        [
            *REPORTS,
            "--report-log=log.jsonl",
        ]
    ),
}


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and what it has for the tests of this script."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def install(self, *arguments: str) -> None:
        """Install something into it; ``arguments`` are pip's."""
        command = [str(self.python), "-m", "pip", "install", "--quiet", *arguments]
        subprocess.run(command, check=True)

    def installed(self) -> dict[str, str]:
        """Return the version of everything that is installed, by name."""
        command = [str(self.python), "-m", "pip", "list", "--format=json"]
        listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return {package["name"]: package["version"] for package in listed}

    def pytest(
        self, folder: Path, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run pytest in a folder."""
        cleared = {"PYTHONPATH", "PYTEST_ADDOPTS", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CI"}
        kept = {name: value for name, value in os.environ.items() if name not in cleared}
        kept |= {"PYTHONDONTWRITEBYTECODE": "", "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "100"}
        return subprocess.run(
            [str(self.python), "-m", "pytest", *ALIKE, *arguments],
            cwd=folder,
            env=kept | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


def neighbours() -> tuple[list[str], dict[str, str]]:
    """Return the plugins that install together, as pip is given them, and why others are left out."""
    pins, left_out = [], {}
    for line in NEIGHBOURS.read_text().splitlines():
        text, _, reason = line.partition("#")
        if text.strip():
            pins.append(text.strip())
        elif reason.startswith(" not "):
            name, _, why = reason.removeprefix(" not ").partition(": ")
            left_out[name] = why
    return pins, left_out


def prepare(folder: Path) -> tuple[Environment, Environment]:
    """Return an environment without modeltune and one with it; those that are there already are kept."""
    pins, _ = neighbours()
    # Names of one length: lines are cut to the width of a terminal.
    without, having = Environment(folder / "alone"), Environment(folder / "joint")
    for environment in (without, having):
        if not environment.python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(environment.folder)], check=True)
        missing = {pin.partition("==")[0].lower() for pin in [*pins, *BESIDE]}
        missing -= {name.lower() for name in environment.installed()}
        if missing:
            environment.install(*BESIDE, *pins)
    (folder / "versions.txt").write_text(
        "".join(f"{name}=={version}\n" for name, version in without.installed().items()
                if name not in ("pip", "setuptools"))
    )  # fmt: skip
    having.install("--constraint", str(folder / "versions.txt"), str(ROOT))
    having.install("--force-reinstall", "--no-deps", str(ROOT))
    return without, having


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write files into a folder that has nothing else afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"))
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)


def steady(text: str, environment: Environment) -> list[str]:
    """Return the lines of a text without what differs from one session to the next."""
    text = re.sub(rf"[\w./-]*/{environment.folder.name}(?=/(lib|bin)/)", "ENVIRONMENT", text)
    for pattern, instead in STEADY:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return [line.rstrip() for line in text.splitlines()]


def what_happened(
    name: str, arguments: Sequence[str], environment: Environment, folder: Path
) -> dict[str, list[str]]:
    """Run the suite in an environment; return the lines of all that can be compared."""
    github = {"GITHUB_ACTIONS": "true", "CI": "true"} if name == "GitHub Actions" else {}
    wanted = ["--junitxml=junit.xml", "--report-log=log.jsonl"]
    done = environment.pytest(folder, *wanted, *arguments, **github)
    texts = {"exit code": str(done.returncode), "output": done.stdout, "errors": done.stderr}
    for file in ("junit.xml", "log.jsonl", "rows.csv", "page.md"):
        path = folder / file
        texts[file] = path.read_text().replace("><", ">\n<") if path.is_file() else ""
        path.unlink(missing_ok=True)
    # Read before anything stands for its times and addresses: afterwards a line may be no JSON.
    texts["log.jsonl"] = "\n".join(map(_of_log, texts["log.jsonl"].splitlines()))
    told = {what: steady(text, environment) for what, text in texts.items()}
    told["log.jsonl"] = sorted(filter(None, told["log.jsonl"]))
    if "-n2" in arguments:
        # The order in which two processes end is nobody's.
        for what, lines in told.items():
            kept = (line for line in lines if what != "output" or not PROGRESS.match(line))
            told[what] = sorted(re.sub(r"gw\d", "gw", line) for line in kept)
    return told


OF_ONE_SESSION = (
    *("start", "stop", "duration", "_hypothesis_stats", "extra", "extras"),
    *(
        "testrun_uid",
        "worker_id",
        "node",
        "item_index",
        "nodes_files_lines",
        "_csv_rows",
        "_json_report_extra",
    ),
)
"""What the log says of times, of which Hypothesis tells some, of pytest-xdist's processes, and in sets."""

PROGRESS = re.compile(r"^test_\w+\.py\b.*|.*\[ *\d+%\]$")
"""Lines that show outcomes as they come: between two processes, in an order that is nobody's."""


def _of_log(line: str) -> str:
    """Return what a line of pytest-reportlog says of an outcome or a warning, without times."""
    facts = json.loads(line)
    facts = {key: value for key, value in facts.items() if key not in OF_ONE_SESSION}
    return json.dumps(facts, sort_keys=True)


def differences(
    without: Environment, having: Environment, folder: Path, names: Sequence[str]
) -> Iterator[str]:
    """Run the suite in both environments under all options; yield what differs."""
    for environment in (without, having):
        write(SUITE, folder / environment.folder.name)
    for name in names:
        told = {}
        for environment in (without, having):
            # Both under the same path.
            own, suite = folder / environment.folder.name, folder / "suite"
            own.rename(suite)
            told[environment] = what_happened(name, SESSIONS[name], environment, suite)
            suite.rename(own)
        outcomes = Counter(re.findall(r'"outcome": "(\w+)"', "".join(told[without]["log.jsonl"])))
        print(
            f"  {name:<22}{', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}",
            flush=True,
        )
        for what, lines in told[without].items():
            other = told[having][what]
            diff = [*difflib.unified_diff(lines, other, "without", "with", n=0, lineterm="")]
            if diff:
                yield "\n      ".join([f"{name}: {what}:", *diff[2 : MOST_IN_DIFF + 2]])


def misreported(
    name: str, session: SpecSession, environment: Environment, folder: Path
) -> Iterator[str]:
    """Run the specs beside all plugins; yield what does not agree with how pytest ends."""
    write(SPECS, folder)
    done = environment.pytest(
        folder,
        "--junitxml=junit.xml",
        "-p",
        "tests.support.scripted_runs",
        "--modeltune-workers=0",
        *session.options,
        PYTHONPATH=str(ROOT),
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(folder / "summary.md"),
    )
    printed = done.stdout + done.stderr
    if done.returncode != session.exit_code:
        yield f"exit code {done.returncode}, expected {session.exit_code}:\n{printed}"
        return
    for sign in ("INTERNALERROR", "Raised inside modeltune", "modeltune: no "):
        if sign in printed:
            yield f"{sign}:\n{printed}"
    # What becomes of the item, and what its run says.
    expected = {
        "green": ("passed", "passed"),
        "red": ("failed", "failed"),
        "again": (session.again, session.again),
        "expected": ("skipped", "failed"),
        "test_b": ("passed", None),
    }
    cases = Counter(_cases(folder / "junit.xml"))
    if session.again == "passed":
        # Some plugins make a testcase of an attempt that did not count: without a run.
        for case in [
            case for case in cases if case[0] != "test_b" and case[1:] == ("passed", None, 0)
        ]:
            del cases[case]
    wanted = Counter(
        {
            (case, *told, 0 if told[1] is None else 1): session.times
            for case, told in expected.items()
        }
    )
    if cases != wanted:
        yield f"junit.xml: {dict(cases - wanted)}, expected {dict(wanted - cases)}"
    file = folder / ".modeltune/report/report.json"
    report = json.loads(file.read_text()) if file.is_file() else {"runs": []}
    runs = Counter(run["status"] for run in report["runs"])
    statuses = [told[1] for told in expected.values() if told[1]]
    if runs != Counter(statuses * session.times):
        yield f"report.json: {dict(runs)}, expected {statuses} {session.times} times"
    errors = [line for line in printed.splitlines() if "::error" in line]
    if len(errors) != session.annotations:
        yield "\n".join([f"{len(errors)} annotations, expected {session.annotations}", *errors])
    summary = (folder / "summary.md").read_text()
    if summary.count("<h2") + summary.count("## ") < 1:
        yield f"GITHUB_STEP_SUMMARY: {summary[:500]}"


def _cases(junit: Path) -> Iterator[tuple[str, str, str | None, int]]:
    """Yield of each testcase its spec, what became of it, its run's status, and how many runs it tells."""
    for case in ElementTree.parse(junit).iter("testcase"):
        outcomes = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = {"failure": "failed", "error": "failed"}.get(*outcomes, *outcomes) if outcomes else "passed"  # fmt: skip
        facts = Counter(str(fact.get("name")) for fact in case.iter("property"))
        values = {fact.get("name"): fact.get("value") for fact in case.iter("property")}
        name = str(case.get("name")).partition("[")[0]
        yield name, outcome, values.get("modeltune.status"), facts["modeltune.run"]


def trained(environment: Environment, folder: Path) -> Iterator[str]:
    """Train a spec beside all plugins, twice; yield what goes wrong."""
    write({"pytest.ini": SUITE["pytest.ini"], "spec_small.py": REAL}, folder)
    for options in (["--modeltune-accept"], ["-n1"]):
        done = environment.pytest(folder, *options)
        if done.returncode:
            yield f"trained {options}: exit code {done.returncode}:\n{done.stdout}{done.stderr}"


def seconds(environment: Environment, folder: Path, *arguments: str) -> float:
    """Return the CPU seconds of one session, its processes included."""
    before = os.times()
    environment.pytest(folder, *arguments)
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def cost(without: Environment, having: Environment, folder: Path, rounds: int) -> None:
    """Print what modeltune adds to a session that collects one plain test."""
    write({"test_a.py": "def test_a():\n    pass\n"}, folder)
    fastest: dict[Environment, float] = {}
    for _ in range(rounds + 1):  # the first compiles
        for environment in (without, having):
            once = seconds(environment, folder, "--collect-only", "-q")
            fastest[environment] = min(once, fastest.get(environment, once))
    added = fastest[having] - fastest[without]
    print(
        f"a session of one plain test, fastest of {rounds}: {fastest[without]:.3f} CPU seconds without, "
        f"{fastest[having]:.3f} with modeltune: {added * 1000:+.0f} ms"
    )


def main() -> int:
    """Print the plugins and every difference; return 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--environments", type=Path, help="folder for both; default: a temporary one"
    )
    parser.add_argument("--rounds", type=int, default=12, help="of the measurement; default: 12")
    parser.add_argument("--only", help="the sessions whose names have this in them")
    options = parser.parse_args()
    pins, left_out = neighbours()
    print(f"{len(pins)} plugins: {', '.join(pins)}")
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")
    names = [name for name in SESSIONS if (options.only or "") in name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        environments = options.environments or folder / "environments"
        environments.mkdir(parents=True, exist_ok=True)
        without, having = prepare(environments.resolve())
        print("the plain suite, as it ends without modeltune:")
        differing = 0
        for difference in differences(without, having, folder, names):
            print(f"  DIFFERS {difference}", flush=True)
            differing += 1
        print(f"{differing} differences in {len(names)} sessions")
        wrong = list(trained(having, folder / "trained")) if not options.only else []
        for name in [name for name in SPEC_SESSIONS if (options.only or "") in name]:
            found = list(misreported(name, SPEC_SESSIONS[name], having, folder / "specs"))
            print(f"  specs, {name}: {'; '.join(found) or 'as expected'}", flush=True)
            wrong += found
        if options.rounds:
            cost(without, having, folder / "cost", options.rounds)
    return 1 if differing or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
