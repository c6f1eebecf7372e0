"""Mutation testing of a room: change one operator or number at a time; do the tests notice?

    python benchmarks/mutation.py photospec/image tests/image --sample 80 --seed 1

Mutants are drawn over the whole room, by a hash of the seed, the function and the change: edits
elsewhere leave the sample as it is. A mutant

- negates the condition of an ``if``, a ``while`` or a filter, or takes a ``not`` or ``~`` away;
- swaps an operator: ``and``/``or``, ``+``/``-``, ``*``/``/``, ``**``/``*``, ``&``/``|``,
  ``==``/``!=``, ``is``/``is not``, ``in``/``not in``, ``min``/``max``, ``any``/``all``;
- turns an order round (``<`` to ``>=``), and moves the boundary (``<`` to ``<=``) where a count is
  compared: between continuous values equality does not happen;
- changes a number, a sign, True or False, or the order of two values.

Left alone, as they say or order and do not compute: docstrings, annotations, ``raise`` and
``assert`` statements, warnings, f-strings, ``__all__``, ``__repr__``, ``copy=``, type-checking
blocks, the order of exceptions that are caught and of values that are looked through by ``in``.

The tests run once on the sound code, and it is noted which lines each runs and how long it takes.
A mutant is judged by those that run its line, the fastest first, up to ``--budget`` seconds of
their time; what is left out cannot kill it, so that the score errs to the low side. A constant of a
module or class is judged by the tests that run a line where its name stands. Each mutant runs in a
process forked from one that has imported the libraries, and costs what its tests cost. One that
takes four times its tests' time and 20 s more counts as killed: it hangs. Survivors are printed;
``--results`` names a folder that keeps what was found, for a second run to go on from, and
``--again`` tries only the survivors found there.
"""

import argparse
import ast
import functools
import gc
import hashlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

NEGATED = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
BOUNDARY = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
BINARY = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Pow: ast.Mult,
}  # fmt: skip
CALLS = {
    "min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum",
    "maximum": "minimum", "floor": "ceil", "ceil": "floor", "argmin": "argmax", "argmax": "argmin",
}  # fmt: skip
COUNTS = ("len", "size", "ndim", "shape", "sum", "count_nonzero")


def arid(node):
    """Whether nothing inside a node is worth a mutant."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
        return True
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return name in ("warn", "debug", "info") or name.endswith(("Error", "Warning"))
    if isinstance(node, ast.Assign):
        return getattr(node.targets[0], "id", "") == "__all__"
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    if isinstance(node, ast.keyword):
        return node.arg == "copy"
    return isinstance(node, ast.FunctionDef) and node.name in ("__repr__", "__dir__")


@dataclass
class Place:
    """Where a node stands: the function, the statement's lines, and its names if run on import."""

    function: str
    lines: tuple
    names: tuple


def place_of(statement, function, inside):
    """Place of a statement; `inside` says that it runs when a function is called."""
    body = getattr(statement, "body", None) or getattr(statement, "cases", None)
    first = body[0] if body else None
    last = statement.end_lineno
    if first is not None:
        last = max(statement.lineno, getattr(first, "lineno", first.pattern.lineno
                   if hasattr(first, "pattern") else last) - 1)  # fmt: skip
    names = ()
    if not inside:
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", statement)]
        names = [getattr(part, "id", None) for target in targets for part in ast.walk(target)]
        names = tuple({*filter(None, names), getattr(statement, "name", None)} - {None})
    return Place(function, (statement.lineno, last), names)


def walk(node, place=None, inside=False):
    """Yield the nodes of a tree that may be changed, each with its place."""
    if arid(node):
        return
    if isinstance(node, ast.stmt):
        place = place_of(node, place.function if place else "", inside)
    if place:
        yield node, place
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "type"):
            continue
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            value = node.left if field == "left" else getattr(node.comparators[0], "elts", value)
        within, here = inside, place
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and field == "body":
            within = inside or isinstance(node, ast.FunctionDef)
            here = Place(f"{place.function}.{node.name}", place.lines, place.names)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from walk(child, here, within)


