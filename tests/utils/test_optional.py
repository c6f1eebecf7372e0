"""Packages of extras: predicting does without, and what needs one names the extra."""

import ast
import re
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import photospec
from photospec.errors import InputError, MissingPackageError
from photospec.utils.optional import EXTRAS, optional_imports

PACKAGE = Path(photospec.__file__).parent


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_extra_installs_what_it_promises(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]

    def names(texts):
        return {normal(re.match(r"[A-Za-z0-9._-]+", text).group()) for text in texts}

    base, distributions = names(project["dependencies"]), packages_distributions()
    for module, extra in EXTRAS.items():
        providers = {normal(name) for name in distributions.get(module, [module])}
        assert providers & names(project["optional-dependencies"][extra]), (module, extra)
        assert not providers & base, f"{module} comes with the base already"


def test_optional_packages_are_not_imported_on_import():
    """At the head of a module they would be needed by all that imports it."""
    # What these rooms need is asked for by their front door, so the error names the extra there.
    whole_rooms = {"ignite": ("training", "published"), "requests": ("archive",)}
    whole_rooms |= {"urllib3": ("archive",), "nested_pandas": ("survey",)}
    whole_rooms |= {"pandas": ("survey",), "pyarrow": ("survey",)}
    found = []
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            roots = {name.partition(".")[0] for name in names} & set(EXTRAS)
            found += [(path.name, root) for root in roots if room not in whole_rooms.get(root, ())]
    assert found == []


@pytest.mark.parametrize("module", ["galsim", "ignite.engine", "pyarrow.parquet"])
def test_the_error_names_the_extra(module):
    root = module.partition(".")[0]
    with pytest.raises(MissingPackageError) as error, optional_imports():
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert str(error.value) == (
        f"{root}: expected the package to be installed, got none; "
        f'pip install "photospec[{EXTRAS[root]}]"'
    )
    assert error.value.name == root
    # Scripts may catch it as what it is to them.
    assert isinstance(error.value, InputError)
    assert isinstance(error.value, ImportError)


def test_other_failures_pass_through():
    with pytest.raises(ModuleNotFoundError, match="photospec_gone"), optional_imports():
        import photospec_gone  # noqa: F401


WITHOUT_EXTRAS = """
    import sys
    from importlib.machinery import PathFinder

    from photospec.utils.optional import EXTRAS

    class WithoutExtras(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            if name.partition(".")[0] not in EXTRAS:
                return super().find_spec(name, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutExtras
"""


def without_extras(code, folder):
    """Run code in a Python that has the base installation only."""
    code = textwrap.dedent(WITHOUT_EXTRAS) + textwrap.dedent(code)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_base_installation_predicts(tiny_weights, tmp_path):
    output = without_extras(
        f"""
        import numpy as np
        from astropy import units as u
        from astropy.nddata import NDData
        from photospec import PhotoSpectrograph
        from photospec.figures import rgb_image
        from photospec.image import read_image, write_image
        from photospec.spectrum import read_spectrum, write_spectra

        y, x = np.mgrid[:64, :64] - 32
        light = np.exp(-np.hypot(x, y) / 4) + np.random.default_rng(0).normal(0, 0.01, (5, 64, 64))
        image = NDData(light, unit=u.Unit("nmgy"))
        image.meta.update(bands=tuple("ugriz"), pixel_scale=0.396 * u.arcsec)
        write_image("image.fits", image)
        image = read_image("image.fits")
        spectrograph = PhotoSpectrograph.load({str(tiny_weights)!r})
        candidates = spectrograph.sample(image, n_candidates=2, seed=0)
        write_spectra("spectrum.fits", candidates.best)
        print(read_spectrum("spectrum.fits").shape, rgb_image(image).shape)
        """,
        tmp_path,
    )
    assert output.split("\n")[0].startswith("(")


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("from photospec.training import train", "train"),
        ("from photospec.archive import download", "archive"),
        ("from photospec.survey import run_survey", "survey"),
        ("from photospec.stellar_grids import stellar_grid; stellar_grid()", "measure"),
        (
            "from photospec.simulation.instrument.profiles import sersic_table; sersic_table((1,))",
            "simulate",
        ),
    ],
)
def test_what_needs_an_extra_says_so(code, extra, tmp_path):
    output = without_extras(
        f"""
        from photospec.errors import MissingPackageError
        try:
            {code}
        except MissingPackageError as error:
            print(error)
        """,
        tmp_path,
    )
    assert f'pip install "photospec[{extra}]"' in output
