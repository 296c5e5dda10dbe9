"""The gallery's data, all of it shipped with scikit-learn."""

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


def wine():
    """178 wines of 13 measurements, standardised, from 3 growers."""
    bunch = datasets.load_wine()
    x = (bunch.data - bunch.data.mean(axis=0)) / bunch.data.std(axis=0)
    return mt.Data(train=(x.astype("float32"), bunch.target))


def diabetes():
    """442 patients of 10 measurements; the target is the disease's progression, in hundreds."""
    bunch = datasets.load_diabetes()
    x = bunch.data / bunch.data.std(axis=0)
    return mt.Data(train=(x.astype("float32"), (bunch.target / 100).astype("float32")))
