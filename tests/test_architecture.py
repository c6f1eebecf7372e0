"""The floors of the house: a room imports only rooms below it (docs/architecture.rst)."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import photospec

PACKAGE = Path(photospec.__file__).parent

# Rooms beside each other that see each other; docs/architecture.rst says why.
BESIDE = {
    ("spectrograph", "weights"),
    ("published", "training"),
    ("evaluation", "figures"),
    ("evaluation", "training"),
}
# Room -> floor. What is not named here lies on the ground, whose rooms see each other.
FLOORS = {
    "networks": 1,
    "analysis": 1,
    "simulation": 1,
    "archive": 1,
    "spectrograph": 2,
    "weights": 2,
    "training": 3,
    "published": 3,
    "evaluation": 3,
    "figures": 3,
    "rail": 3,
    "search": 3,
    "survey": 3,
    "cli": 4,
    "__main__": 5,
}
# The front door opens rooms by name on first use; it imports none.
MAY_IMPORT_TORCH = {"networks", "spectrograph", "weights", "training", "published"}
# What a registry imports when it is asked for.
ADDRESS = re.compile(r"photospec(\.\w+)+:\w+")
GROUND_ONLY_PACKAGES = {"torch", "ignite", "galsim", "ppxf", "bagpipes", "astroquery"}


def room_of(module):
    """'photospec.analysis.redshift' -> 'analysis'."""
    return module.split(".")[1] if "." in module else "__init__"


def module_files():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(("photospec", *parts)).removesuffix(".__init__")
        yield name, path


def imports_of(name, path):
    """Absolute names of all modules that a file imports, inside functions and by address too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                module = ".".join([*base, *filter(None, [node.module])])
            else:
                module = node.module
            # ``from photospec import x`` may import the module photospec.x.
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and ADDRESS.fullmatch(str(node.value)):
            yield node.value.partition(":")[0]


def floor_of(room):
    return FLOORS.get(room, 0)


MODULES = dict(module_files())


def exists(room):
    return (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()


def test_rooms_import_only_rooms_below():
    wrong = []
    for name, path in MODULES.items():
        room, floor = room_of(name), floor_of(room_of(name))
        for imported in imports_of(name, path):
            if not imported.startswith("photospec."):
                continue
            other = room_of(imported)
            if other in (room, "errors") or not exists(other):
                continue  # a name of the front door, such as __version__
            beside = floor_of(other) == floor and (floor in (0, 4) or (room, other) in BESIDE)
            if room == "__init__" or not (floor_of(other) < floor or beside):
                wrong.append(f"{name} imports {imported}")
    assert not wrong


def test_no_circles():
    """No module imports itself through others, not even inside functions."""
    graph = {name: set() for name in MODULES}
    for name, path in MODULES.items():
        for imported in imports_of(name, path):
            module = imported if imported in MODULES else imported.rpartition(".")[0]
            if module in MODULES and module != name:
                graph[name].add(module)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_torch_stays_behind_its_doors():
    wrong = []
    for name, path in MODULES.items():
        roots = {module.split(".")[0] for module in imports_of(name, path)}
        forbidden = set() if room_of(name) in MAY_IMPORT_TORCH else {"torch", "ignite"}
        if floor_of(room_of(name)) == 0:
            forbidden = GROUND_ONLY_PACKAGES
        wrong += [f"{name} imports {root}" for root in sorted(roots & forbidden)]
    assert not wrong


def calls_of(path):
    """(name, keyword arguments as text) of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}


def test_no_code_from_data_and_no_global_random_state():
    wrong = []
    for name, path in MODULES.items():
        for called, keywords in calls_of(path):
            bad = (
                called in ("eval", "exec", "np.random.seed", "random.seed")
                or called.startswith(("pickle.", "joblib.", "dill."))
                or (called == "torch.load" and keywords.get("weights_only") != "True")
                or (called == "np.load" and keywords.get("allow_pickle", "False") != "False")
                # PyTorch initialises networks from its global generator only.
                or (called == "torch.manual_seed" and "fork_rng" not in path.read_text())
            )
            if bad:
                wrong.append(f"{name} calls {called}")
    assert not wrong


def test_floors_name_rooms_that_exist():
    assert [room for room in FLOORS if not exists(room)] == []


def test_the_page_of_the_architecture_names_what_there_is(repository):
    """Each file that it names exists, and each room has a line in it."""
    page = (repository / "docs" / "architecture.rst").read_text()
    where = page.partition("Where to look")[2].partition("\nWhy\n")[0]
    named = re.findall(r"``([a-z_/]+\.py)``", where)
    assert len(named) >= 8
    assert [path for path in named if not (PACKAGE / path).is_file()] == []
    rooms = {path.name for path in PACKAGE.iterdir() if not path.name.startswith(("_", "."))}
    drawn = {name.rstrip("/") for name in re.findall(r"^      ([a-z_]+(?:\.py|/))", page, re.M)}
    assert drawn - {"__init__.py"} == rooms - {"data", "py.typed"}


def test_checker_sees_imports_inside_functions_and_relative_ones(tmp_path):
    """The test must be able to fail: each way of importing is found."""
    path = tmp_path / "redshift.py"
    path.write_text(
        "def f():\n    from ..networks import unet\n    import torch.nn\n"
        "ADDRESS = 'photospec.training.runs:train'\n"
    )
    found = set(imports_of("photospec.analysis.redshift", path))
    assert found == {"photospec.networks.unet", "torch.nn", "photospec.training.runs"}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import photospec", {"torch", "specutils", "ppxf", "matplotlib", "ignite"}),
        ("import photospec.cli; photospec.cli.build_parser()", {"torch", "numpy", "astropy"}),
        ("import photospec.analysis", {"torch", "bagpipes", "ignite"}),
        ("import photospec.image, photospec.spectrum, photospec.pairs", {"torch", "galsim"}),
        ("import photospec.simulation", {"torch", "bagpipes", "ppxf"}),
    ],
)
def test_import_stays_light(statement, absent, tmp_path):
    code = f"{statement}; import sys; print(*{absent!r}.intersection(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert not result.stdout.split()
