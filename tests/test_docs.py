"""What the documentation shows as Python runs: each page, its blocks one after the other.

A block with prompts is a doctest, whose outputs are compared. Blocks of a page share their
variables; a directive ``testsetup``, which readers do not see, prepares what they need. The folder
in which they run holds ``cutout.fits``, an image, and ``spec-0285-51930-0309.fits``, a spectrum.
"""

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.rst", *sorted((REPOSITORY / "docs").glob("*.rst"))]

# First line of a block -> why it cannot run here.
NOT_RUN = {
    "from photospec.rail import PhotospecEstimator": "needs RAIL",
    "from photospec import PhotoSpectrograph\nfrom photospec.archive": "asks a real archive",
    "from photospec.archive import download": "asks a real archive",
    "from photospec.archive import sdss_image": "asks a real archive",
    "from photospec.archive import SURVEYS": "asks a real archive",
    "from photospec.archive import legacy_image": "asks a real archive",
    "from photospec.archive import read_legacy": "needs a brick of the Legacy Surveys",
    "from photospec.published import load_spectrograph": "needs the authors' checkpoints",
    "from photospec.survey import predict_catalogue": "needs a catalogue on disk",
    "from dask_jobqueue import SLURMCluster": "needs a batch system",
    "from dask_kubernetes.operator import KubeCluster": "needs Kubernetes",
    "from photospec.training import TrainConfig, train, train_all": "takes hours",
    "from photospec.analysis.populations.templates import load_templates": "downloads templates",
    "simulate_pairs(100_000": "takes an hour",
    "from photospec.simulation import RealGalaxies, simulate_real_pairs": "needs a real catalogue",
}
# Pages that take more than some seconds.
SLOW = {"populations.rst", "simulation_images.rst", "simulation_surveys.rst"}

BLOCK = re.compile(
    r"^\.\. (code-block:: python|testsetup::)\n((?:\n|   .*\n)+)", flags=re.MULTILINE
)


def blocks_of(page):
    """Code of a page, (kind, text), without options of the directives."""
    found = []
    for kind, body in BLOCK.findall(page.read_text(encoding="utf-8") + "\n"):
        lines = [line for line in body.splitlines() if not re.match(r"   :\w+:", line)]
        found.append((kind, textwrap.dedent("\n".join(lines)).strip() + "\n"))
    return found


def reason_not_to_run(text):
    return next((why for first, why in NOT_RUN.items() if text.startswith(first)), None)


WITH_CODE = [page for page in PAGES if any("code" in kind for kind, _ in blocks_of(page))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with the files that the pages read, of a galaxy of the demo's survey."""
    from photospec.cli.demo import _simulate
    from photospec.spectrum import WAVELENGTH, from_arrays, write_spectra

    path = tmp_path_factory.mktemp("docs")
    batch = _simulate(0, path / "cutout.fits")
    ivar = batch.ivar[0]
    sigma = np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)), np.inf)
    spectrum = from_arrays(WAVELENGTH, batch.flux[0], sigma=sigma, mask=ivar <= 0)
    write_spectra(path / "spec-0285-51930-0309.fits", spectrum)
    return path


RUN = """
import doctest, json, sys
from pytest_doctestplus.output_checker import OutputChecker

blocks, variables = json.load(sys.stdin), {}
for number, text in enumerate(blocks):
    if ">>> " in text:
        test = doctest.DocTestParser().get_doctest(text, variables, f"block {number}", "page", 0)
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        runner = doctest.DocTestRunner(checker=OutputChecker(), optionflags=flags)
        runner.run(test, clear_globs=False)
        variables |= test.globs
        if runner.failures:
            sys.exit(1)
    else:
        exec(compile(text, f"block {number}", "exec"), variables)
"""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name in SLOW else [])
        for page in WITH_CODE
    ],
)
def test_blocks_run(page, folder):
    blocks = [text for _, text in blocks_of(page) if not reason_not_to_run(text)]
    if not blocks:
        pytest.skip("; ".join(sorted({reason_not_to_run(text) for _, text in blocks_of(page)})))
    result = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(blocks),
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "agg"},
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


def test_every_reason_belongs_to_a_block():
    texts = [text for page in PAGES for _, text in blocks_of(page)]
    unused = [first for first in NOT_RUN if not any(text.startswith(first) for text in texts)]
    assert not unused


def names_of(page):
    """Names of the package in the text and the imports of a page, with dots."""
    text = page.read_text(encoding="utf-8")
    found = set(re.findall(r"photospec(?:\.[A-Za-z_]\w*)+", text))
    for module, names in re.findall(r"from (photospec[\w.]*) import ([\w, ]+|\([^)]+\))", text):
        found |= {f"{module}.{name}" for name in re.findall(r"\w+", names)}
    # A group of entry points, and a class that is there with RAIL only.
    return found - {"photospec.plugins", "photospec.rail.PhotospecEstimator"}


