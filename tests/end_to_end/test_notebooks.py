"""A spec in a notebook is known by the notebook's name, and what is made of it shows itself: in a real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modeltune.histories import open_store
from tests.support.example import ROOT
from tests.support.kernels import Kernel, kernel

DATA = """
import keras
import numpy as np
import modeltune as mt

RATE = 0.1

def optimizer():
    return keras.optimizers.SGD(RATE)

def blobs():
    y = np.arange(60) % 2
    x = np.random.default_rng(0).normal(size=(60, 2)) + 3.0 * y[:, None]
    return mt.Data(train=(x.astype("float32"), y))
"""

SPEC = """
@mt.spec(
    data=blobs,
    fit=mt.Fit(epochs=2, batch_size=60),
    validation=mt.Holdout(seeds=1),
    gates=[mt.metric("accuracy") >= mt.previous - 0.9],
)
def net(hp):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer(), loss=loss, metrics=["accuracy"])
    return model

net.id
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """Lend the kernel of a notebook in a project, in which one spec has run once."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").touch()
    (folder / "notebooks").mkdir()
    variables = {"JPY_SESSION_NAME": "digits.ipynb", "PYTHONPATH": str(ROOT)}
    with kernel(folder / "notebooks", **variables, TF_CPP_MIN_LOG_LEVEL="0") as lent:
        lent.run("%cd -q " + str(folder / "notebooks"))
        lent.run(DATA)
        yield lent


@pytest.fixture(scope="module")
def folder(notebook: Kernel) -> Path:
    return Path(notebook.run("import os; os.getcwd()").text.strip("'"))


def test_a_run_in_a_notebook_is_one_line_that_moves_and_nothing_besides(notebook: Kernel) -> None:
    assert notebook.run(SPEC).text == "'notebooks/digits.ipynb::net'"
    output = notebook.run("run = mt.run(net)")
    assert not output.streams
    (versions,) = output.lines.values()
    assert len(versions) > 1
    assert versions[0].startswith("notebooks/digits.ipynb::net: ")
    assert versions[-1].startswith("notebooks/digits.ipynb::net: passed, accuracy ")


def test_a_spec_of_a_notebook_keeps_its_identity_while_other_cells_are_edited(
    notebook: Kernel, folder: Path
) -> None:
    notebook.run("# Another cell.\nother = 2")
    notebook.run(SPEC.replace("- 0.9", "- 0.8") + "# and a comment")
    assert notebook.run(
        "again = mt.run(net, reuse=True); again.cached, again.id == run.id"
    ).text == ("(True, True)")
    assert notebook.run("again.verdicts[0].outcome").text.startswith("<Outcome.")
    # What the build function reaches through another cell counts, whichever cell has changed it.
    notebook.run("RATE = 0.2")
    changed = notebook.run(
        "moved = mt.run(net, reuse=True)\nmoved.cached, str(moved.verdicts[0].outcome)"
    )
    assert changed.text == "(False, 'passed')"
    with open_store(f"sqlite:///{folder.parent}/.modeltune/history.db") as store:
        assert {run.spec for run in store.runs()} == {"notebooks/digits.ipynb::net"}


def test_what_a_run_left_shows_itself_below_a_cell(notebook: Kernel) -> None:
    run = notebook.run("run")
    assert run.text.startswith("<Run ")
    assert "uPlot" in run.html
    # What the history knows about it, too.
    assert "Trend over 2 runs" in notebook.run("moved").html
    assert notebook.run("run.verdicts[0]").html.startswith("<p><code>no_baseline: ")
    listed = notebook.run("mt.history()")
    assert listed.text == "History(store=None)"
    assert notebook.run("run.id").text.strip("'") in listed.html
    compared = notebook.run("mt.compare(run, -1)")
    assert compared.text.startswith("<RunComparison of A, ")
    assert "Content-Security-Policy" in compared.html
    assert "metrics on test" in notebook.run("print(mt.compare(-2, -1))").streams["stdout"]
