"""The store: every run recorded once, in SQLite or PostgreSQL, and read back equal."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool, QueuePool

from modeltune.ground import (
    HistoryError,
    InvalidRunError,
    NoHistoryError,
    Secrets,
    StoreUrl,
    UnrecordableError,
    count_of,
    error_line,
    first_line,
    make_folder,
    named_store,
    open_regular,
    require_regular,
    sqlite_url,
    write_durably,
)
from modeltune.histories.artifacts import leave_word
from modeltune.histories.places import DAMAGED, Place, place_of
from modeltune.histories.rows import (
    AT_A_GLANCE,
    InvalidRowError,
    all_rows,
    batches,
    checked,
    parts,
    read_run,
    read_verdict,
    run_row,
    summaries,
)
from modeltune.histories.schema import (
    VERSION_TABLE,
    Words,
    artifacts,
    document_of,
    runs,
    verdicts,
)
from modeltune.histories.spec_rows import is_file, newest, todays_address
from modeltune.records import (
    Artifact,
    BehaviourFacts,
    BehaviourResult,
    Counterexample,
    Outcome,
    Run,
    RunStatus,
    Summary,
    Verdict,
)
from modeltune.specs import address_by_name, split_address

APPLICATION_ID = 0x6D74756E
"""Bytes 68 to 72 of every SQLite history: "mtun"; see https://sqlite.org/fileformat.html."""

MIGRATIONS = Path(__file__).parent / "migrations"

HEAD = "0006"
"""The revision this modeltune writes, repeated here so that Alembic is imported only to migrate."""


