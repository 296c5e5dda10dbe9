"""The gallery's data, all of it shipped with scikit-learn."""

import re

import keras
import numpy as np
from sklearn import datasets

import modeltune as mt


def digits():
    """1797 handwritten digits, 8 x 8 pixels in [0, 1], labels 0 to 9."""
    bunch = datasets.load_digits()
    x = (bunch.images / 16).astype("float32")[..., np.newaxis]
    return mt.Data(train=(x, bunch.target))


def large_digits():
    """Six hundred of the digits as colour images of 32 x 32 pixels in [-1, 1]."""
    bunch = datasets.load_digits()
    x = (bunch.images[:600] / 8 - 1).astype("float32")
    x = x.repeat(4, axis=1).repeat(4, axis=2)[..., np.newaxis].repeat(3, axis=3)
    return mt.Data(train=(x, bunch.target[:600]))


def wines():
    """178 wines as a frame: 13 measurements, and which of 3 growers they come from."""
    bunch = datasets.load_wine(as_frame=True)
    growers = bunch.target.map(lambda number: f"grower {number}")
    return bunch.data.assign(grower=growers)


def diabetes():
    """442 patients of 10 measurements; the target is the disease's progression, in hundreds."""
    bunch = datasets.load_diabetes(scaled=False)
    part = bunch.data.astype("float32"), (bunch.target / 100).astype("float32")
    return mt.Data(train=part, prepare=scale_of_columns)


def scale_of_columns(train):
    """A layer that scales columns to mean 0 and variance 1 on train."""
    layer = keras.layers.Normalization()
    layer.adapt(train[0])
    return layer


def sentences():
    """Sentences of scikit-learn's descriptions of its data sets; the label is which one."""
    loads = (
        datasets.load_breast_cancer,
        datasets.load_digits,
        datasets.load_iris,
        datasets.load_wine,
    )
    labels: dict[str, str] = {}
    for load in loads:
        described = re.split(r"[.:]\s", " ".join(load().DESCR.split()))
        for sentence in described:
            if len(sentence.split()) >= 4:
                labels.setdefault(sentence, load.__name__.removeprefix("load_"))
    return mt.texts(list(labels), list(labels.values()), length=30)()


def demand():
    """Nine hundred hours of a demand with a daily rhythm, a slower drift and noise."""
    rng = np.random.default_rng(0)
    hours = np.arange(900)
    rhythm = np.sin(2 * np.pi * hours / 24) + 0.5 * np.sin(2 * np.pi * hours / 12)
    return 10 + 3 * rhythm + np.cumsum(rng.normal(0, 0.05, 900)) + rng.normal(0, 0.3, 900)
