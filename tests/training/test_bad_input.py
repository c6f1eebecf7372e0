"""Input that cannot be trained on: each named in one line, nothing overwritten."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from photospec.config import write_toml
from photospec.errors import InputError
from photospec.spectrum import WAVELENGTH
from photospec.training import TrainConfig, train


@pytest.fixture
def toml(settings, tmp_path):
    path = tmp_path / "train.toml"
    write_toml(settings(max_steps=2), path)
    return path


def masked(path):
    with h5py.File(path, "r+") as file:
        file["spectrum/ivar"][:] = 0
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[:-20_000])
    return path


def flipped(path):
    """Bits in the middle of the data, which HDF5 does not notice, but numbers do."""
    with h5py.File(path, "r+") as file:
        file["truth/flux"][5, 1700:1800] = np.nan
    return path


def shorter(path):
    with h5py.File(path, "r+") as file:
        file["truth/flux"].resize(10, axis=0)
    return path


BAD_PAIRS = {
    "empty": (lambda write, path: (path.write_bytes(b"") and None) or path, "no HDF5"),
    "cut short": (lambda write, path: cut(write(path, 40)), "cannot be read"),
    "damaged": (lambda write, path: shorter(write(path, 40)), r"expected 40 pairs .*damaged"),
    "not finite": (lambda write, path: flipped(write(path, 40)), r"the first is pair 5 of"),
    "no pairs": (lambda write, path: write(path, 0), "got 0 in"),
    "fewer than a batch": (lambda write, path: write(path, 20), r"at least 8 pairs .one batch."),
    "not covering the grid": (
        lambda write, path: write(path, 40, wavelength=WAVELENGTH[:4100]),
        "training grid .4000 to 8499 Angstrom",
    ),
    "other file": (lambda write, path: path.write_text("hello") and path, "no HDF5"),
}


@pytest.mark.parametrize("kind", BAD_PAIRS)
def test_bad_pairs(kind, write_pairs, toml, tmp_path):
    make, message = BAD_PAIRS[kind]
    path = make(write_pairs, tmp_path / "pairs.h5")
    before = path.read_bytes()
    with pytest.raises(InputError, match=message) as error:
        train(TrainConfig.read(toml), path, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert path.read_bytes() == before
    assert not (tmp_path / "run").exists()


def test_masked_throughout(write_pairs, settings, tmp_path):
    path = masked(write_pairs(tmp_path / "pairs.h5", 40))
    write_toml(settings(target="observed"), tmp_path / "train.toml")
    with pytest.raises(InputError, match=r"24 others among 24 .*pair 0 of .*masked throughout"):
        train(TrainConfig.read(tmp_path / "train.toml"), path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bands_that_differ_between_files(pairs, write_pairs, toml, tmp_path):
    other = write_pairs(tmp_path / "other.h5", 9, bands="griz")
    with pytest.raises(InputError, match=r"expected u,g,r,i,z, got g,r,i,z in .*other\.h5"):
        train(TrainConfig.read(toml), [pairs, other], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"batch_size": 9},
        {"optimisation": replace(TrainConfig().optimisation, schedule="cosine")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_run_folder_of_another_configuration(changes, pairs, settings, toml, tmp_path):
    run = tmp_path / "run"
    train(TrainConfig.read(toml), pairs, run)
    before = content(run)
    write_toml(settings(max_steps=2, **changes), tmp_path / "other.toml")
    for resume, message in ((True, "expected the settings of"), (False, "new or empty folder")):
        with pytest.raises(InputError, match=message):
            train(TrainConfig.read(tmp_path / "other.toml"), pairs, run, resume=resume)
        assert content(run) == before


def test_a_checkpoint_of_another_network(pairs, settings, toml, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    train(TrainConfig.read(toml), pairs, run)
    wide = settings(max_steps=2)
    size = replace(wide.diffusion, network=replace(wide.diffusion.network, depth=2))
    write_toml(replace(wide, diffusion=size), tmp_path / "wide.toml")
    train(TrainConfig.read(tmp_path / "wide.toml"), pairs, other)
    (run / "checkpoint.pt").write_bytes((other / "checkpoint.pt").read_bytes())
    before = content(run)
    with pytest.raises(InputError, match="a checkpoint of the configured network, got another"):
        train(TrainConfig.read(toml).change(max_steps=4), pairs, run, resume=True)
    assert content(run) == before


def test_a_pair_that_spoils_a_step_is_named(write_pairs, settings, tmp_path, monkeypatch):
    """Beyond the sample that scalings are fitted to; the checkpoint stays."""
    from photospec.training import stages

    path = write_pairs(tmp_path / "pairs.h5", 40)
    with h5py.File(path, "r+") as file:
        file["image"][21, 2, 30, 30] = np.inf
    monkeypatch.setattr(stages, "_N_SCALING", 4)  # looks at pairs 0, 6, 12 ...
    write_toml(settings(checkpoint_every=1, max_steps=6), tmp_path / "train.toml")
    with pytest.raises(InputError, match=rf"another in pair 21 of {path}") as error:
        train(TrainConfig.read(tmp_path / "train.toml"), path, tmp_path / "run")
    assert "\n" not in str(error.value)
    kept = tmp_path / "run" / "checkpoint.pt"
    if kept.exists():  # unless it came in the first batch
        assert torch.load(kept, weights_only=True)["step"] < 6
