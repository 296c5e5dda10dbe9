"""Verdicts as annotations of GitHub Actions, each at its gate's own line; prints nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modeltune.ground import MEBIBYTE, read_bounded, typed
from modeltune.records import Outcome, Run, Verdict
from modeltune.reports.tables import clean, distinct

MOST = 10
"""How many errors, and how many warnings, GitHub shows of one step."""

LONGEST_MESSAGE = 500
"""The most characters of a message."""

LARGEST_FILE = 16 * MEBIBYTE
"""Bytes of a spec file whose lines are looked for."""

_MIRRORED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.GtE: ast.LtE,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.Lt: ast.Gt,
}


def annotate(runs: Sequence[Run], root: Path) -> Iterator[str]:
    """Yield the workflow commands that annotate a change: ten errors and ten warnings at most.

    Args:
        runs: the runs of one session.
        root: the root of the repository; files inside it are named relative to it.
    """
    commands_by_level: dict[str, list[str]] = {"error": [], "warning": []}
    for run in runs:
        for level, line, title, message in _findings(run):
            place = {"file": _relative(run.file, root), "line": str(line), "title": title}
            commands_by_level[level].append(command(level, _clip(message), place))
    for commands in commands_by_level.values():
        yield from commands[:MOST]
    more = [
        f"{len(commands) - MOST} more {level}{'s' if len(commands) > MOST + 1 else ''}"
        for level, commands in commands_by_level.items()
        if len(commands) > MOST
    ]
    if more:
        text = f"the report has {' and '.join(more)}: GitHub shows only {MOST} of each"
        yield command("notice", text, {"title": "modeltune"})


def command(name: str, message: str, properties: Mapping[str, str]) -> str:
    """Return a workflow command, with everything escaped that would end its texts early."""
    named = ",".join(
        f"{key}={_escape(value).replace(':', '%3A').replace(',', '%2C')}"
        for key, value in properties.items()
    )
    return f"::{name} {named}::{_escape(message)}"


def inert(text: str) -> str:
    """Return text in which a runner of GitHub Actions takes no line for a command.

    A runner obeys ``::name`` at the beginning of a line and ``##[name]`` anywhere. An invisible
    character inside both prevents that.
    """
    return re.sub(r"(?m)^(\s*)::|##\[", _break_command, text)


def is_red(run: Run, verdict: Verdict) -> bool:
    """Tell whether a gate or check makes its run red; a check that could not decide never does."""
    # A run that became the baseline is green although it could not be compared with the last one.
    return not run.passed and verdict.outcome.is_red(run.strict and verdict not in run.checks)


def root_of(folder: Path, workspace: str | None) -> Path:
    """Return the root of the repository: the workspace, else where git's folder is, else this."""
    if workspace and Path(workspace).is_dir():
        return Path(workspace)
    return next(
        (parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder
    )


def gate_lines(run: Run) -> tuple[int, tuple[int, ...]]:
    """Return the line of a run's spec in its file, and that of each of its gates.

    The file is parsed, never imported. A gate is found by its text, else by its place in the
    spec's list; where neither tells, its line is the spec's, and 1 of a file that cannot be read.
    """
    return _lines(run.file, run.spec, tuple(verdict.gate for verdict in run.verdicts))


def _findings(run: Run) -> Iterator[tuple[str, int, str, str]]:
    """Yield (level, line, title, message) for each gate and check to look at, errors first."""
    spec_line, lines = gate_lines(run)
    spec = clean(run.spec)[:LONGEST_MESSAGE]
    if run.error is not None:
        # Its gates were not measured, and each says so with the same reason.
        yield "error", spec_line, f"{spec}: {run.status.value}", run.error
        gates: list[tuple[Verdict, int]] = []
    else:
        gates = list(zip(run.verdicts, lines, strict=True))
    # A check that could not decide is in the report only.
    silent = (Outcome.INCONCLUSIVE, Outcome.WAIVED)
    checks = [check for check in run.checks if check.outcome not in silent]
    if run.error is not None:
        checks = [check for check in checks if not check.outcome.is_red()]
    judged = [*gates, *((check, spec_line) for check in checks)]
    for verdict, line in sorted(judged, key=lambda pair: not is_red(run, pair[0])):
        if is_red(run, verdict):
            level = "error"
        elif verdict.outcome not in (Outcome.PASSED, Outcome.WAIVED):
            level = "warning"
        else:
            continue
        measured, _ = distinct(verdict.measured, verdict.bound)
        message = f"{clean(verdict.gate)}: measured {measured}: {clean(verdict.explanation)}"
        yield level, line, f"{spec}: {verdict.outcome.value}", message


def _escape(text: str) -> str:
    lines = (" ".join(map(clean, line.split(" "))) for line in text.splitlines())
    return "\n".join(lines).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _clip(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 3]}..."


