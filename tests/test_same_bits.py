"""Same image and seed, same spectrum to the last bit: alone, among others, in another unit."""

import pickle

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData

from photospec.errors import InputError
from photospec.image import NANOMAGGY, prepare_image
from photospec.image.identity import image_seed
from photospec.spectrograph import PhotoSpectrograph


def galaxy(seed, **meta):
    y, x = np.mgrid[:64, :64] - 32
    rng = np.random.default_rng(seed)
    light = rng.uniform(1, 5, (5, 1, 1)) * np.exp(-np.hypot(x, y) / rng.uniform(2, 5))
    data = light + rng.normal(0, 0.02, light.shape)
    meta = {"bands": tuple("ugriz"), "pixel_scale": 0.396 * u.arcsec} | meta
    return NDData(data.astype(np.float32), unit=NANOMAGGY, meta=meta)


@pytest.fixture(scope="module")
def images():
    return [galaxy(seed) for seed in range(33)]


@pytest.fixture(scope="module")
def spectrograph(tiny_weights):
    return PhotoSpectrograph.load(tiny_weights, dtype="float32")


def same(a, b):
    np.testing.assert_array_equal(a.flux.value, b.flux.value)
    assert a.meta["similarity"] == b.meta["similarity"]
    assert a.meta["flags"] == b.meta["flags"]