class Store:
    """An open history. One that is opened to record holds no connection between calls.

    So it survives a fork, and occupies no connection of a server over hours of training.
    """

    def __init__(self, place: Place, engine: sa.Engine):
        self._place = place
        self._engine = engine
        self._held: sa.Connection | None = None
        self._invalid: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        """The folder in which files are kept: SQLite's own, else the project's .modeltune."""
        return self._place.folder

    @property
    def identity(self) -> str:
        """The URL without its password, which tells histories apart."""
        return self._place.identity

    @property
    def invalid(self) -> Mapping[str, str]:
        """The runs that were left out of what was read so far, by id: a line for each, with the reason.

        Somebody may have damaged or forged a row; the others are read all the same.
        """
        return dict(self._invalid)

    def record(self, run: Run) -> None:
        """Record the run in one transaction; once this returns it survives a power loss.

        Recording the same run again does nothing, so that a caller may retry.

        Raises:
            UnrecordableError: the run holds something that no history can store.
            HistoryError: the run cannot be recorded now, or another run has its id.
        """
        with self._place.plain_errors():
            if not self._place.path and (run.artifact or run.files):
                leave_word(self.folder, self.identity)
            if self._place.path and not os.path.lexists(self._place.path):
                # Somebody removed it meanwhile: SQLite itself would leave an empty file there.
                _make(self._place.path)
            try:
                self._insert(run)
            except (TypeError, ValueError, OverflowError, DataError, IntegrityError) as error:
                raise self._unrecordable(run, error) from error
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) == _LIMIT_OF_SERVER:
                    raise self._unrecordable(run, error) from error
                if not error.connection_invalidated:
                    raise
                # The server was restarted, or a packet was lost, and the COMMIT may have arrived or
                # not: recording the same run again is right either way.
                self._insert(run)

    def _unrecordable(self, run: Run, error: Exception) -> UnrecordableError:
        cause = first_line(getattr(error, "orig", error))
        return UnrecordableError(f"{self}: run {run.id} has no place in a record: {cause}")

    def _insert(self, run: Run) -> None:
        with _writing(self._engine) as connection:
            if connection.execute(_insert_once(self._place, run_row(run))).first() is None:
                try:
                    is_same = all_rows(read_run(connection, run.id)) == all_rows(run)
                except InvalidRowError:
                    is_same = False
                if not is_same:
                    raise HistoryError(f"{self}: another run is already recorded as {run.id}")
                return
            for table, rows in parts(run):
                if rows:
                    connection.execute(table.insert(), rows)

    def run(self, reference: str) -> Run:
        """Return the run with this id, unique start of an id, or index: -1 is the newest.

        Raises:
            InvalidRunError: its rows are not as modeltune writes them.
            HistoryError: no run has this id or index, or several ids begin so.
        """
        with self._reading() as connection:
            return read_run(connection, self._id(connection, reference))

    def whole(self, ids: Iterable[str]) -> list[Run]:
        """Return the runs with these ids, read in one transaction; all must be recorded.

        Those that are ``invalid`` are left out.
        """
        whole = []
        with self._reading() as connection:
            for id_ in ids:
                try:
                    whole.append(read_run(connection, id_))
                except InvalidRowError as error:
                    self._leave_out(error)
        return whole

    def runs(
        self,
        spec: str | None = None,
        limit: int | None = None,
        until: str | None = None,
        root: Path | None = None,
    ) -> list[Summary]:
        """Return the runs newest first, without their trials, and without those that are ``invalid``.

        Args:
            spec: only runs of this spec.
            limit: at most this number of runs.
            until: only the run of this id and those before it; none when it is not recorded.
            root: the root of the project of ``spec``. With it those of its runs are found, too,
                that an earlier modeltune recorded by the name of their file alone.
        """
        chosen = sa.select(*AT_A_GLANCE)
        if until is not None:
            last = sa.select(runs.c.seq).where(runs.c.id == until).scalar_subquery()
            chosen = chosen.where(runs.c.seq <= last)
        with self._reading() as connection:
            return self._newest_valid(connection, chosen, spec, root, limit)

    def latest(
        self, specs: Iterable[str], limit: int, root: Path | None = None
    ) -> dict[str, list[Summary]]:
        """Return the last ``limit`` runs of each spec, newest first, without their trials.

        Args:
            root: as of ``runs``.
        """
        chosen = sa.select(*AT_A_GLANCE)
        with self._reading() as connection:
            # One query for all specs would read all of their runs.
            rows = {spec: newest(connection, chosen, spec, root, limit) for spec in specs}
            by_seq = {row.seq: row for some in rows.values() for row in some}
            listed = self._valid(connection, list(by_seq.values()))
            valid = {summary.seq: summary for summary in listed}
            return {
                spec: [valid[row.seq] for row in some]
                if all(row.seq in valid for row in some)
                else self._newest_valid(connection, chosen, spec, root, limit)
                for spec, some in rows.items()
            }

    def verdicts(self, ids: Iterable[str]) -> dict[str, list[Verdict]]:
        """Return the verdicts of these runs by run id, in the order of their specs."""
        by_run: dict[str, list[Verdict]] = {run: [] for run in ids}
        with self._reading() as connection:
            for some in batches(list(by_run)):
                chosen = (
                    sa.select(verdicts, runs.c.schema)
                    .join(runs, runs.c.id == verdicts.c.run)
                    .where(verdicts.c.run.in_(some))
                    .order_by(verdicts.c.run, verdicts.c.position)
                )
                for row in connection.execute(chosen):
                    try:
                        by_run[row.run].append(read_verdict(row))
                    except InvalidRowError as error:
                        self._leave_out(error)
        return {run: [] if run in self._invalid else judged for run, judged in by_run.items()}

    def reads_of(self, part: str, fingerprint: str) -> int:
        """Return how many of the recorded runs were judged on data of this fingerprint.

        The last runs are counted, and the first of them says how many were before it. Runs that ended
        early, or were taken from the history, are none.

        Args:
            part: under which name runs have the fingerprint, ``data/test``.
            fingerprint: of that part.
        """
        columns = sa.select(*runs.c["id", "seq", "status", "cached", "fingerprints"])
        latest = columns.order_by(runs.c.seq.desc()).limit(_RECENT)
        judged: list[str] = []
        with self._reading() as connection:
            for row in connection.execute(latest):
                try:
                    cells = checked(runs, row)
                except InvalidRowError as error:
                    self._leave_out(error)
                    continue
                is_judged = cells["status"] in (RunStatus.PASSED, RunStatus.FAILED)
                is_judged &= not cells["cached"]
                if is_judged and cells["fingerprints"].get(part) == fingerprint:
                    judged.append(cells["id"])
            if not judged:
                return 0
            first = sa.select(*runs.c["id", "data"]).where(runs.c.id == judged[-1])
            known = checked(runs, connection.execute(first).one())["data"].get("test_reads", 1)
        return int(known) - 1 + len(judged)

    def baselines(self, ids: Iterable[str]) -> dict[str, str | None]:
        """Return by run id the accepted run that each of these runs was compared with, None of one without."""
        compared: dict[str, str | None] = {}
        with self._reading() as connection:
            for some in batches(list(ids)):
                chosen = sa.select(runs.c.id, runs.c.baseline).where(runs.c.id.in_(some))
                compared |= {row.id: row.baseline for row in connection.execute(chosen)}
        return compared

    def revise(self, run: Run) -> None:
        """Put the verdicts and the status of a recorded run in the place of those that it has.

        For what is decided after it was recorded. Nothing happens where it is not recorded.

        Raises:
            HistoryError: it cannot be written now.
        """
        row = run_row(run)
        with self._place.plain_errors(), _writing(self._engine) as connection:
            is_of_run = runs.c.id == run.id
            values = {"status": row["status"]}
            if not connection.execute(runs.update().where(is_of_run).values(values)).rowcount:
                return
            connection.execute(verdicts.delete().where(verdicts.c.run == run.id))
            for table, rows in parts(run):
                if table is verdicts and rows:
                    connection.execute(table.insert(), rows)

    def known(self, ids: Iterable[str]) -> dict[str, RunStatus | None]:
        """Return the status of those of these runs that are recorded, by id; None of an invalid one."""
        statuses: dict[str, RunStatus | None] = {}
        with self._reading() as connection:
            for some in batches(list(ids)):
                chosen = sa.select(runs.c.id, runs.c.status).where(runs.c.id.in_(some))
                for row in connection.execute(chosen):
                    statuses[row.id] = None
                    try:
                        statuses[row.id] = checked(runs, row)["status"]
                    except InvalidRowError as error:
                        self._leave_out(error)
        return statuses

    def ended(self, ids: Iterable[str]) -> list[str]:
        """Return the ids of those of these runs that are recorded to their end: not to be resumed."""
        known = self.known(ids).items()
        return [id_ for id_, status in known if status in (RunStatus.PASSED, RunStatus.FAILED)]

    def ids(self) -> list[str]:
        """Return the ids of all runs in the order in which they were created."""
        with self._reading() as connection:
            ordered = sa.select(runs.c.id, runs.c.seq).order_by(runs.c.created, runs.c.seq)
            ids = []
            for row in connection.execute(ordered):
                try:
                    ids.append(checked(runs, row)["id"])
                except InvalidRowError as error:
                    self._leave_out(error)
            return list(dict.fromkeys(ids))

    def files(self) -> list[tuple[str, str, Artifact]]:
        """Return every file that a run names, as (run id, kind, file); any schema will do.

        Those of runs that are ``invalid`` are left out.
        """
        kept = sa.select(*artifacts.c["run", "path", "sha256", "bytes", "refit"])
        listed: list[tuple[str, str, Artifact]] = []
        with self._reading() as connection:
            for row in connection.execute(kept):
                try:
                    cells = checked(artifacts, row)
                    listed.append((cells.pop("run"), "weights", Artifact(**cells)))
                except InvalidRowError as error:
                    self._leave_out(error)
            columns = {column["name"] for column in sa.inspect(connection).get_columns("runs")}
            # Before schema 0002 runs kept no other files.
            named = runs.c["id", "seq", "files"] if "files" in columns else runs.c["id", "seq"]
            for row in connection.execute(sa.select(*named)):
                try:
                    cells = checked(runs, row)
                except InvalidRowError as error:
                    self._leave_out(error)
                    continue
                files = cells.get("files", {})
                listed += [(cells["id"], name, file) for name, file in files.items()]
        return [file for file in listed if file[0] not in self._invalid]

    def problems(self) -> Iterator[str]:
        """Yield what SQLite itself finds wrong with its file; nothing for a server."""
        if self._place.path:
            with self._reading() as connection:
                check = connection.exec_driver_sql(f"PRAGMA integrity_check({_LISTED})").scalars()
                yield from (text for text in check.all() if text != "ok")
                for table, row, *_ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
                    yield f"row {row} of {table} belongs to no run"

    def count(self, spec: str | None = None, root: Path | None = None) -> int:
        """Return how many runs are recorded, of all specs or of one.

        Args:
            root: as of ``runs``.
        """
        with self._reading() as connection:
            if spec is None or root is None:
                return _count(connection, spec)
            return len(newest(connection, sa.select(*_PLACE), spec, root))

    def specs(self, root: Path | None = None) -> list[str]:
        """Return the specs that have runs, sorted.

        Args:
            root: the root of the project. With it a spec whose runs an earlier modeltune
                recorded by the name of its file alone is named by its path.
        """
        with self._reading() as connection:
            named = connection.scalars(sa.select(runs.c.spec).distinct())
            listed = {spec for spec in named if isinstance(spec, str)}
            if root is not None:
                # One whose file is in the root itself is called so today, too.
                by_name = [
                    spec
                    for spec in listed
                    if address_by_name(spec) == spec
                    and not is_file(root.joinpath(split_address(spec)[0]))
                ]
                for some in batches(by_name):
                    places = sa.select(runs.c.spec, runs.c.file).where(runs.c.spec.in_(some))
                    rows = [
                        row
                        for row in connection.execute(places.distinct())
                        if isinstance(row.file, str)
                    ]
                    listed -= {row.spec for row in rows}
                    listed |= {todays_address(row.spec, row.file, root) for row in rows}
            return sorted(listed)

    def find_spec(self, text: str, root: Path) -> str | None:
        """Return the spec that has runs and this address, or one that ends so; None: there is none.

        Args:
            text: ``model_specs/spec_digits.py::mlp``, or its end, ``spec_digits.py::mlp``.
            root: as of ``runs``.

        Raises:
            HistoryError: the addresses of several specs end so.
        """
        with self._reading() as connection:
            if newest(connection, sa.select(*_PLACE), text, root, 1):
                return text
        ends = [spec for spec in self.specs(root) if spec.endswith(f"/{text}")]
        if len(ends) > 1:
            raise HistoryError(f'"{text}" names several specs; write one of {", ".join(ends)}')
        return ends[0] if ends else None

    def counterexamples(
        self, spec: str, root: Path | None = None
    ) -> Iterator[tuple[str, Counterexample]]:
        """Yield the counter-examples of a spec with the key of their behaviour, newest first.

        Only the last thousand runs are searched.

        Args:
            root: as of ``runs``.
        """
        recorded = []
        with self._reading() as connection:
            latest = newest(connection, sa.select(*_PLACE), spec, root, _RECENT)
            for some in batches([row.id for row in latest if isinstance(row.id, str)]):
                chosen = (
                    sa.select(verdicts, runs.c.schema)
                    .join(runs, runs.c.id == verdicts.c.run)
                    .where(verdicts.c.run.in_(some), verdicts.c.outcome != Outcome.PASSED.value)
                    .order_by(runs.c.seq.desc(), verdicts.c.position)
                )
                for row in connection.execute(chosen):
                    try:
                        recorded.append(read_verdict(row))
                    except InvalidRowError as error:
                        self._leave_out(error)
        for verdict in recorded:
            facts, details = verdict.facts, verdict.details
            example = details.probe.counterexample if isinstance(details, BehaviourResult) else None
            if isinstance(facts, BehaviourFacts) and example is not None:
                yield facts.key, example

    def close(self) -> None:
        """Close all connections; every recorded run is committed already."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __str__(self) -> str:
        return str(self._place)

    def __repr__(self) -> str:
        return f"<Store {self}>"

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Read in one transaction: everything that is read inside sees the same runs.

        Record nothing inside: SQLite's writer would wait for this reader.
        """
        if self._held is not None:
            yield self._held
            return
        try:
            with self._engine.connect() as connection, connection.begin():
                self._held = connection
                try:
                    yield connection
                finally:
                    self._held = None
        except SQLAlchemyError as error:
            raise self._place.plain_error(error) from error

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._place.plain_errors(), self.reading() as connection:
            try:
                yield connection
            except InvalidRowError as error:
                raise InvalidRunError(self._line(error)) from error
            except (ValueError, KeyError, TypeError) as error:
                raise HistoryError(
                    f"{self} holds a row that is no record of a run ({error}); {DAMAGED}"
                ) from error

    def _newest_valid(
        self,
        connection: sa.Connection,
        chosen: sa.Select[Any],
        spec: str | None,
        root: Path | None,
        limit: int | None,
    ) -> list[Summary]:
        """Return the newest valid runs, at most ``limit``, however many invalid ones lie between."""
        valid: list[Summary] = []
        asked = limit
        while True:
            rows = newest(connection, chosen, spec, root, asked)
            valid += self._valid(connection, rows)
            if limit is None or asked is None or len(rows) < asked or len(valid) >= limit:
                return valid[:limit]
            chosen = chosen.where(runs.c.seq < rows[-1].seq)
            asked = max(limit, _AFTER_INVALID)

    def _valid(self, connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Summary]:
        valid, invalid = summaries(connection, rows)
        for error in invalid:
            self._leave_out(error)
        return valid

    def _leave_out(self, error: InvalidRowError) -> None:
        self._invalid.setdefault(error.run, self._line(error))

    def _line(self, error: InvalidRowError) -> str:
        return f"{self}: run {error.run:.100} is left out: {error}; its row was damaged or forged"

    def _id(self, connection: sa.Connection, reference: str) -> str:
        newest = sa.select(runs.c.id, runs.c.seq, runs.c.spec).order_by(runs.c.seq.desc())
        rows = connection.execute(newest.where(runs.c.id == reference)).all()
        if not rows and re.fullmatch(r"-[0-9]{1,9}", reference):
            back = int(reference[1:])
            row = connection.execute(newest.offset(back - 1).limit(1)).first() if back else None
            if row is None:
                holds = f"{self} holds {count_of(_count(connection), 'run')}"
                raise HistoryError(f"no run {reference}: {holds}, counted from -1, the newest")
            return self._named(row)
        if not rows and reference:
            begins = newest.where(*self._begins(reference)).limit(_LISTED + 1)
            rows = connection.execute(begins).all()
        if not rows:
            last = connection.execute(newest.limit(1)).first()
            holds = f"{self} holds {count_of(_count(connection), 'run')}"
            latest = f", the newest {last.id!s:.100} of {last.spec!s:.200}" if last else ""
            raise HistoryError(
                f'no run "{reference}": {holds}{latest}; `modeltune history` lists them'
            )
        if len({row.id for row in rows}) > 1:
            listed = ", ".join(f"{row.id!s:.100} ({row.spec!s:.200})" for row in rows[:_LISTED])
            more = ", ..." if len(rows) > _LISTED else ""
            raise HistoryError(f'"{reference}" begins more than one run: {listed}{more}; type more')
        return self._named(rows[0])

    def _named(self, row: sa.Row[*tuple[Any, ...]]) -> str:
        id_: str = checked(runs, row)["id"]
        return id_

    def _begins(self, reference: str) -> Iterator[sa.ColumnElement[bool]]:
        # By its characters: LIKE has characters of its own, and ignores case in SQLite.
        start = sa.func.substr(runs.c.id, 1, len(reference))
        yield start == sa.literal(reference, Words)
        # What follows is answered by an index, where text is ordered by its bytes.
        if self._place.path:
            yield runs.c.id.between(reference, f"{reference}\U0010ffff")
        elif re.fullmatch("[0-9a-f]+", reference):
            yield sa.or_(runs.c.id.between(reference, f"{reference}g"), ~_IS_BY_DIGITS)