def counts(node):
    """Whether a comparison is one of counts."""
    for side in (node.left, *node.comparators):
        if isinstance(side, ast.Constant) and type(side.value) is int and side.value != 0:
            return True
        for part in ast.walk(side):
            if getattr(part, "attr", getattr(part, "id", "")) in COUNTS:
                return True
    return False


def texts(node):
    """Whether a sum is one of texts or lists."""
    kinds = ast.JoinedStr | ast.List | ast.Tuple
    return any(
        isinstance(side, kinds) or isinstance(getattr(side, "value", None), str)
        for side in (getattr(node, "left", None), getattr(node, "right", None))
    )


def negation(test):
    return ast.UnaryOp(ast.Not(), test)


def changes(node):
    """Yield ``(field, value)``: what a mutant puts into a node."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            swaps = [NEGATED[type(op)]]
            if type(op) in BOUNDARY and counts(node):
                swaps.append(BOUNDARY[type(op)])
            for swap in swaps:
                yield "ops", [*node.ops[:i], swap(), *node.ops[i + 1 :]]
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        if type(node.op) in BINARY and not texts(node):
            yield "op", BINARY[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        yield "op", ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    elif isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.USub):
            yield "op", ast.UAdd()
        else:  # twice is nothing
            yield "operand", ast.UnaryOp(node.op, node.operand)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield "value", not node.value
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "value", node.value * 2 + 1
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        if not isinstance(node.test, ast.Compare | ast.UnaryOp):  # those are turned round already
            yield "test", negation(node.test)
    elif isinstance(node, ast.comprehension) and node.ifs:
        if not isinstance(node.ifs[0], ast.Compare | ast.UnaryOp):
            yield "ifs", [negation(node.ifs[0]), *node.ifs[1:]]
    elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.ctx, ast.Load):
        yield "elts", node.elts[::-1]
    elif isinstance(node, ast.Name) and node.id in CALLS and isinstance(node.ctx, ast.Load):
        yield "id", CALLS[node.id]
    elif isinstance(node, ast.Attribute) and node.attr in CALLS:
        yield "attr", CALLS[node.attr]


@dataclass
class Mutant:
    """One change of one node."""

    path: Path
    tree: ast.Module
    node: ast.AST
    field: str
    new: object
    place: Place

    def mutated(self, root):
        """Text of the module or of the node with the change."""
        old = getattr(self.node, self.field)
        setattr(self.node, self.field, self.new)
        text = ast.unparse(ast.fix_missing_locations(root))
        setattr(self.node, self.field, old)
        return text

    def __str__(self):
        before, after = (
            text.split("\n")[0] for text in (ast.unparse(self.node), self.mutated(self.node))
        )
        where = getattr(self.node, "lineno", self.place.lines[0])
        function = self.place.function[1:] or "module"
        return f"{self.path}:{where}: {function}: {before}  ->  {after}"


def find_mutants(room):
    """All mutants of a room by their key, which no line number enters."""
    found, seen = {}, defaultdict(int)
    for path in [room] if room.is_file() else sorted(room.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node, place in walk(tree):
            for field, new in changes(node):
                mutant = Mutant(path, tree, node, field, new, place)
                what = (str(path), place.function, ast.unparse(node), mutant.mutated(node))
                if what[2] == what[3]:
                    continue
                seen[what] += 1
                found["|".join([*what, str(seen[what])])] = mutant
    return found


def hashed(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutated text for one module."""

    def __init__(self, name, path, text):
        self.name, self.path, self.text = name, path, text

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        package = self.path.name == "__init__.py"
        spec = importlib.util.spec_from_loader(
            name, self, origin=str(self.path), is_package=package
        )
        if package:
            spec.submodule_search_locations = [str(self.path.parent)]
        return spec

    def exec_module(self, module):
        module.__file__ = str(self.path)
        exec(compile(self.text, str(self.path), "exec"), module.__dict__)  # noqa: S102


