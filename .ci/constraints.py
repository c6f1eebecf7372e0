"""Print the versions that this environment has of all that photospec needs.

Run in an environment in which the tests have passed, with all extras installed::

    python .ci/constraints.py > constraints.txt
"""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# Tools that only developers run; their versions do not matter to results.
UNPINNED = {"asv", "pre-commit", "tox"}


def needed(project):
    """All requirements of the project, its extras included, but for itself."""
    extras = project["optional-dependencies"].values()
    texts = [text for group in (project["dependencies"], *extras) for text in group]
    requirements = [Requirement(text) for text in texts]
    return [r for r in requirements if r.name != project["name"] and r.name not in UNPINNED]


def closure(todo):
    """Follow requirements of requirements; name -> version as installed here."""
    found, seen = {}, set()
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), sorted(requirement.extras) or [""]
        if (name, *extras) in seen:
            continue
        seen.add((name, *extras))
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            print(f"not installed here: {requirement}", file=sys.stderr)
            continue
        # Without local parts such as +cpu, which exist on some machines only.
        found[name] = f"{installed.metadata['Name']}=={Version(installed.version).public}"
        for text in installed.requires or ():
            further = Requirement(text)
            marker = further.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(further)
    return found


if __name__ == "__main__":
    pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
    pins = closure(needed(tomllib.loads(pyproject.read_text())["project"]))
    print("# Tested versions, from .ci/constraints.py. Use: pip install -c constraints.txt")
    print(*(pins[name] for name in sorted(pins)), sep="\n")
