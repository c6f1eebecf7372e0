import numpy as np
import pytest
import torch

from photospec.errors import InputError
from photospec.pairs import PairsFile
from photospec.spectrum import WAVELENGTH
from photospec.training.data import PairsStream, turn
from photospec.training.settings import DataSettings


@pytest.fixture
def stream_of(settings, request):
    def make(paths, **changes):
        plain = {"augment": False, "data": DataSettings(correct_extinction=False)}
        stream = PairsStream(paths, settings(**plain | changes))
        request.addfinalizer(stream.close)
        return stream

    return make


def rows(flux, path):
    """Which pairs of a file these spectra are."""
    with PairsFile(path) as file:
        everything = file.truth_flux()
    return [int(np.flatnonzero((everything == one).all(axis=1))[0]) for one in flux.numpy()]


def test_batches_are_pairs(stream_of, pairs):
    stream = stream_of(pairs)
    image, flux, *_ = stream.batch(0)
    assert image.shape == (8, 5, 64, 64)
    assert image.dtype == flux.dtype == torch.float32
    with PairsFile(pairs) as file:
        chosen = rows(flux, pairs)
        np.testing.assert_array_equal(image.numpy(), file.image(np.array(chosen)))


def test_an_epoch_shows_every_training_pair_once_and_no_other(stream_of, pairs):
    stream = stream_of(pairs)
    assert stream.n_train == 72 - 16
    epochs = []
    for epoch in range(2):
        seen = [rows(stream.batch(7 * epoch + step)[1], pairs) for step in range(7)]
        assert sorted(np.concatenate(seen)) == list(range(56))
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_validation_is_the_end_of_the_first_file(stream_of, pairs):
    stream = stream_of(pairs)
    assert rows(stream.validation()[1], pairs) == list(range(56, 72))
    assert rows(stream.validation(5)[1], pairs) == list(range(56, 61))


def test_seed_decides_the_order_and_any_step_comes_at_once(stream_of, pairs):
    first, second = stream_of(pairs, augment=True), stream_of(pairs, augment=True)
    for _ in range(9):
        first.batch(_)
    for step in (9, 3, 30):  # forwards and back
        for a, b in zip(first.batch(step)[:2], second.batch(step)[:2]):
            assert torch.equal(a, b)
    other = stream_of(pairs, augment=True, seed=1)
    assert not torch.equal(other.batch(3)[1], first.batch(3)[1])


def test_several_files_are_one(stream_of, write_pairs, pairs, tmp_path):
    second = write_pairs(tmp_path / "second.h5", 8, seed=1)
    third = write_pairs(tmp_path / "third.h5", 0, seed=2)
    stream = stream_of([pairs, second, third])
    assert stream.n_train == 56 + 8
    flux = torch.cat([stream.batch(step)[1] for step in range(8)])
    with PairsFile(pairs) as a, PairsFile(second) as b:
        wanted = np.concatenate([a.truth_flux(slice(56)), b.truth_flux()])
    order = np.argsort(flux[:, 0].numpy())
    np.testing.assert_array_equal(flux.numpy()[order], wanted[np.argsort(wanted[:, 0])])
    assert rows(stream.validation()[1], pairs) == list(range(56, 72))
    assert stream.signature != stream_of(pairs).signature
    assert stream_of(pairs).signature == stream_of(str(pairs)).signature


def test_truth_or_observed(stream_of, pairs):
    truth, observed = stream_of(pairs).batch(0)[1], stream_of(pairs, target="observed").batch(0)[1]
    torch.testing.assert_close(observed, 1.1 * truth)


@pytest.mark.parametrize("size", [8, 9])
def test_symmetries_keep_the_target_pixel(size):
    c = size // 2
    image = torch.zeros(1, 2, size, size)
    image[..., c, c] = 1
    image[..., c + 1, c + 2] = 2  # and a mark that tells them apart
    seen = set()
    for swap in (0, 1):
        for flip_x in (0, 1):
            for flip_y in (0, 1):
                turned = turn(image, swap, flip_x, flip_y)
                assert turned[0, 0, c, c] == 1
                (place,) = torch.nonzero(turned[0, 1] == 2).tolist()
                assert sorted(abs(value - c) for value in place) == [1, 2]
                seen.add(tuple(place))
    assert len(seen) == 8
    assert torch.equal(turn(image, 0, 0, 0), image)


def test_augmentation_turns_images_and_leaves_spectra(stream_of, pairs):
    plain, turned = stream_of(pairs), stream_of(pairs, augment=True)
    changed = 0
    for step in range(7):
        (image, flux, *_), (image2, flux2, *_) = plain.batch(step), turned.batch(step)
        assert torch.equal(flux, flux2)
        assert torch.equal(image[..., 32, 32], image2[..., 32, 32])
        changed += not torch.equal(image, image2)
    assert 3 <= changed <= 7


def test_bad_pairs(stream_of, write_pairs, pairs, tmp_path):
    cases = {
        "too few": (write_pairs(tmp_path / "a.h5", 20), "at least 8 pairs .one batch. beside 16"),
        "none": (write_pairs(tmp_path / "b.h5", 0), "got 0 in"),
        "another grid": (
            write_pairs(tmp_path / "c.h5", 30, wavelength=WAVELENGTH[:4000]),
            "training grid .4000 to 8499 Angstrom.*got 4000 to 7999",
        ),
        "no truth": (write_pairs(tmp_path / "d.h5", 30, truth=False), "set target to 'observed'"),
        "missing": (tmp_path / "nowhere.h5", "does not exist"),
        "no paths": ([], "expected at least one file"),
        "other bands": ([pairs, write_pairs(tmp_path / "e.h5", 9, bands="griz")], "bands: exp"),
        "other scale": ([pairs, write_pairs(tmp_path / "f.h5", 9, scale=0.2)], "got 0.2 in"),
        "other size": ([pairs, write_pairs(tmp_path / "g.h5", 9, size=32)], "got 32 x 32 pixels"),
    }
    for paths, message in cases.values():
        with pytest.raises(InputError, match=message) as error:
            stream_of(paths)
        assert "\n" not in str(error.value)
    (tmp_path / "half.h5").write_bytes(pairs.read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"half\.h5"):
        stream_of(tmp_path / "half.h5")
    stream_of(tmp_path / "d.h5", target="observed")