def _break_command(match: re.Match[str]) -> str:
    text = match.group()
    return f"{text[:-1]}\u200b{text[-1]}" if text == "##[" else f"{match[1]}\u200b::"


def _relative(file: str, root: Path) -> str:
    try:
        for path, folder in ((Path(file), root), (Path(file).resolve(), root.resolve())):
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
    except (OSError, ValueError):  # a name that no file can have
        pass
    return file


@dataclass(frozen=True)
class _Declaration:
    """Where a spec file declares a spec: its own line, the elements of its list of gates."""

    line: int
    gates: tuple[ast.expr, ...] | None


def _lines(file: str, spec: str, gates: tuple[str, ...]) -> tuple[int, tuple[int, ...]]:
    module = _parse(file)
    if module is None:
        return 1, (1,) * len(gates)
    _, _, name = spec.rpartition("::")
    attribute = name.partition("[")[0]
    declared = _declaration(module, attribute)
    ours = _names_of_ours(module)
    own = list(declared.gates or ())
    # In the order of the spec, so that of two gates of one text each has its own line.
    spare = [(_as_printed(gate, ours), gate.lineno) for gate in own]
    is_same_list = name == attribute and len(own) == len(gates)
    elsewhere = _everywhere(module, ours) if gates else {}
    lines = []
    for place, text in enumerate(gates):
        own_line = next((pair for pair in spare if pair[0] == text), None)
        if own_line is not None:
            spare.remove(own_line)
            lines.append(own_line[1])
        elif is_same_list:
            lines.append(own[place].lineno)
        else:
            lines.append(elsewhere.get(text, declared.line))
    return declared.line, tuple(lines)


def _parse(file: str) -> ast.Module | None:
    try:
        return ast.parse(read_bounded(Path(file), LARGEST_FILE))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _declaration(module: ast.Module, name: str) -> _Declaration:
    """Find a decorated function or class, or ``name = protocol(model)``."""
    assigned: dict[str, ast.expr] = {}
    declaration = _Declaration(1, None)
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
            # A mark may stand above or below the spec.
            lists = [_gates(decorator, assigned) for decorator in statement.decorator_list]
            first = min([statement.lineno, *(d.lineno for d in statement.decorator_list)])
            gates = next((listed for listed in lists if listed is not None), None)
            declaration = _Declaration(first, gates)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    assigned[target.id] = statement.value
                    if target.id == name:
                        declaration = _Declaration(
                            statement.lineno, _gates(statement.value, assigned)
                        )
    return declaration


def _gates(
    declaration: ast.expr, assigned: Mapping[str, ast.expr], depth: int = 0
) -> tuple[ast.expr, ...] | None:
    """Return the elements of ``gates=[...]`` behind an expression, also behind names."""
    if depth > 10:  # a name may be assigned to itself
        return None
    if isinstance(declaration, ast.Name):
        value = assigned.get(declaration.id)
        return None if value is None else _gates(value, assigned, depth + 1)
    if not isinstance(declaration, ast.Call):
        return None
    for keyword in declaration.keywords:
        if keyword.arg == "gates":
            listed = keyword.value
            if isinstance(listed, ast.Name):
                listed = assigned.get(listed.id, listed)
            return tuple(listed.elts) if isinstance(listed, ast.List | ast.Tuple) else None
    return _gates(declaration.func, assigned, depth + 1)


