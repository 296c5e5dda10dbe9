"""``modeltune power`` says before training what each spec's gates can find, and why nothing can be said."""

from __future__ import annotations

import json

from tests.support.example import Example

SPECS = """
import numpy as np
import modeltune as mt

def build(hp):
    raise AssertionError("nothing is trained")

def patients():
    x = np.random.default_rng(0).normal(size=(1000, 3))
    return mt.Data(train=(x, (x[:, 0] > 0).astype(int)), groups=np.arange(1000) // 5)

def broken():
    raise OSError("no such disk")

HELD = [mt.metric("accuracy") >= mt.baseline - 0.01, mt.metric("auc") >= mt.previous - 0.1]
grouped = mt.spec(data=patients, gates=HELD)(build)
lost = mt.spec(data=broken, gates=HELD)(build)
free = mt.spec(data=broken, gates=[mt.metric("accuracy") >= 0.9])(build)
"""


def test_power_is_told_of_every_spec_without_training(example: Example) -> None:
    project = example.with_spec(SPECS)
    status, told = project.run_modeltune("power", "spec_a.py", "--json")
    assert status == 1
    specs = {
        spec["spec"]: spec for spec in json.loads(told[told.index("[") : told.rindex("]") + 1])
    }
    of_accuracy, of_auc = specs["spec_a.py::grouped"]["gates"]
    assert (of_accuracy["n"], of_accuracy["unit"]) == (40, "groups")
    assert of_accuracy["margin"] == 0.01 < of_accuracy["drop"] < 0.5
    assert of_accuracy["is_blind"]
    assert " groups" in of_accuracy["remedy"]
    assert not of_auc["is_told"]
    assert specs["spec_a.py::free"]["gates"] == []
    assert specs["spec_a.py::free"]["error"] is None
    assert "no such disk" in specs["spec_a.py::lost"]["error"]
    assert project.history() == ()

    status, refused = project.run_modeltune("power", "spec_b.py::mlp")
    assert status != 0
    assert "spec_b.py::mlp: there is no such file" in refused
    status, refused = project.run_modeltune("power", "spec_a.py::gone")
    assert status != 0
    assert "pytest found no spec there" in refused
