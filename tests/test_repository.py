"""What is declared agrees with what is used: dependencies, pins, commands, citations."""

import ast
import functools
import importlib
import inspect
import os
import re
import stat
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import photospec

PACKAGE = Path(photospec.__file__).parent


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement):
    return normal(re.match(r"[A-Za-z0-9._-]+", requirement).group())


# Either reads the map of Milky Way dust, where a user has installed it and the map.
CHOSEN_BY_USERS = {"dustmaps", "sfdmap2"}
# Packages whose distribution has another name, for where they are not installed.
DISTRIBUTION = {"faiss": "faiss-cpu", "rail": "pz-rail-base", "ceci": "pz-rail-base"}


def test_what_is_imported_is_declared(project):
    extras = project["optional-dependencies"]
    # Those of development hold what only tests, documentation and maintainers import.
    used = set(extras) - {"all", "dev", "docs", "test"}
    groups = [project["dependencies"], *(extras[name] for name in used)]
    declared = {name_of(text) for group in groups for text in group} | {"photospec"}
    declared |= CHOSEN_BY_USERS
    distributions = packages_distributions()
    undeclared = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for root in {name.split(".")[0] for name in names} - sys.stdlib_module_names:
                providers = {
                    normal(name) for name in distributions.get(root, [DISTRIBUTION.get(root, root)])
                }
                if not providers & declared:
                    undeclared.setdefault(root, path.name)
    assert undeclared == {}


