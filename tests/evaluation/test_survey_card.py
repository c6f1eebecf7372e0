"""The card of a survey, by magnitude and redshift, with and without its bands."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from photospec import PhotoSpectrograph
from photospec.evaluation.survey_card import survey_card
from photospec.pairs import PairsWriter
from photospec.spectrum import WAVELENGTH
from photospec.weights import FILES, assemble, read_config


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, make_galaxies):
    image, flux, slope = make_galaxies(260, n_bands=4)
    path = tmp_path_factory.mktemp("card") / "pairs.h5"
    with PairsWriter(path, "griz", 0.262, WAVELENGTH, {}) as writer:
        writer.append(
            image,
            flux,
            np.ones_like(flux),
            object={"redshift": 0.3 + 0.2 * slope, "galactic_ebv": np.full(260, 0.02)},
            truth={"magnitude_r": np.linspace(16.6, 20.4, 260)},
            truth_flux=flux,
        )
    return path


@pytest.fixture(scope="module")
def spectrograph(tiny_weights):
    config = read_config(tiny_weights)
    image = replace(config.base.image, masked_bands=True)
    stage = replace(config.base, image=image, redshift=True)
    config = replace(
        config,
        bands=tuple("griz"),
        pixel_scale=0.262,
        base=stage,
        super_resolution=stage,
        contrastive=replace(config.contrastive, image=image),
        trained_without=("i",),
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        stages = {name: config.build(name) for name in FILES}
    return PhotoSpectrograph(assemble(stages, config), config, dtype="float32")


def test_tables_of_a_survey(spectrograph, pairs, tmp_path):
    told = []
    sections = survey_card(
        spectrograph, [pairs], [pairs], tmp_path, n_spectra=60, skip_last=20, report=told.append
    )
    assert [section.name for section in sections] == ["by_magnitude", "by_redshift", "colours"]
    assert len(told) == 3
    rows = sections[0].rows
    assert {row["from"] for row in rows} == {
        f"{who}, {bands}" for who in ("networks", "trees") for bands in ("griz", "grz")
    }
    # Trees that have seen the very galaxies know their redshifts; random networks do not.
    mine = {row["from"]: row["sigma_mad"].value for row in rows[:4]}
    assert mine["trees, griz"] < 0.5 * mine["networks, griz"]
    assert all(0 <= row["PIT"].value <= 1 for row in rows if row["from"].startswith("net"))
    # Bins hold all galaxies between them.
    counts = [int(row["galaxies"].split("(")[1][:-1]) for row in rows[::4]]
    assert sum(counts) == 260
    assert np.isfinite(sections[2].rows[0]["g-r, median"].value)
    assert (tmp_path / "by_magnitude.inc").exists()
    assert "sigma_mad" in (tmp_path / "card.txt").read_text()