def documented():
    """Objects of the pages of the API, by id, and so whatever module a page has them from."""
    found = {}
    for page in (REPOSITORY / "docs" / "api").glob("*.rst"):
        home = ""
        pattern = r"^\.\. (\w+):: ([\w.]+)\n(?:   :members:(.*)\n)?"
        text = page.read_text(encoding="utf-8")
        for kind, name, members in re.findall(pattern, text, flags=re.MULTILINE):
            if kind == "currentmodule":
                home = f"{name}."
            elif kind == "automodule":
                module = importlib.import_module(name)
                wanted = [m.strip() for m in members.split(",") if m.strip()]
                shown = f":: {name}\n   :members:" in text
                found |= {
                    id(getattr(module, n)): n for n in wanted or (module.__all__ if shown else ())
                }
            elif kind.startswith("auto"):
                full = name if name.startswith("photospec") else home + name
                found[id(pkgutil.resolve_name(full))] = full
    return found


def test_names_of_the_pages_are_there_and_in_the_api():
    api, wrong = documented(), []
    for page in [*PAGES, REPOSITORY / "CONTRIBUTING.rst"]:
        for name in names_of(page):
            try:
                found, chain = pkgutil.resolve_name(name), name.split(".")
            except (ImportError, AttributeError):
                wrong.append(f"{page.name}: there is no {name}")
                continue
            # A method is documented with its class.
            owners = [pkgutil.resolve_name(".".join(chain[:n])) for n in range(2, len(chain) + 1)]
            if not isinstance(found, ModuleType) and not api.keys() & set(map(id, owners)):
                wrong.append(f"{page.name}: {name} is in no page of docs/api")
    assert len(api) > 300
    assert not wrong


def test_constants_are_in_the_api():
    """Sphinx shows a constant of ``:members:`` only where a comment ``#:`` stands before it."""
    shown, constants = set(), {}
    for page in (REPOSITORY / "docs" / "api").glob("*.rst"):
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"^\.\. autodata:: (photospec[\w.]+)", text, flags=re.MULTILINE):
            shown.add(id(pkgutil.resolve_name(name)))
        for name in re.findall(r"^\.\. automodule:: ([\w.]+)\n   :members:\n", text, flags=re.M):
            module = importlib.import_module(name)
            source = Path(module.__file__).read_text(encoding="utf-8")
            for constant in module.__all__:
                value = getattr(module, constant)
                if callable(value) or isinstance(value, ModuleType):
                    continue
                constants[f"{name}.{constant}"] = id(value)
                if re.search(rf"^#: .*\n(#: .*\n)*{constant}\b", source, flags=re.MULTILINE):
                    shown.add(id(value))
    assert len(constants) > 20
    assert not [name for name, value in constants.items() if value not in shown]


def test_python_is_never_in_a_bare_block():
    """A literal block after ``::`` is for the shell; nobody would run Python there."""
    found = []
    for page in PAGES:
        for body in re.findall(r"::\n\n((?:    .*\n|\n)+)", page.read_text(encoding="utf-8")):
            lines = [line.strip() for line in body.splitlines()]
            found += [
                f"{page.name}: {line}"
                for line in lines
                if re.match(r"(import \w|from [\w.]+ import |>>> )", line)
            ]
    assert not found


def test_messages_of_the_faq_are_those_of_the_code():
    from astropy import units as u
    from astropy.nddata import NDData

    from photospec import PhotoSpectrograph
    from photospec.errors import InputError
    from photospec.utils.optional import missing

    pixels = np.full((5, 64, 64), -1.0)
    pixels[:, :20] = 1.0
    scale = {"pixel_scale": 0.396 * u.arcsec}
    wrong = [
        NDData(pixels, meta=scale | {"bands": "ugriz"}),
        NDData(pixels, unit=u.nmgy, meta=dict(scale)),
        NDData(pixels, unit=u.nmgy, meta={"bands": "ugriz"}),
        NDData(pixels[1:], unit=u.nmgy, meta=scale | {"bands": "uriz"}),
        NDData(pixels, unit=u.nmgy, meta={"bands": "ugriz", "pixel_scale": 0.1 * u.arcsec}),
        NDData(pixels, unit=u.nmgy, meta=scale | {"bands": "ugriz"}),
    ]
    spectrograph, messages = PhotoSpectrograph.load(), [str(missing("galsim"))]
    for image in wrong:
        with pytest.raises(InputError) as error:
            spectrograph.prepare(image)
        messages.append(str(error.value))
    page = (REPOSITORY / "docs" / "faq.rst").read_text(encoding="utf-8")
    shown = re.findall(r"^``([^`]*: expected [^`]*)``$", page, flags=re.MULTILINE)
    assert len(shown) == len(messages)
    for text, message in zip(shown, messages, strict=True):
        assert message.startswith(text)
