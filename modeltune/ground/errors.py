"""The errors modeltune raises, each written for the person at the keyboard."""


class ModeltuneError(Exception):
    """Say what was found, where, and what to do; shown without a traceback."""


class SpecError(ModeltuneError):
    """A declaration is wrong: names the file, the field and the remedy."""


class DataError(ModeltuneError):
    """The data a spec returned cannot be used: names the part."""


class CodeError(ModeltuneError):
    """Code of a spec's author raised in another process: its traceback, as text."""


class SearchError(ModeltuneError):
    """A search could not produce a single completed trial."""


class HistoryError(ModeltuneError):
    """A run could not be recorded or read: names the store."""


class NoHistoryError(HistoryError):
    """There is no history where one was to be read."""


class UnrecordableError(HistoryError):
    """A run has something in it that no history can hold, however often it is tried."""
