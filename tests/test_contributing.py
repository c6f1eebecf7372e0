"""What CONTRIBUTING.rst shows: its code runs, and what it adds is used."""

import doctest
import pkgutil
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData

from photospec.errors import InputError

REGISTRIES = (
    "photospec.networks.samplers:SAMPLERS",
    "photospec.simulation.survey:SURVEYS",
    "photospec.training.extensions:CONFIGS",
    "photospec.training.extensions:TRAININGS",
    "photospec.training.extensions:PACKERS",
)


@pytest.fixture
def run_section(repository, monkeypatch, tmp_path):
    """Function that runs the code of sections, one after the other, and gives their variables.

    What they register is forgotten after the test; what they write goes to a folder of its own.
    """
    for name in REGISTRIES:
        registry = pkgutil.resolve_name(name)
        monkeypatch.setattr(registry, "_objects", dict(registry._objects))
    monkeypatch.chdir(tmp_path)
    sections = sections_of((repository / "CONTRIBUTING.rst").read_text(encoding="utf-8"))

    def run(*titles):
        variables = {}
        for title in titles:
            test = doctest.DocTestParser().get_doctest(
                sections[title], variables, title, "CONTRIBUTING.rst", 0
            )
            assert test.examples, f"no code in section {title!r}"
            runner = doctest.DebugRunner()
            runner.run(test, clear_globs=False)
            variables |= test.globs
        return variables

    return run


def sections_of(text):
    """Text of each section by its title."""
    parts = re.split(r"^(\S.*)\n[-=^]{3,}\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_code_block_belongs_to_a_test(repository):
    text = (repository / "CONTRIBUTING.rst").read_text(encoding="utf-8")
    with_code = {title for title, part in sections_of(text).items() if ">>>" in part}
    assert with_code == {
        "An emission line",
        "A spectral index",
        "A set of bands",
        "A sampler",
        "A survey",
        "An architecture of training",
    }


def test_a_line_of_ones_own_is_measured(run_section):
    from photospec.analysis import measure_properties

    made = run_section("An emission line")
    assert made["measured"] == pytest.approx(0.2 * 3 * np.sqrt(2 * np.pi) * 1.05, rel=0.1)
    assert made["measured"] > 10 * made["error"]
    assert "halpha" in made["lines"].names  # the default lines are there too
    table = measure_properties(made["spectrum"], redshift=0.05, lines=(..., made["iron"]))
    assert float(table["fevii_6087_flux"].value[0]) == pytest.approx(made["measured"], rel=0.02)


def test_an_index_of_ones_own_is_measured(run_section):
    from photospec.analysis import measure_properties
    from photospec.spectrum import vacuum_to_air

    made = run_section("An emission line", "A spectral index")
    index = made["wide"]
    # The definition, pixel by pixel: a straight continuum through the means of the side bands.
    wavelength, flux = vacuum_to_air(made["rest"]), made["flux"]

    def mean(limits):
        inside = np.linspace(*limits, 4001)
        return inside.mean(), np.interp(inside, wavelength, flux).mean()

    (blue, below), (red, above) = mean(index.blue), mean(index.red)
    band = np.linspace(*index.band, 4001)
    continuum = np.interp(band, (blue, red), (below, above))
    expected = np.trapezoid(1 - np.interp(band, wavelength, flux) / continuum, band)
    assert made["fit"].value[0, 1] == pytest.approx(expected, rel=0.01)
    table = measure_properties(made["spectrum"], redshift=0.05, indices=(..., index))
    # There the fitted emission, [N I] 5200 at the edge of the band, is subtracted first.
    assert float(table["lick_mg_wide"].value[0]) == pytest.approx(expected, rel=0.06)
    assert "lick_mgb" in table.colnames


def test_bands_of_ones_own_are_trained_and_predicted(run_section, settings):
    from photospec import PhotoSpectrograph
    from photospec.training import train_all
    from photospec.training.settings import STAGES

    made = run_section("A set of bands")
    quick = {"max_steps": 1, "batch_size": 4, "validation_pairs": 4, "checkpoint_every": 1}
    folder = train_all({stage: settings(stage, **quick) for stage in STAGES}, made["path"], "run")
    spectrograph = PhotoSpectrograph.load(folder)
    assert spectrograph.config.bands == ("B", "r", "V")
    data = np.asarray(made["brv"].simulate(1).image[0])
    meta = {"bands": ("B", "r", "V"), "pixel_scale": 0.396 * u.arcsec}
    image = NDData(data, unit=u.nmgy, meta=meta)
    turned = NDData(data[::-1], unit=u.nmgy, meta=meta | {"bands": ("V", "r", "B")})
    spectrum = spectrograph.predict(image, n_candidates=1)
    again = spectrograph.predict(turned, n_candidates=1)
    np.testing.assert_array_equal(spectrum.flux.value, again.flux.value)
    with pytest.raises(InputError, match="bands"):
        spectrograph.predict(NDData(data[1:], unit=u.nmgy, meta=meta | {"bands": ("r", "V")}))


def test_a_sampler_of_ones_own_draws(run_section, tiny_weights, pairs):
    from photospec import PhotoSpectrograph
    from photospec.pairs import PairsFile

    made = run_section("A sampler")
    spectrograph = PhotoSpectrograph.load(tiny_weights)
    config = replace(spectrograph.config, sampling=made["sampling"])
    PhotoSpectrograph(spectrograph.cascade, config).save("weights")
    # Both stages: evaluations are two a step, and one for the last.
    calls = []
    step = made["Midpoint"].step
    made["Midpoint"].step = lambda self, *args: calls.append(1) or step(self, *args)
    loaded = PhotoSpectrograph.load("weights")
    with PairsFile(pairs) as file:
        meta = {"bands": file.bands, "pixel_scale": file.pixel_scale * u.arcsec}
        image = NDData(file.image(0), unit=u.nmgy, meta=meta)
    spectrum = loaded.predict(image, n_candidates=1)
    n_steps = (4, made["sampling"].n_steps_super_resolution)
    assert len(calls) == sum(n_steps) - 2
    assert spectrum.meta["nfe"] == sum(2 * (n - 1) + 1 for n in n_steps)
    other = spectrograph.predict(image, n_candidates=1)
    assert np.any(spectrum.flux.value != other.flux.value)


def test_a_survey_of_ones_own_has_a_name(run_section, tmp_path):
    from photospec.cli import main
    from photospec.pairs import PairsFile

    run_section("A survey")
    arguments = ["simulate", "-n", "2", "--survey", "sdss_wide", "-o", "wide.h5", "--quiet"]
    assert main(arguments) == 0
    with PairsFile("wide.h5") as file:
        assert file.image(0).shape == (5, 96, 96)


def test_an_architecture_of_ones_own_is_trained(run_section, settings, pairs):
    from photospec.training import train

    made = run_section("An architecture of training")
    quiet = settings("base", max_steps=2)
    shared = {item.name: getattr(quiet, item.name) for item in fields(quiet)}
    del shared["architecture"]
    seen = []
    loss = made["NoisyTraining"].loss
    made["NoisyTraining"].loss = lambda self, *args: seen.append(self.config) or loss(self, *args)
    weights = {}
    for rms in (0.0, 0.5):
        config = made["NoisyConfig"](**shared, noisy=made["ImageNoise"](rms=rms))
        weights[rms] = train(config, pairs, f"run-{rms}").read_bytes()
    assert {config.noisy.rms for config in seen} == {0.0, 0.5}
    assert weights[0.0] != weights[0.5]
