"""Mutation testing, bounded: which small faults put into a room do its tests not find?

Each mutant is one change of one expression (a comparison, an arithmetic operator, a number, a
truth value, a condition), drawn at random from all that are possible in the given files. The
package is copied, the mutant written, and the room's tests run until the first failure. A mutant
that the tests pass is printed: it is a missing test, or it changes nothing (then say why).

    python benchmarks/mutation.py photospec/spectrum --tests tests/spectrum --n 60 --seed 0
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMPARE = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


def changes(node):
    """Yield functions that change a node in place, each in another way."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
        yield lambda n: n.ops.__setitem__(0, COMPARE[type(n.ops[0])]())
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in ARITHMETIC:
        yield lambda n: setattr(n, "op", ARITHMETIC[type(n.op)]())
    if isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield lambda n: setattr(n, "op", other())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda n: setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert):
        yield lambda n: setattr(n, "op", ast.UAdd())
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield lambda n: setattr(n, "value", not n.value)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield lambda n: setattr(n, "value", n.value + 1)
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    if isinstance(node, ast.Return) and node.value is not None:
        yield lambda n: setattr(n, "value", ast.Constant(None))


def sites(tree):
    """Places where a mutation is possible: (position in the walk, number of the change).

    Message texts of errors are left alone: f-strings and `raise` have no sites.
    """
    hidden = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise | ast.JoinedStr):
            hidden |= {id(child) for child in ast.walk(node)}
    for position, node in enumerate(ast.walk(tree)):
        if id(node) not in hidden:
            for number, _ in enumerate(changes(node)):
                yield position, number


def mutant(tree, position, number):
    """Return source of a tree with one change, and the line where it is."""
    tree = copy.deepcopy(tree)
    node = list(ast.walk(tree))[position]
    line, before = node.lineno, ast.unparse(node)
    list(changes(node))[number](node)
    ast.fix_missing_locations(tree)
    return ast.unparse(tree), line, before.splitlines()[0], ast.unparse(node).splitlines()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="+", type=Path, help="files or folders to mutate")
    parser.add_argument("--tests", nargs="+", required=True, help="tests that should notice")
    parser.add_argument("--n", type=int, default=60, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one test run")
    parser.add_argument("--minutes", type=float, default=20, help="stop after so many")
    args = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    files = [f for path in args.source for f in (sorted(path.rglob("*.py")) or [path])]
    trees = {f: ast.parse(f.read_text()) for f in files if f.name != "__init__.py"}
    places = [(f, *site) for f, tree in trees.items() for site in sites(tree)]
    chosen = random.Random(args.seed).sample(  # noqa: S311
        places, min(args.n, len(places)))
    survived, tried, end = [], 0, time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        for name in ("photospec", "tests", "pyproject.toml"):
            copier = shutil.copytree if (root / name).is_dir() else shutil.copy
            copier(root / name, Path(folder) / name)
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        environment.setdefault("PHOTOSPEC_SHARED", str(root.parent / "shared"))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        for f, position, number in chosen:
            if time.monotonic() > end:
                break
            target = Path(folder) / f.resolve().relative_to(root)
            text, line, before, after = mutant(trees[f], position, number)
            target.write_text(text)
            try:
                run = subprocess.run([*command, *args.tests], cwd=folder, env=environment,
                                     capture_output=True, timeout=args.timeout)  # fmt: skip
                killed = run.returncode != 0
            except subprocess.TimeoutExpired:
                killed = True  # an endless loop is noticed
            target.write_text(f.read_text())
            tried += 1
            if not killed:
                survived.append(f"{f}:{line}: {before}  ->  {after}")
                print("survived", survived[-1], flush=True)
    killed = tried - len(survived)
    print(f"{killed} of {tried} mutants killed ({killed / max(tried, 1):.0%}; "
          f"{len(places)} possible)")  # fmt: skip


if __name__ == "__main__":
    main()