def open_store(url: str | StoreUrl, *, create: bool = True, keep: bool = False) -> Store:
    """Open the history at the URL; a first one is made there unless ``create`` is False.

    The URL is ``sqlite:///relative/path.db``, ``sqlite:////absolute/path.db`` or
    ``postgresql://user@host/database``. An older schema is upgraded. A store that was not created
    here (``create`` False) or is to ``keep`` its connection has one until it is closed; any other
    has none between calls.

    Raises:
        NoHistoryError: there is none, and ``create`` is False.
        HistoryError: what is there is damaged, is not a history, or was written by a newer
            modeltune; it is left as it was.
    """
    url = named_store(url)  # A text may carry a password, which a traceback would show.
    place = place_of(url)
    with place.plain_errors():
        engine = _engine(place, is_kept=keep or not create)
        if place.path:
            if create and not os.path.lexists(place.path):
                _make(place.path)
            _refuse_foreign(place, place.path)
        if create:
            # Beside a server's history too: what is kept of a run besides its row is kept here.
            make_folder(place.folder)
        with _closed_unless_opened(engine):
            _upgrade(place, engine, create)
    return Store(place, engine)


def open_as_it_is(url: str | StoreUrl) -> tuple[Store, str]:
    """Open the history only to read it, without upgrading; return it with its schema.

    With an older schema only ``known``, ``count``, ``files`` and ``problems`` work. The store keeps
    its connection until it is closed.

    Raises:
        NoHistoryError: there is none.
        HistoryError: it cannot be read.
    """
    url = named_store(url)  # A text may carry a password, which a traceback would show.
    place = place_of(url)
    opened = place
    if place.path:
        with place.plain_errors():
            _refuse_foreign(place, place.path)
            _refuse_write_ahead(place, place.path)
        query = {"mode": "ro", "uri": "true"}
        opened = replace(place, url=place.url.set(database=place.path.as_uri(), query=query))
    engine = _engine(opened, is_kept=True)
    try:
        with place.plain_errors(), _closed_unless_opened(engine):
            revision = _revision(place, engine)
            if revision is None:
                raise _no_history(place)
    except NoHistoryError:
        raise
    except HistoryError as error:
        raise HistoryError(f"{error}{_interrupted(place)}") from error
    return Store(place, engine), revision