def check_bits(spectrograph, images, counts, n_candidates):
    """Each image alone is what it is among others, in some orders."""
    images = [spectrograph.prepare(image) for image in images[: max(counts)]]

    def predict(some):
        return spectrograph.predict(some, seed=3, n_candidates=n_candidates)

    reference = predict(images)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(images))[:n] for n in counts]
    for order in orders:
        found = predict([images[i] for i in order])
        np.testing.assert_array_equal(found.flux.value, reference.flux[order].value)
        assert found.meta["similarity"] == [reference.meta["similarity"][i] for i in order]
        for method in (spectrograph.ood_score, spectrograph.embed_image):
            some, every = method([images[i] for i in order]), method(images)
            np.testing.assert_array_equal(some, every[order])
    alone = predict(images[0])
    np.testing.assert_array_equal(alone.flux.value, reference.flux[0].value)
    assert alone.meta["similarity"] == reference.meta["similarity"][0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("n_candidates", [1, 3])
def test_alone_as_among_others(tiny_weights, images, dtype, n_candidates):
    check_bits(
        PhotoSpectrograph.load(tiny_weights, dtype=dtype), images, (1, 2, 7, 33), n_candidates
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_alone_as_among_others_with_the_bundled_weights(images, dtype):
    check_bits(PhotoSpectrograph.load(dtype=dtype), images, (2, 5), 2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("n_candidates", [2, 8, 25])
def test_alone_as_among_others_at_length(images, dtype, n_candidates):
    check_bits(PhotoSpectrograph.load(dtype=dtype), images, (1, 2, 7, 33), n_candidates)


def test_parts_change_nothing(spectrograph, images, monkeypatch):
    together = spectrograph.predict(images[:5], seed=3)
    monkeypatch.setattr("photospec.spectrograph._AT_ONCE", 4)
    same(spectrograph.predict((one for one in images[:5]), seed=3), together)


@pytest.mark.parametrize("unit", ["nJy", "uJy", "maggy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_another_unit_draws_the_same_noise(images, unit, dtype):
    to = {"nJy": 3631.0, "uJy": 3.631, "maggy": 1e-9}[unit]
    named = {"maggy": u.mgy}.get(unit) or u.Unit(unit)
    different = 0
    for image in images:
        data = (image.data.astype(dtype) * dtype(to)).astype(dtype)
        other = NDData(data, unit=named, meta=image.meta)
        a, b = (image_seed(5, prepare_image(one)) for one in (image, other))
        different += a != b
    # Each lies on the edge of a step with a chance of 1e-4.
    assert different == 0


def test_seeds_know_images_apart(images):
    prepared = [prepare_image(image) for image in images]
    assert len({image_seed(5, image) for image in prepared}) == len(images)
    first = images[0]
    changed = [first.data[:, ::-1], first.data[:, :, ::-1], 1.01 * first.data]
    changed = [prepare_image(NDData(data, unit=NANOMAGGY, meta=first.meta)) for data in changed]
    assert len({image_seed(5, image) for image in [prepared[0], *changed]}) == 4
    assert image_seed(6, prepared[0]) != image_seed(5, prepared[0])


def test_digest_holds_under_rounding(images):
    """One image in some 10,000 is near the edge of a step, as the docs promise."""
    rng = np.random.default_rng(1)
    image = prepare_image(images[0])
    moved = 0
    for _ in range(1000):
        scale = np.float32(rng.uniform(0.5, 2))
        data = (image.data * scale).astype(np.float32)
        back = data / np.float64(scale) * np.float64(scale)
        noisy = (back * (1 + rng.uniform(-6e-8, 6e-8, back.shape))).astype(np.float32)
        one, two = (
            image_seed(0, type(image)(one, image.mask, None, image.bands, 0.396))
            for one in (data, noisy)
        )
        moved += one != two
    assert moved <= 2


def test_an_identifier_decides_the_noise(spectrograph, images):
    first, second = images[:2]
    named = [galaxy(0, identifier="a"), galaxy(0, identifier="b")]
    a, b = (spectrograph.predict(one, seed=1) for one in named)
    assert not np.array_equal(a.flux.value, b.flux.value)
    same(spectrograph.predict(first, seed=1, identifiers="a"), a)
    together = spectrograph.predict([second, first], seed=1, identifiers=["b", "a"])
    np.testing.assert_array_equal(together.flux[1].value, a.flux.value)
    assert "identifier" not in first.meta  # the caller's images are left alone
    best = spectrograph.sample(first, None, seed=1, identifier="a").best
    np.testing.assert_array_equal(best.flux.value, a.flux.value)
    # a number and its text are one identifier, as in a catalogue and in a header
    one, two = (image_seed(1, prepare_image(galaxy(0, identifier=i))) for i in (12, "12"))
    assert one == two
    # changed pixels, same identifier, same noise
    brighter = NDData(1.5 * first.data, unit=NANOMAGGY, meta=first.meta | {"identifier": 12})
    assert image_seed(1, prepare_image(brighter)) == one


@pytest.mark.parametrize(
    ("identifiers", "message"),
    [
        (["a"], "identifiers: expected one for each of 2 images, got 1"),
        (["a", 1.5], "image number 1 of 2: identifier: expected text or a whole number, got 1.5"),
        (["a", None], None),
    ],
)
def test_identifiers_that_are_none(spectrograph, images, identifiers, message):
    if message is None:
        spectrograph.predict(images[:2], identifiers=identifiers, n_candidates=1)
        return
    with pytest.raises(InputError, match=message):
        spectrograph.predict(images[:2], identifiers=identifiers)


@pytest.mark.filterwarnings("ignore::photospec.errors.PhotospecWarning")
def test_one_bad_image_does_not_lose_the_call(spectrograph, images):
    dark = NDData(0 * images[0].data, unit=NANOMAGGY, meta=images[0].meta)
    broken = NDData(np.nan * images[0].data, unit=NANOMAGGY, meta=images[0].meta)
    mixed = [images[0], dark, "image.fits", broken, images[1]]
    found = spectrograph.predict(mixed, seed=1, on_error="flag")
    good = spectrograph.predict(images[:2], seed=1)
    np.testing.assert_array_equal(found.flux[[0, 4]].value, good.flux.value)
    assert np.isnan(found.flux[1:4].value).all()
    assert found.mask[1:4].all()
    assert not found.mask[[0, 4]].any()
    assert np.isnan(found.meta["similarity"][1:4]).all()
    for flags in found.meta["flags"][1:4]:
        assert flags[0].startswith("unusable: ")
        assert ";" not in flags[0]
    assert "expected an astropy NDData" in found.meta["flags"][2][0]
    nothing = spectrograph.predict(dark, on_error="flag")
    assert nothing.flux.shape == (4500,)
    assert nothing.meta["flags"][0].startswith("unusable")
    with pytest.raises(InputError, match="image number 1 of 5"):
        spectrograph.predict(mixed)
    with pytest.raises(InputError, match="on_error: expected raise or flag, got 'ignore'"):
        spectrograph.predict(mixed, on_error="ignore")


def test_a_spectrograph_travels_as_its_path(spectrograph, images):
    sent = pickle.dumps(spectrograph)
    assert len(sent) < 1000
    again = pickle.loads(sent)  # noqa: S301
    assert again.dtype == "float32"
    same(again.predict(images[0]), spectrograph.predict(images[0]))
    made = PhotoSpectrograph(spectrograph.cascade, spectrograph.config)
    with pytest.raises(InputError, match="expected one read by PhotoSpectrograph"):
        pickle.dumps(made)
    bundled = pickle.loads(pickle.dumps(PhotoSpectrograph.load()))  # noqa: S301
    assert bundled._loaded_from == (None,)