def test_constraints_pin_every_dependency_within_its_bounds(project, repository):
    requirements = pytest.importorskip("packaging.requirements")
    lines = (repository / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    pins = {normal(name): version for name, version in pins.items()}
    groups = [project["dependencies"]]
    groups += [texts for name, texts in project["optional-dependencies"].items() if name != "dev"]
    for text in (text for group in groups for text in group):
        requirement = requirements.Requirement(text)
        if requirement.name == "photospec":
            continue
        assert normal(requirement.name) in pins, f"{text} is not pinned"
        pinned = pins[normal(requirement.name)]
        assert requirement.specifier.contains(pinned), f"{text} excludes the pinned {pinned}"
    # Unpinned, PyTorch would bring gigabytes of GPU libraries.
    assert pins["torch"] == "2.13.0"
    assert not [line for line in lines if "+" in line or "://" in line or "/" in line.split("#")[0]]


PUBLIC = (
    "analysis",
    "archive",
    "config",
    "image",
    "photometry.filters",
    "simulation",
    "spectrum",
    "training",
)


@pytest.mark.parametrize("room", PUBLIC)
def test_public_functions_explain_their_parameters(room):
    module = importlib.import_module(f"photospec.{room}")
    silent = []
    for name in module.__all__:
        function = getattr(module, name)
        if inspect.isfunction(function):
            lines = (function.__doc__ or "").splitlines()
            entries = {
                part.strip(" *") for line in lines for part in line.partition(" :")[0].split(",")
            }
            wanted = set(inspect.signature(function).parameters)
            silent += [f"{name}({parameter})" for parameter in sorted(wanted - entries)]
    assert not silent


ROOMS = (
    "",
    "analysis",
    "archive",
    "candidates",
    "config",
    "dust",
    "image",
    "lines",
    "networks",
    "pairs",
    "photometry",
    "published",
    "simulation",
    "spectrograph",
    "spectrum",
    "stellar_grids",
    "training",
    "utils.files",
    "utils.registry",
    "weights",
)
# The contract: what scripts outside of the project call.
CONTRACT = {
    "photospec": ("CandidateSpectra", "PhotoSpectrograph"),
    "photospec.analysis": (
        "Index",
        "load_templates",
        "measure_candidates",
        "measure_properties",
        "measure_redshift",
    ),
    "photospec.image": ("prepare_image", "read_image", "write_image"),
    "photospec.pairs": ("PairsFile", "PairsWriter"),
    "photospec.published": ("load_contrastive", "load_denoiser"),
    "photospec.simulation": ("Survey", "simulate_pairs"),
    "photospec.spectrum": ("from_arrays", "read_spectrum"),
}


def has_running_example(obj):
    """Whether a docstring has an Examples section with a line that pytest does not skip."""
    _, found, section = (inspect.getdoc(obj) or "").partition("Examples\n--------\n")
    lines = [line for line in section.splitlines() if line.startswith(">>> ")]
    lines = [line for line in lines if not line.startswith((">>> import ", ">>> from "))]
    return bool(found) and any("doctest: +SKIP" not in line for line in lines)


def test_public_objects_have_examples_that_run():
    """That they are right is what their doctests show."""
    shown = set()
    for room in ROOMS:
        module = importlib.import_module(f"photospec.{room}".strip("."))
        for name in module.__all__:
            obj = getattr(module, name)
            if (inspect.isfunction(obj) or inspect.isclass(obj)) and has_running_example(obj):
                shown.add(f"{obj.__module__}.{name}")
    assert len(shown) >= 48, sorted(shown)


@pytest.mark.parametrize("room", CONTRACT)
def test_the_contract_has_examples(room):
    module = importlib.import_module(room)
    for name in CONTRACT[room]:
        assert has_running_example(getattr(module, name)), f"{name} has no example"


# Modules beside the packages that users import from.
MODULES = ("analysis.figures", "figures", "hub", "redshift_density", "search")


def exported():
    """(address, object) of all that packages export, and the modules that users import."""
    packages = {path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py")}
    rooms = {".".join(path.parts) for path in packages}
    rooms |= {f"photospec.{room}".strip(".") for room in (*ROOMS, *MODULES)}
    for room in sorted(rooms):
        module = importlib.import_module(room)
        for name in getattr(module, "__all__", ()):
            yield f"{room}.{name}", inspect.unwrap(getattr(module, name))


def signatures_of(obj):
    """Functions behind a public function, or behind what users call and read of a class."""
    if inspect.isfunction(obj):
        return [obj]
    if not inspect.isclass(obj):
        return []
    members = [v for k, v in vars(obj).items() if k == "__init__" or not k.startswith("_")]
    for hidden in ("__func__", "fget", "func", "__wrapped__"):  # of methods, properties, caches
        members = [getattr(member, hidden, member) for member in members]
    return [member for member in members if inspect.isfunction(member)]


def untyped(function):
    """Parameters without a type, and "return"."""
    signature = inspect.signature(function)
    missing = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
    ]
    if signature.return_annotation is signature.empty and function.__name__ != "__init__":
        missing.append("return")
    return missing


def test_public_names_have_types():
    wrong = []
    for address, obj in exported():
        for function in signatures_of(obj):
            wrong += [f"{address}: {function.__name__}({name})" for name in untyped(function)]
    assert not wrong


def test_missing_types_are_found():
    """The test must be able to fail: each way of defining something public is read."""

    class Public:
        def __init__(self, a): ...

        @property
        def b(self): ...

        @classmethod
        def c(cls, *d): ...

        @functools.cached_property
        def e(self): ...

        @staticmethod
        @functools.lru_cache
        def f(): ...

        def _private(self, g): ...

    found = {function.__name__: untyped(function) for function in signatures_of(Public)}
    assert found == {
        "__init__": ["a"], "b": ["return"], "c": ["d", "return"], "e": ["return"], "f": ["return"],
    }  # fmt: skip


def test_types_are_told_to_other_packages(repository):
    assert (PACKAGE / "py.typed").is_file()
    settings = tomllib.loads((repository / "pyproject.toml").read_text())
    assert "py.typed" in settings["tool"]["setuptools"]["package-data"]["photospec"]


def readme_commands(repository):
    text = (repository / "README.rst").read_text()
    return re.findall(r"^ +(python3 -m venv .*)$", text, flags=re.MULTILINE)


def test_readme_has_two_commands_that_use_the_constraints(repository):
    demo, test = readme_commands(repository)
    assert demo.endswith("photospec demo")
    assert "pytest" in test
    for command in (demo, test):
        assert "pip install -c constraints.txt" in command


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_ci_runs_the_command_of_the_readme(repository, tmp_path):
    """With a python3 that only says what it is asked, .ci/run shows what it would run."""
    script = repository / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    fake = tmp_path / "bin" / "python3"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho asked: python3 "$@"\npwd\nls constraints.txt\nexit 3\n')
    fake.chmod(0o755)
    environment = os.environ | {"PATH": f"{fake.parent}:{os.environ['PATH']}", "CI": "true"}
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout")
    result = subprocess.run(
        [script], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert result.returncode == 3  # it passes on how the command ended
    lines = result.stdout.splitlines()
    assert lines[0] == f"+ {readme_commands(repository)[1]}"
    assert lines[1] == "asked: python3 -m venv .venv"
    assert "photospec-ci" in lines[2]  # in a folder of its own ...
    assert lines[3] == "constraints.txt"  # ... that has the files of the repository
    assert not Path(lines[2]).exists()


def test_both_papers_are_cited(repository):
    citation = (repository / "CITATION.cff").read_text()
    readme = (repository / "README.rst").read_text()
    for identifier in ("2211.05556", "2406.18175"):
        assert identifier in citation
        assert identifier in readme


def test_entry_point(project):
    assert project["scripts"] == {"photospec": "photospec.__main__:main"}