def histories_in(folder: Path) -> list[StoreUrl]:
    """Return the URLs of the histories that are files of this folder."""
    urls = []
    for path in sorted(folder.glob("*")):
        with contextlib.suppress(OSError):
            if not _UNFINISHED.fullmatch(path.name):
                with open_regular(path) as file:
                    header = file.read(100)
                if int.from_bytes(header[68:72], "big") == APPLICATION_ID:
                    urls.append(sqlite_url(path))
    return urls


def unfinished_in(folder: Path) -> list[Path]:
    """Return the unfinished histories in this folder; a process may still be making them."""
    return [path for path in sorted(folder.glob("*.new*")) if _UNFINISHED.fullmatch(path.name)]


_LISTED = 5

_IS_BY_DIGITS = sa.and_(
    sa.literal_column("'10' < '9'", sa.Boolean),
    *(sa.literal_column(f"'{digit * 2}' < '{digit}g'", sa.Boolean) for digit in "abcdef"),
)
"""SQL that is true when a server's collation sorts hexadecimal digits one by one.

In Danish "aa" comes after "z", in Welsh "dd" after "dz"; some collations sort numbers by their value.
"""

_LIMIT_OF_SERVER = "54000"
"""What PostgreSQL says of a name that is too long for an index, of some 2700 bytes."""