def in_child(work, seconds):
    """Do work in a forked process within some seconds of processor time; its exit status."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
            signal.alarm(int(20 * seconds))  # one that waits
            with open(os.devnull, "w") as null:
                os.dup2(null.fileno(), 1)
                os.dup2(null.fileno(), 2)
            code = int(work())
        except Exception:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_tests(files, plugin):
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return pytest.main([*options, *map(str, files)], plugins=[plugin])


class Watch:
    """Pytest plugin: which lines of the room each test and each fixture runs, and for how long.

    Lines of a fixture count for every test that uses it. Caches are emptied before each test, so
    that what a first test leaves there is seen to be run by the others too.
    """

    def __init__(self, room):
        import coverage

        where = room if room.is_file() else room / "*"
        self.coverage = coverage.Coverage(
            data_file=None, config_file=False, include=[str(where.resolve())]
        )
        self.context, self.start = "import", 0.0
        self.fixtures, self.seconds, self.failed = {}, {}, set()

    def switch(self, context):
        before, self.context = self.context, context
        self.coverage.switch_context(context)
        return before

    def pytest_sessionstart(self):
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        for thing in gc.get_objects():
            cached = isinstance(thing, functools._lru_cache_wrapper)
            if cached and str(thing.__module__).startswith("photospec"):
                thing.cache_clear()
        self.switch(item.nodeid)
        self.fixtures[item.nodeid] = list(getattr(item, "fixturenames", ()))
        start = time.process_time()
        result = yield
        self.seconds[item.nodeid] = time.process_time() - start
        self.switch("between")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        before = self.switch("fixture " + fixturedef.argname)
        try:
            return (yield)
        finally:
            self.switch(before)

    def pytest_runtest_logreport(self, report):
        if not report.passed:
            self.failed.add(report.nodeid)

    def report(self):
        """Seconds of the tests that pass; for each file, each line and the tests that run it."""
        self.coverage.stop()
        data = self.coverage.get_data()
        seconds = {test: s for test, s in self.seconds.items() if test not in self.failed}
        users = defaultdict(list)
        for test, names in self.fixtures.items():
            for name in names:
                users["fixture " + name].append(test)
        lines = {}
        for file in data.measured_files():
            lines[str(Path(file).relative_to(Path.cwd()))] = here = {}
            for line, contexts in data.contexts_by_lineno(file).items():
                tests = {t for context in contexts for t in users.get(context, [context])}
                here[line] = sorted(tests & set(seconds))
        # Imported in the parent, they cost no mutant anything.
        modules = [m for m in sys.modules if not m.startswith(("photospec", "tests", "conftest"))]
        return {"seconds": seconds, "failed": sorted(self.failed), "lines": lines,
                "modules": modules}  # fmt: skip


def watch(room, files, folder):
    """What each file of tests runs, from `folder` where neither it nor the room has changed."""
    sources = [room] if room.is_file() else sorted(room.rglob("*.py"))
    code = "".join(path.read_text() for path in sources)
    reports = []
    for file in files:
        path = folder / f"{hashed(str(file) + file.read_text() + code)}.json"
        if not path.exists():

            def work(file=file, path=path):
                plugin = Watch(room)
                run_tests([file], plugin)
                path.write_text(json.dumps(plugin.report()))
                return 0

            if in_child(work, 3000) != 0:
                raise RuntimeError(f"the lines that {file} runs could not be found")
        report = json.loads(path.read_text())
        for test in report["failed"]:
            print(f"does not pass on the sound code, judges nothing: {test}")
        reports.append(report)
    return reports


class Choose:
    """Pytest plugin: run these tests in this order, up to the first that fails."""

    def __init__(self, tests):
        self.order = {test: i for i, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session, config, items):
        config.option.maxfail = 1
        kept = [item for item in items if item.nodeid in self.order]
        items[:] = sorted(kept, key=lambda item: self.order[item.nodeid])


class Judge:
    """Knows the tests, their lines and their cost."""

    def __init__(self, room, reports, budget):
        self.budget, self.seconds = budget, {}
        self.lines = defaultdict(lambda: defaultdict(set))
        for report in reports:
            self.seconds |= report["seconds"]
            for file, lines in report["lines"].items():
                for line, tests in lines.items():
                    self.lines[file][int(line)].update(tests)
        self.named = defaultdict(set)  # name -> (file, line) where it stands
        for path in [room] if room.is_file() else sorted(room.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                name = getattr(node, "id", getattr(node, "attr", getattr(node, "arg", None)))
                if name and hasattr(node, "lineno"):
                    self.named[name].add((str(path), node.lineno))

    def tests(self, mutant):
        """Tests that run a mutant's line, the fastest first, within the budget."""
        here, (first, last) = self.lines[str(mutant.path)], mutant.place.lines
        tests = set().union(*(here[line] for line in range(first, last + 1)))
        for name in mutant.place.names:
            tests |= set().union(*(self.lines[file][line] for file, line in self.named[name]))
        if mutant.place.names and not tests:
            tests = set().union(*here.values())
        chosen, total = [], 0.0
        for test in sorted(tests, key=lambda test: (self.seconds[test], test)):
            total += self.seconds[test]
            if chosen and total > self.budget:
                break
            chosen.append(test)
        return chosen

    def survives(self, mutant):
        tests = self.tests(mutant)
        if not tests:
            return True, 0
        name = ".".join(mutant.path.with_suffix("").parts).removesuffix(".__init__")
        text = mutant.mutated(mutant.tree)

        def work():
            sys.meta_path.insert(0, Loader(name, mutant.path.resolve(), text))
            return run_tests(sorted({test.split("::")[0] for test in tests}), Choose(tests))

        limit = 4 * sum(self.seconds[test] for test in tests) + 20
        status = in_child(work, limit)
        # 1 and 2 are failed tests; a signal is out of time, or a mutant that crashes a library.
        if status > 2:
            raise RuntimeError(f"pytest ends with status {status} on {mutant}")
        return status == 0, len(tests)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("room", type=Path)
    parser.add_argument("tests", nargs="+", type=Path)
    parser.add_argument("--sample", type=int, default=80, help="mutants tried, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=float, default=40.0, help="seconds of tests for a mutant")
    parser.add_argument("--limit", type=float, default=1e9, help="seconds in all")
    parser.add_argument("--results", type=Path, help="folder that keeps what was found")
    parser.add_argument("--again", action="store_true", help="try only the survivors found")
    options = parser.parse_args()
    start = time.monotonic()
    folder = options.results or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for path in options.tests:
        files += [path] if path.is_file() else sorted(path.rglob("test_*.py"))
    reports = watch(options.room, files, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in sorted({module for report in reports for module in report["modules"]}):
            try:
                importlib.import_module(module)
            except Exception:  # noqa: S110, not meant to be imported by name
                pass
    judge = Judge(options.room, reports, options.budget)
    found = find_mutants(options.room)
    chosen = sorted(found, key=lambda key: hashed(f"{options.seed}|{key}"))[: options.sample]
    path = folder / "mutants.jsonl"
    known = {}
    if path.exists():
        known = dict(map(json.loads, path.read_text().splitlines()))
    for key in chosen:
        if time.monotonic() - start > options.limit:
            break
        if key in known and not (options.again and known[key]):
            continue
        known[key], n_tests = judge.survives(found[key])
        with path.open("a") as file:
            file.write(json.dumps([key, known[key]]) + "\n")
        print(
            f"{'survives' if known[key] else 'killed'} ({n_tests} tests): {found[key]}", flush=True
        )
    tried = [key for key in chosen if key in known]
    alive = [key for key in tried if known[key]]
    print("\nSurvivors:", *(str(found[key]) for key in alive), sep="\n")
    killed = len(tried) - len(alive)
    print(f"{killed} of {len(tried)} mutants killed ({killed / max(len(tried), 1):.0%}), "
          f"of {len(chosen)} drawn from {len(found)}")  # fmt: skip


if __name__ == "__main__":
    main()
