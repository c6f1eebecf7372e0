"""Which pairs are learnt from: selection, split, missing pixels, augmentation."""

import h5py
import numpy as np
import pytest
import torch

from photospec.errors import InputError, PhotospecWarning
from photospec.training.data import PairsStream, augment, bridge, shift, usable
from photospec.training.settings import DataSettings


@pytest.fixture
def stream_of(settings, request):
    def make(paths, *, data=None, **changes):
        config = settings(**{"augment": False, "data": DataSettings(**(data or {}))} | changes)
        stream = PairsStream(paths, config)
        request.addfinalizer(stream.close)
        return stream

    return make


@pytest.fixture
def spoilt(write_pairs, tmp_path):
    """Observed pairs of which number 3 is masked, 5 has a negative bin, 8 has no numbers."""
    path = write_pairs(tmp_path / "spoilt.h5", 40)
    with h5py.File(path, "r+") as file:
        file["spectrum/ivar"][3] = 0
        file["spectrum/flux"][5, 100] = -1
        file["spectrum/ivar"][6, 50:60] = 0
        file["spectrum/flux"][6, 50:60] = np.nan
        file["image"][8] = np.nan
    return path


def test_pairs_that_cannot_be_used_are_named_or_left_out(stream_of, spoilt):
    stream = stream_of(spoilt, target="observed")
    with pytest.raises(InputError, match=r"pair 3 of .*masked throughout\? data.selection"):
        [stream.batch(step) for step in range(stream.steps_per_epoch)]
    with pytest.warns(PhotospecWarning, match="left out 2 of 40 that are not usable"):
        stream = stream_of(spoilt, target="observed", data={"selection": "usable"})
    assert stream.n_train == 40 - 16 - 2
    assert not {3, 8} & set(stream.rows.train.tolist())
    with pytest.warns(PhotospecWarning, match="left out 3 of 40 that are not positive"):
        stream = stream_of(spoilt, target="observed", data={"selection": "positive"})
    assert stream.rows.train.tolist() == [0, 1, 2, 4, 6, 7, *range(9, 24)]
    for step in range(stream.steps_per_epoch):
        assert stream.batch(step).flux.isfinite().all()


def test_random_split_holds_out_tests_and_validation(stream_of, pairs):
    data = {"split": "random", "test_fraction": 0.25, "correct_extinction": False}
    stream = stream_of(pairs, data=data)
    train, validation, test = stream.rows
    assert (len(train), len(validation), len(test)) == (72 - 16 - 18, 16, 18)
    assert sorted(np.concatenate(stream.rows)) == list(range(72))
    again, other = (
        stream_of(pairs, data=data, seed=5),
        stream_of(pairs, data=data | {"split_seed": 1}),
    )
    np.testing.assert_array_equal(again.rows.train, train)  # the seed of the run is another
    assert other.rows.train.tolist() != train.tolist()
    truth = stream.files[0].truth_flux()
    np.testing.assert_array_equal(stream.validation().flux.numpy(), truth[validation])
    seen = torch.cat([stream.batch(step).flux for step in range(4)]).numpy()
    assert not any(
        (flux == truth[np.concatenate([validation, test])]).all(1).any() for flux in seen
    )
    with pytest.raises(InputError, match="beside 16 for validation and 54 for tests"):
        stream_of(pairs, data=data | {"test_fraction": 0.75})
    with pytest.raises(InputError, match="more than 72 pairs in the first file, whose last 72 are"):
        stream_of([pairs, pairs], validation_pairs=72)


def test_bad_bins_are_bridged_and_told(stream_of, spoilt):
    stream = stream_of(spoilt, target="observed", data={"correct_extinction": False})
    batch = stream.read(np.array([2, 6]))
    assert batch.flux.isfinite().all()
    flux = stream.files[0].flux(6)
    expected = np.interp(np.arange(50, 60), [49, 60], flux[[49, 60]])
    np.testing.assert_allclose(batch.flux[1, 50:60], expected, rtol=1e-6)
    assert batch.ivar[1, 50:60].eq(0).all()
    assert batch.ivar[0].eq(torch.inf).all()
    data = {"weights": "ivar", "correct_extinction": False}
    weighted = stream_of(spoilt, target="observed", data=data).read(np.array([2, 6]))
    assert weighted.ivar[0].eq(1).all()
    plain = stream_of(spoilt, target="observed", data={"weights": "none"}).read(np.array([6]))
    assert plain.ivar is None
    assert plain.flux[0, 50:60].isnan().all()


def test_bridge_continues_the_ends():
    flux = np.array([[9.0, 2.0, 4.0, np.nan]], "f4")
    ivar = np.array([[0.0, 1.0, 1.0, 1.0]], "f4")
    flux, ivar = bridge(flux, ivar)
    assert flux.tolist() == [[2, 2, 4, 4]]
    assert ivar.tolist() == [[0, 1, 1, 0]]


def test_usable():
    image, flux = np.ones((6, 5, 4, 4)), np.ones((6, 4500))
    ivar = np.ones_like(flux)
    image[1] = np.nan
    image[2, 0, 0, 0] = np.nan  # a few may be missing where errors say what may
    flux[3, 7] = np.nan
    ivar[4, 100:] = 0
    flux[5] = 0
    assert usable(image, flux, ivar).tolist() == [True, False, True, True, False, False]
    assert usable(image, flux).tolist() == [True, False, False, False, True, False]


def test_a_shift_moves_the_centre_and_continues_the_edge():
    image = torch.arange(36.0).view(1, 1, 6, 6)
    moved = shift(image, 1, -2)
    assert moved[0, 0, 2, 3] == image[0, 0, 3, 1]
    assert moved[0, 0, 5, 0] == image[0, 0, 5, 0]
    assert torch.equal(shift(image, 0, 0), image)


def ways_of(settings, n=400, **data):
    """Where two marks of images go: the turns and shifts that happen."""
    image = torch.zeros(n, 1, 9, 9)
    image[:, 0, 4, 4], image[:, 0, 5, 6] = 1, 2
    changed = augment(image, np.random.default_rng(0), settings(data=DataSettings(**data)))
    centre = [tuple(torch.nonzero(one[0] == 1)[0].tolist()) for one in changed]
    mark = [tuple(torch.nonzero(one[0] == 2)[0].tolist()) for one in changed]
    return {(my - cy, mx - cx) for (cy, cx), (my, mx) in zip(centre, mark)}, set(centre)


def test_flips_rotations_and_crops_of_each_image(settings):
    each = {"each_image": True}
    turns, centres = ways_of(settings, **each)
    assert len(turns) == 8 and centres == {(4, 4)}  # noqa: PT018
    flips, _ = ways_of(settings, **each, rotations=False)
    assert flips == {(1, 2), (-1, 2), (1, -2), (-1, -2)}
    rotations, _ = ways_of(settings, **each, flips=False)
    assert rotations == {(1, 2), (-2, 1), (-1, -2), (2, -1)}
    still, centres = ways_of(settings, **each, flips=False, rotations=False, crop=1)
    assert still == {(1, 2)}
    assert centres == {(y, x) for y in (3, 4, 5) for x in (3, 4, 5)}
    alike, _ = ways_of(settings)
    assert len(alike) == 1
