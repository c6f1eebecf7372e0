"""The head that tells active nuclei by the image."""

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import NDData

from photospec import PhotoSpectrograph
from photospec.analysis.candidates import said_of_agn
from photospec.candidates import read_candidates, write_candidates
from photospec.errors import InputError
from photospec.networks.image_encoder import ImageEncoder
from photospec.networks.line_classes import LINE_CLASSES, LineClasses
from photospec.training.line_classes import fit_line_classes


def galaxy(seed):
    y, x = np.mgrid[:64, :64] - 32
    rng = np.random.default_rng(seed)
    data = rng.uniform(1, 5, (5, 1, 1)) * np.exp(-np.hypot(x, y) / rng.uniform(2, 5))
    meta = {"bands": tuple("ugriz"), "pixel_scale": 0.396 * u.arcsec}
    return NDData(data + rng.normal(0, 0.02, data.shape), unit=u.nmgy, meta=meta)


@pytest.fixture(scope="module")
def encoder():
    return ImageEncoder(5, 16, width=8, n_heads=2)


@pytest.fixture(scope="module")
def told(encoder):
    """Features that tell classes as Gaussians of unit width do, at rising places."""
    rng = np.random.default_rng(0)
    number = rng.choice(4, 3000, p=[0.4, 0.4, 0.05, 0.15])
    photometry = torch.zeros(3000, encoder.sizes[0])
    photometry[:, 0] = torch.from_numpy(1.5 * number + rng.standard_normal(3000))
    tokens = torch.randn(3000, 1, 8, generator=torch.Generator().manual_seed(0))
    kind = np.array(LINE_CLASSES)[number]
    classes, loss = fit_line_classes(encoder, (photometry, tokens), kind, max_epochs=25)
    return classes, loss, (photometry, tokens), number


def test_posterior_is_that_of_equally_frequent_classes(told):
    classes, loss, features, number = told
    x = features[0][:, 0].numpy()
    exact = -0.5 * (x[:, None] - 1.5 * np.arange(4)) ** 2
    exact -= np.logaddexp.reduce(exact, axis=1, keepdims=True)
    found = classes(*features).numpy()
    weight = 1 / np.bincount(number)[number]
    best, own = (
        -np.average(part[np.arange(len(x)), number], weights=weight) for part in (exact, found)
    )
    # As good as the truth but for what 3,000 galaxies, a few of a kind, teach by heart.
    assert own == pytest.approx(best, abs=0.06)
    assert loss == pytest.approx(best, abs=0.15)
    assert np.median(np.abs(np.exp(found) - np.exp(exact))) < 0.03


def test_score_and_probability(encoder):
    classes = LineClasses.like(encoder)
    classes.frequency.copy_(torch.tensor([0.4, 0.3, 0.1, 0.2]))
    with torch.no_grad():
        for part in classes.mix.parameters():
            part.zero_()
        classes.mix[-1].bias.copy_(torch.tensor([0.5, 0.1, 0.2, 0.7]).log())
    nothing = torch.zeros(1, encoder.sizes[0]), torch.zeros(1, 1, 8)
    # At equal frequencies 0.5 : 0.1 : 0.2 : 0.7; of those with star formation 3 in 4 starforming.
    score, probability = classes.agn(*nothing)[0].tolist()
    assert score == pytest.approx(np.log(0.7 / (0.75 * 0.1 + 0.25 * 0.2)), rel=1e-5)
    shares = np.array([0.5, 0.1, 0.2, 0.7]) * [0.4, 0.3, 0.1, 0.2]
    assert probability == pytest.approx(shares[3] / shares.sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (["agn"] * 5, "kind: expected one of unclassified, .* for each of 6 images, got 5"),
        (["agn"] * 5 + ["quasar"], "got 6 of agn, quasar"),
        (["agn"] * 6, r"some tens of each of .*, got \[0, 0, 0, 6\]"),
    ],
)
def test_kinds_that_are_none(encoder, kind, message):
    features = torch.zeros(6, encoder.sizes[0]), torch.zeros(6, 1, 8)
    with pytest.raises(InputError, match=message):
        fit_line_classes(encoder, features, kind)


@pytest.fixture(scope="module")
def with_classes(tiny_weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "with"
    spectrograph = PhotoSpectrograph.load(tiny_weights)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classes = LineClasses.like(spectrograph.cascade.base.encoder)
    spectrograph.cascade.line_classes = classes.eval().requires_grad_(False)
    spectrograph.save(folder)
    return PhotoSpectrograph.load(folder)


def test_travels_with_the_weights_and_the_spectra(with_classes, tmp_path):
    images = [galaxy(seed) for seed in range(10)]
    spectra = with_classes.predict(images, n_candidates=3)
    score, probability = spectra.meta["agn_score"], spectra.meta["agn_probability"]
    assert len(score) == 10
    assert all(0 < p < 1 for p in probability)
    alone = with_classes.predict(images[3], n_candidates=3)
    assert (alone.meta["agn_score"], alone.meta["agn_probability"]) == (score[3], probability[3])
    np.testing.assert_array_equal(with_classes.agn_score(images), np.float32(score))
    assert with_classes.agn_score(images[3]) == score[3]
    drawn = with_classes.sample(images[:2], 3)
    assert [one.spectra.meta["agn_score"] for one in drawn] == score[:2]
    write_candidates(tmp_path / "all.fits", drawn)
    back = list(read_candidates(tmp_path / "all.fits").values())
    np.testing.assert_array_equal([one.spectra.meta["agn_score"] for one in back], score[:2])
    said = said_of_agn([one.spectra for one in back], 2)
    np.testing.assert_array_equal(said["agn_probability"], probability[:2])


def test_weights_without_it_say_nothing(tiny_weights):
    spectra = PhotoSpectrograph.load(tiny_weights).predict(galaxy(0), n_candidates=1)
    assert "agn_score" not in spectra.meta
    assert said_of_agn(spectra, 1)["agn_score"] is None
    with pytest.raises(InputError, match="expected weights with line_classes"):
        PhotoSpectrograph.load(tiny_weights).agn_score(galaxy(0))