_AFTER_INVALID = 200
"""How many rows are read at once after invalid ones: somebody may have damaged many."""

_PLACE = (runs.c.seq, runs.c.id, runs.c.spec, runs.c.file)

_RECENT = 1000

_UNFINISHED = re.compile(r".+\.[0-9a-f]{32}\.new(-journal)?")


def _no_history(place: Place) -> NoHistoryError:
    return NoHistoryError(f"{place}: there is no history yet; the first run of a spec makes it")


@contextmanager
def _closed_unless_opened(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


def _engine(place: Place, *, is_kept: bool = False) -> sa.Engine:
    """Return SQLAlchemy's engine for a history: one connection that ``is_kept``, or one per transaction."""
    try:
        engine = sa.create_engine(
            place.url,
            poolclass=QueuePool if is_kept else NullPool,
            json_serializer=functools.partial(json.dumps, allow_nan=False, separators=(",", ":")),
            json_deserializer=document_of,
            connect_args={}
            if place.path
            else {name: value for name, value in _PATIENCE.items() if name not in place.url.query},
            # Else each connection asks the server for the type of a column that no history has.
            **({} if place.path else {"use_native_hstore": False}),
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise HistoryError(
            f"{place}: PostgreSQL needs its driver; pip install 'modeltune[postgres]'"
        ) from error
    if place.path:
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
    else:
        sa.event.listen(engine, "do_connect", functools.partial(_connect, place.secrets))
        sa.event.listen(engine, "begin", _begin_postgresql)
    return engine


def _connect(
    secrets: Secrets,
    dialect: sa.Dialect,
    _: object,
    arguments: Sequence[object],
    options: Mapping[str, object],
) -> object:
    """Connect to a server with the secrets that SQLAlchemy's engine does not have."""
    driver = dialect.loaded_dbapi
    try:
        return secrets.connect(driver.connect, arguments, options)
    except driver.Error:
        raise
    except (OSError, ValueError, TypeError, OverflowError) as error:
        # Such as that of a host name that no resolver takes.
        raise driver.OperationalError(error_line(error)) from error


_PATIENCE = {"connect_timeout": 10, "tcp_user_timeout": 30_000, "client_encoding": "utf8"}
"""Settings of libpq that the URL may override: seconds to connect, milliseconds for an answer."""


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    # The driver begins no transaction of its own; _begin says which kind.
    connection.isolation_level = None
    # Bytes that are no UTF-8 become lone surrogates: one damaged cell is no reason to read no row.
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="surrogateescape")
    for pragma in (
        "busy_timeout = 30000",
        # Rollback journal, not WAL: SQLite before 3.51.3 can corrupt a WAL database that
        # two processes checkpoint at once (https://sqlite.org/wal.html#walresetbug).
        "journal_mode = DELETE",
        # FULL does not sync the folder once the journal is removed, which is what commits: after a
        # power cut the journal may be back, and undo a run that was acknowledged.
        "synchronous = EXTRA",
        "foreign_keys = ON",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    # A deferred transaction that turns into a writing one fails under contention at once,
    # whatever the timeout; an immediate one waits for its turn.
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _begin_postgresql(connection: sa.Connection) -> None:
    # As with SQLite: a writer waits 30 seconds for others, and a reader sees the same runs in all
    # queries of a transaction, which is not PostgreSQL's default.
    if connection.get_execution_options().get("immediate"):
        connection.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@contextmanager
def _writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.execution_options(immediate=True).begin() as connection:
        yield connection


def _make(path: Path) -> None:
    """Make an empty history at the path, whole or not at all, unless something is there."""
    make_folder(path.parent)
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
    with contextlib.suppress(FileExistsError):
        # Else another process was first.
        write_durably(path, draft, _write_empty, is_new=True)


def _write_empty(path: Path) -> None:
    """Write a history without runs."""
    engine = _engine(Place(sa.URL.create("sqlite", database=str(path)), path, path.parent))
    try:
        with _writing(engine) as connection:
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            _migrate(connection)
    finally:
        engine.dispose()


def _refuse_foreign(place: Place, path: Path) -> None:
    """Raise HistoryError unless the file is a SQLite history, judged by its first 100 bytes.

    SQLite itself would write to an empty or foreign file.
    """
    if not os.path.lexists(path):
        raise _no_history(place)
    if path.is_dir():
        raise HistoryError(f"{place} is a folder; name a file in it: sqlite:///{path}/history.db")
    for suffix in ("-journal", "-wal", "-shm"):
        beside = path.with_name(f"{path.name}{suffix}")
        # SQLite would wait for a pipe in the place of a journal.
        with contextlib.suppress(FileNotFoundError):
            require_regular(beside)
    with open_regular(path) as file:
        header = file.read(100)
    if not header:
        raise HistoryError(f"{place} is empty (0 bytes), which no history ever is; {DAMAGED}")
    if not header.startswith(b"SQLite format 3\0"):
        raise HistoryError(f"{place} is not a SQLite file; name another, or restore a copy")
    application = int.from_bytes(header[68:72], "big")
    if application != APPLICATION_ID:
        raise HistoryError(
            f"{place} is another program's database (application id {application:#x}, "
            f"a history has {APPLICATION_ID:#x}); name another file"
        )


def _refuse_write_ahead(place: Place, path: Path) -> None:
    """Raise HistoryError where reading would write beside the file: to the log's shared memory."""
    with open_regular(path) as file:
        header = file.read(20)
    # 1 is a rollback journal, 2 a write-ahead log.
    if header[18:20] == b"\2\2":
        back = f"modeltune history --store {shlex.quote(place.identity)} switches it back"
        raise HistoryError(
            f"{place} was switched to a write-ahead log by another program; {back}, "
            "then run this command again"
        )


def _interrupted(place: Place) -> str:
    journal = place.path and place.path.with_name(f"{place.path.name}-journal")
    if not journal or not journal.exists():
        return ""
    mend = f"modeltune history --store {shlex.quote(place.identity)}"
    return (
        f"; beside it is {journal.name}, of a process that is writing or was killed while it wrote: "
        f"keep both together, and run {mend}, which takes back what was half written"
    )


def _upgrade(place: Place, engine: sa.Engine, create: bool) -> None:
    """Bring the schema to HEAD in one transaction."""
    revision = _revision(place, engine)
    if revision == HEAD:
        return
    if revision is None and not create:
        raise _no_history(place)
    with _writing(engine) as connection:
        _migrate(connection)


def _revision(place: Place, engine: sa.Engine) -> str | None:
    """Return the schema's revision, or None where a PostgreSQL database has no history.

    Raises:
        HistoryError: this modeltune does not know the revision.
    """
    with engine.connect() as connection, connection.begin():
        versions: Sequence[object] = ()
        # Not by SQLAlchemy's inspector, whose query every command would wait for.
        named = "SELECT 1 FROM sqlite_master WHERE name =" if place.path else "SELECT to_regclass"
        if connection.exec_driver_sql(f"{named} ('{VERSION_TABLE}')").scalar():
            versions = connection.scalars(
                sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))
            ).all()
        elif not place.path:
            return None
    revision = str(versions[0]) if len(versions) == 1 else ""
    if not re.fullmatch(r"(?!0000)[0-9]{4}", revision):
        raise HistoryError(f"{place} does not say which schema it has; {DAMAGED}")
    if revision > HEAD:
        raise HistoryError(
            f"{place} was written by a newer modeltune (schema {revision}; this one knows "
            f"up to {HEAD}); upgrade modeltune, or name another --modeltune-store"
        )
    return revision


def _migrate(connection: sa.Connection) -> None:
    """Run the missing migrations inside the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
        if encoding != "UTF8":
            raise HistoryError(
                f"the database's encoding is {encoding}, which cannot hold every name; "
                "make one with: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )
        # As BEGIN IMMEDIATE does for SQLite: one process migrates, the others wait.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(APPLICATION_ID)))
    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, HEAD)


def _insert_once(place: Place, row: dict[str, object]) -> sa.Executable:
    """Insert a run and return its seq, or nothing when its id is there.

    The dialects share the clause, not the class.
    """
    if place.path:
        once = sqlite.insert(runs).on_conflict_do_nothing(index_elements=["id"])
        return once.values(row).returning(runs.c.seq)
    # A tenth of all of SQLAlchemy, of no use to most.
    from sqlalchemy.dialects import postgresql

    there = postgresql.insert(runs).on_conflict_do_nothing(index_elements=["id"])
    return there.values(row).returning(runs.c.seq)


def _count(connection: sa.Connection, spec: str | None = None) -> int:
    number = sa.select(sa.func.count()).select_from(runs)
    if spec is not None:
        number = number.where(runs.c.spec == spec)
    return connection.scalar(number) or 0
