"""Mutation testing of a room: change one operator or number at a time; do the tests notice?

    python benchmarks/mutation.py photospec/image tests/image --sample 80 --seed 1

A mutant swaps a comparison, an arithmetic or a boolean operator, changes a number, negates a
condition, or swaps the first two elements of a tuple. Docstrings, messages of errors, ``__all__``
and annotations are left alone. Each mutant runs in a process of its own, forked from one that has
imported the libraries, so that it costs what its tests cost. Survivors are printed.
"""

import argparse
import ast
import importlib
import importlib.abc
import importlib.util
import os
import random
import sys
import time
from pathlib import Path

COMPARE = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
BINARY = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Pow: ast.Mult,
}  # fmt: skip
LIBRARIES = ("numpy", "scipy.ndimage", "scipy.interpolate", "astropy.units", "astropy.io.fits",
             "astropy.wcs", "astropy.nddata", "astropy.coordinates", "specutils", "pytest",
             "speclite.filters", "photutils.geometry")  # fmt: skip


def mutants(tree):
    """Yield functions that change one place of a tree, with what they do."""
    skip = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise | ast.JoinedStr):
            skip |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, ast.AnnAssign):
            skip |= {id(inner) for inner in ast.walk(node.annotation)}
    for node in ast.walk(tree):
        if id(node) in skip:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
            yield node, "ops", [COMPARE[type(node.ops[0])](), *node.ops[1:]]
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in BINARY:
            yield node, "op", BINARY[type(node.op)]()
        elif isinstance(node, ast.BoolOp):
            yield node, "op", ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
            yield node, "op", ast.UAdd() if isinstance(node.op, ast.Invert) else None
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield node, "value", node.value * 2 + 1
        elif isinstance(node, ast.If | ast.IfExp):
            yield node, "test", ast.UnaryOp(ast.Not(), node.test)
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.ctx, ast.Load):
            yield node, "elts", node.elts[::-1]


def sources(folder):
    """Yield (path, number, line, text of the mutated module) for all mutants of a room."""
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.py"))
    for path in files:
        count = sum(1 for _ in mutants(ast.parse(path.read_text())))
        for number in range(count):
            tree = ast.parse(path.read_text())
            for i, (node, field, new) in enumerate(mutants(tree)):
                if i == number:
                    before, line = ast.unparse(node), node.lineno
                    setattr(node, field, ast.Not() if new is None else new)
                    if new is None:  # "not x" becomes "not not x"
                        node.operand = ast.UnaryOp(ast.Not(), node.operand)
                    after = ast.unparse(ast.fix_missing_locations(node))
                    yield path, line, f"{before}  ->  {after}", ast.unparse(tree)
                    break


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


def survives(path, text, tests, timeout):
    """Run the tests on one mutant in a forked process."""
    child = os.fork()
    if child == 0:
        import pytest

        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 1)
            os.dup2(null.fileno(), 2)
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        sys.meta_path.insert(0, Loader(name, path.resolve(), text))
        code = 1
        try:
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests])
        finally:
            os._exit(int(code))
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("room", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--sample", type=int, default=80, help="mutants tried, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds a mutant may take")
    parser.add_argument("--limit", type=float, default=1e9, help="seconds in all")
    options = parser.parse_args()
    for name in LIBRARIES:
        importlib.import_module(name)
    everything = list(sources(options.room))
    chosen = random.Random(options.seed).sample(  # noqa: S311
        everything, min(options.sample, len(everything))
    )
    start, tried, alive = time.monotonic(), 0, []
    for path, line, change, text in chosen:
        if time.monotonic() - start > options.limit:
            break
        tried += 1
        if survives(path, text, options.tests, options.timeout):
            alive.append((path, line, change))
            print(f"survives: {path}:{line}: {change}", flush=True)
    killed = tried - len(alive)
    print(f"{killed} of {tried} mutants killed ({killed / max(tried, 1):.0%}); "
          f"{len(everything)} in the room")  # fmt: skip


if __name__ == "__main__":
    main()