def _names_of_ours(module: ast.Module) -> dict[str, str]:
    """Return what names stand for modeltune ("") or something of it: {"mt": "", "m": "metric"}."""
    names = {}
    for statement in ast.walk(module):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                if alias.name == "modeltune":
                    names[alias.asname or alias.name] = ""
        elif isinstance(statement, ast.ImportFrom) and statement.module == "modeltune":
            for alias in statement.names:
                names[alias.asname or alias.name] = alias.name
    return names


def _everywhere(module: ast.Module, ours: Mapping[str, str]) -> dict[str, int]:
    """Return the first line of every expression of a file that may be a gate, by its text."""
    lines: dict[str, int] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Compare | ast.Call):
            text = _as_printed(node, ours)
            if text is not None:
                lines[text] = min(lines.get(text, node.lineno), node.lineno)
    return lines


def _as_printed(gate: ast.expr, ours: Mapping[str, str]) -> str | None:
    """Return an expression of a spec file as ``repr`` prints the gate it makes, however it is written."""
    try:
        node = _PrintedForm(ours).visit(ast.parse(ast.unparse(gate), mode="eval").body)
        return ast.unparse(ast.fix_missing_locations(node))
    except (ValueError, SyntaxError, RecursionError):
        return None


_KEYWORDS = (
    "by", "of", "severity", "tolerance", "max_violation", "examples", "output", "on_violation",
)  # fmt: skip
"""The order in which a behaviour's arguments are printed."""


class _PrintedForm(ast.NodeTransformer):
    """Bring an expression into the form that ``repr`` of a gate has."""

    def __init__(self, ours: Mapping[str, str]):
        self._ours = ours

    def visit_Name(self, node: ast.Name) -> ast.AST:
        name = self._ours.get(node.id)
        return _of_ours(name) if name else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        # A name is printed as it is: this one has the quotes of the text.
        return ast.Name(typed(node.value)) if isinstance(node.value, str) else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and self._ours.get(node.value.id) == "":
            return _of_ours(node.attr)
        self.generic_visit(node)
        # The mean is what is meant without saying so.
        return node.value if node.attr == "mean" else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        for keyword in node.keywords:
            if keyword.arg == "name" and not node.args:
                node.args = [keyword.value]
        # A default is left out of what is printed.
        node.keywords = [
            keyword
            for keyword in node.keywords
            if ast.unparse(keyword) not in ('severity="fail"', 'on_violation="fail"')
            and keyword.arg != "name"
        ]
        node.keywords.sort(key=_place)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "by":
            for keyword in node.keywords:
                if keyword.arg == "function" and len(node.args) == 1:
                    node.args = [*node.args, keyword.value]
            node.keywords = [
                keyword
                for keyword in node.keywords
                if keyword.arg != "function" and ast.unparse(keyword) != "min_n=30"
            ]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "per_class":
            sizes = [*node.args, *(keyword.value for keyword in node.keywords)]
            size = (sizes or [ast.Constant(30)])[0]
            node.args, node.keywords = [], [ast.keyword("min_n", size)]
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.args = ast.arguments([], [], None, [], [], None, [])
        node.body = ast.Constant(...)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        mirrored = _MIRRORED.get(type(node.ops[0]))
        if len(node.ops) == 1 and mirrored and not _is_measure(node.left):
            left, right = node.left, node.comparators[0]
            return ast.Compare(right, [mirrored()], [left])
        return node


def _place(keyword: ast.keyword) -> tuple[int, str]:
    name = keyword.arg or ""
    return (_KEYWORDS.index(name) if name in _KEYWORDS else len(_KEYWORDS)), name


def _is_measure(node: ast.expr) -> bool:
    return any(
        isinstance(part, ast.Attribute)
        and part.attr in ("metric", "gap", "gain_over_dummy", "gain_over")
        for part in ast.walk(node)
    )


def _of_ours(name: str) -> ast.expr:
    return ast.Attribute(ast.Name("mt", ast.Load()), name, ast.Load())
