"""The errors that modeltune raises, each with a message for the person at the keyboard."""


class ModeltuneError(Exception):
    """The base of our errors: the message says what is wrong, where, and what to do.

    It is shown without a traceback.
    """


class SpecError(ModeltuneError):
    """A declaration is wrong; the message names the file, the field and the remedy."""


class DataError(ModeltuneError):
    """The data that a spec returned cannot be used; the message names the part."""


class CodeError(ModeltuneError):
    """Code of a spec's author raised an error in another process; the message has its traceback."""


class SearchError(ModeltuneError):
    """A search or its validation could not go on; the message says what went wrong."""


class NoTrialError(SearchError):
    """A search has come to its end without a single completed trial."""


class HistoryError(ModeltuneError):
    """A run could not be recorded or read; the message names the store."""


class NoHistoryError(HistoryError):
    """There is no history to read."""


class InvalidRunError(HistoryError):
    """A recorded run is not as modeltune records runs; the others of its history may be."""


class UnrecordableError(HistoryError):
    """A run holds something that no history can record, however often it is tried."""
