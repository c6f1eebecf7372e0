"""Packages that add to the rooms below, and that these do without: photospec.published."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import photospec

PACKAGE = Path(photospec.__file__).parent
#: Packages that nothing below names; to remove one, delete its folder, its tests and its name here.
REMOVABLE = ("published",)

_SCRIPT = """
import sys
from pathlib import Path

# An editable install would find the removed packages where the checkout has them.
sys.meta_path[:] = [f for f in sys.meta_path if "Editable" not in getattr(f, "__name__", "")]

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

import photospec
from photospec import PhotoSpectrograph
from photospec.errors import InputError
from photospec.image import NANOMAGGY
from photospec.training import TrainConfig, train

folder, weights, pairs, toml = map(Path, sys.argv[1:])
assert Path(photospec.__file__).parents[1] == folder, photospec.__file__
y, x = np.mgrid[:64, :64] - 32
light = np.exp(-np.hypot(x, y) / 4) * np.ones((5, 1, 1))
meta = {"bands": tuple("ugriz"), "pixel_scale": 0.396 * u.arcsec}
spectrograph = PhotoSpectrograph.load(weights)
spectrum = spectrograph.predict(NDData(light, unit=NANOMAGGY, meta=meta), n_candidates=1)
assert np.isfinite(spectrum.flux.value).all()
spectrograph.save(folder / "again")
made = train(TrainConfig.read(toml), pairs, folder / "run")
assert made.is_file()
try:
    TrainConfig.preset("published", "base")
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("name", REMOVABLE)
def test_nothing_else_names_a_removable_package(name):
    wrong = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if name not in path.relative_to(PACKAGE).parts
        and f"photospec.{name}" in path.read_text(encoding="utf-8")
    ]
    assert not wrong


def test_the_rest_works_without_removable_packages(tiny_weights, settings, pairs, tmp_path):
    """Import, predict with weights and train a stage, without their folders."""
    from photospec.config import write_toml

    ignored = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(PACKAGE, tmp_path / "photospec", ignore=ignored)
    for name in REMOVABLE:
        shutil.rmtree(tmp_path / "photospec" / name)
    write_toml(settings(max_steps=1), tmp_path / "train.toml")
    found = subprocess.run(
        [sys.executable, "-c", _SCRIPT, tmp_path, tiny_weights, pairs, tmp_path / "train.toml"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("preset: expected one of small, tiny, got 'published'")
