"""Pairs files: what goes in comes out, whatever interrupts the writer."""

import hashlib
import multiprocessing
import os
import pickle
import signal
import time

import h5py
import numpy as np
import pytest

from photospec.errors import InputError
from photospec.pairs import FORMAT, PairsFile, PairsWriter

WAVELENGTH = np.arange(4000.0, 4030.0)
BANDS = ("g", "r", "i")
FORK = multiprocessing.get_context("fork")  # starts at once, and knows this module
PROVENANCE = {"seed": 1, "survey": {"name": "test"}}


def rows(start, stop):
    """Pairs whose every number is the number of the pair."""
    i = np.arange(start, stop)
    return {
        "image": np.broadcast_to(i[:, None, None, None], (i.size, 3, 8, 8)).astype("f4"),
        "flux": np.broadcast_to(i[:, None], (i.size, 30)).astype("f4"),
        "ivar": np.broadcast_to(i[:, None], (i.size, 30)).astype("f4"),
        "object": {"redshift": i / 100, "name": [f"galaxy-{k}" for k in i]},
        "truth": {"age": i * 1.0, "bulge": i % 2 == 0},
        "truth_flux": np.broadcast_to(i[:, None], (i.size, 30)) + 0.5,
    }


def writer(path, **kwargs):
    return PairsWriter(path, BANDS, 0.396, WAVELENGTH, PROVENANCE, **kwargs)


def write(path, *stops, **kwargs):
    with writer(path, **kwargs) as file:
        for stop in stops:
            file.append(**rows(file.n_pairs, stop))
    return path


def holds(path, n):
    """Check that a file holds exactly the first n pairs, whole."""
    with PairsFile(path) as file:
        assert len(file) == n
        i = np.arange(n, dtype="f4")
        np.testing.assert_array_equal(
            file.image(), np.broadcast_to(i[:, None, None, None], (n, 3, 8, 8))
        )
        for flux in (file.flux(), file.ivar(), file.truth_flux() - 0.5):
            np.testing.assert_array_equal(flux, np.broadcast_to(i[:, None], (n, 30)))
        np.testing.assert_array_equal(file.object["redshift"], np.arange(n) / 100)
        assert list(file.object["name"]) == [f"galaxy-{k}" for k in range(n)]
        np.testing.assert_array_equal(file.truth["bulge"], np.arange(n) % 2 == 0)
    return True


def test_round_trip(tmp_path):
    path = write(tmp_path / "a.h5", 5, 12)
    assert holds(path, 12)
    with PairsFile(path) as file:
        assert file.bands == BANDS
        assert file.pixel_scale == 0.396
        assert file.provenance == PROVENANCE
        np.testing.assert_array_equal(file.wavelength, WAVELENGTH)
        assert file.has_truth
        assert "12 pairs" in repr(file)
        assert file.image().dtype == np.float32
        assert set(file.truth.colnames) == {"age", "bulge"}
    assert list(tmp_path.iterdir()) == [path]


def test_layout_is_that_of_the_design(tmp_path):
    path = write(tmp_path / "a.h5", 3)
    with h5py.File(path) as file:
        assert file["image"].shape == (3, 3, 8, 8)
        assert file["spectrum/flux"].shape == (3, 30)
        assert file["spectrum/ivar"].dtype == np.float32
        assert file["spectrum/wavelength"].shape == (30,)
        assert file["object/redshift"].shape == (3,)
        assert file["truth/flux"].shape == (3, 30)
        assert file.attrs["format"] == FORMAT
        assert list(file.attrs["bands"]) == list(BANDS)
        assert file.attrs["pixel_scale"] == 0.396
        assert '"seed": 1' in file.attrs["provenance"]


@pytest.mark.parametrize(
    "index",
    [3, -1, np.int64(2), slice(2, 9, 3), slice(None, None, -1), [7, 1, 7], np.arange(12) % 3 == 0,
     [], np.array([-1, 0])],
)  # fmt: skip
def test_indices_are_those_of_numpy(tmp_path, index):
    path = write(tmp_path / "a.h5", 12)
    expected = rows(0, 12)
    with PairsFile(path) as file:
        chosen = index if not isinstance(index, list) else np.array(index, dtype=int)
        np.testing.assert_array_equal(file.image(index), expected["image"][chosen])
        np.testing.assert_array_equal(file.flux(index), expected["flux"][chosen])


def test_index_out_of_range(tmp_path):
    path = write(tmp_path / "a.h5", 4)
    with PairsFile(path) as file:
        for index in (4, -5, [0, 4], [True, False], [0.5]):
            with pytest.raises(IndexError, match="expected"):
                file.image(index)


def test_observed_pairs_have_no_truth(tmp_path):
    pairs = {key: value for key, value in rows(0, 3).items() if not key.startswith("truth")}
    with writer(tmp_path / "a.h5") as file:
        file.append(**pairs)
    with PairsFile(tmp_path / "a.h5") as file:
        assert not file.has_truth
        assert len(file.truth) == 0
        with pytest.raises(InputError, match="truth/flux"):
            file.truth_flux()


def test_same_input_same_bytes(tmp_path):
    digests = set()
    for name in ("a.h5", "b.h5"):
        path = write(tmp_path / name, 5, 12)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        time.sleep(1.1)  # time stamps of HDF5 are in seconds
    assert len(digests) == 1


def test_resume_goes_on(tmp_path):
    path = write(tmp_path / "a.h5", 5)
    write(path, 9, 12, resume=True)
    assert holds(path, 12)


def test_resume_without_a_file_starts_one(tmp_path):
    assert holds(write(tmp_path / "a.h5", 3, resume=True), 3)


def test_empty_file_and_resuming_it(tmp_path):
    path = tmp_path / "a.h5"
    with writer(path):
        pass
    with PairsFile(path) as file:
        assert len(file) == 0
        assert file.bands == BANDS
        assert len(file.object) == 0
    assert holds(write(path, 3, resume=True), 3)


def test_error_before_the_first_pair_leaves_no_file(tmp_path):
    with pytest.raises(ZeroDivisionError), writer(tmp_path / "a.h5"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_error_between_pairs_keeps_those_written(tmp_path):
    path = tmp_path / "a.h5"

    def fail():
        with writer(path) as file:
            file.append(**rows(0, 4))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert holds(path, 4)


def test_existing_file_is_kept_unless_told(tmp_path):
    path = write(tmp_path / "a.h5", 5)
    with pytest.raises(InputError, match="which exists"):
        writer(path)
    assert holds(path, 5)
    write(path, 2, overwrite=True)
    assert holds(path, 2)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"bands": ("u", "g", "r")}, "bands: expected that of"),
        ({"pixel_scale": 0.2}, "pixel_scale: expected that of"),
        ({"wavelength": WAVELENGTH + 1}, "wavelength: expected the grid"),
        ({"provenance": {"seed": 2}}, "provenance: expected that of"),
    ],
)
def test_resume_refuses_another_layout(tmp_path, change, match):
    path = write(tmp_path / "a.h5", 5)
    arguments = {
        "bands": BANDS, "pixel_scale": 0.396, "wavelength": WAVELENGTH, "provenance": PROVENANCE,
    }  # fmt: skip
    with pytest.raises(InputError, match=match):
        PairsWriter(path, **{**arguments, **change}, resume=True)
    assert holds(path, 5)


def drop(key):
    return lambda pairs: pairs.pop(key)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda pairs: pairs.update(image=pairs["image"][:, :2]), "image: expected"),
        (lambda pairs: pairs.update(image=pairs["image"][0]), "image: expected"),
        (lambda pairs: pairs.update(image=pairs["image"][..., :4]), "image: expected shape"),
        (lambda pairs: pairs.update(flux=pairs["flux"][:, :-1]), "spectrum/flux: expected"),
        (lambda pairs: pairs.update(ivar=pairs["ivar"][:-1]), "spectrum/ivar: expected"),
        (lambda pairs: pairs["object"].update(redshift=[1.0]), "object/redshift: expected"),
        (lambda pairs: pairs["object"].pop("name"), "columns: expected the same"),
        (lambda pairs: pairs["object"].update(more=np.ones(2)), "columns: expected the same"),
        (lambda pairs: pairs["truth"].update(flux=np.ones(2)), "plain column name"),
        (lambda pairs: pairs["truth"].update(age=["x", "y"]), "truth/age: expected float64"),
        (lambda pairs: pairs["object"].update(name=["x" * 65, "y"]), "at most 64 bytes"),
        (lambda pairs: pairs["object"].update(redshift=np.ones(2) * 1j), "numbers or text"),
        (drop("truth_flux"), "columns: expected the same"),
    ],
)
def test_wrong_rows_are_refused_and_leave_the_file_whole(tmp_path, change, match):
    path = tmp_path / "a.h5"
    with writer(path) as file:
        file.append(**rows(0, 3))
        wrong = rows(3, 5)
        change(wrong)
        with pytest.raises(InputError, match=match) as caught:
            file.append(**wrong)
        assert "\n" not in str(caught.value)
        file.append(**rows(3, 5))
    assert holds(path, 5)


# ---------------------------------------------------------------- interruption


def _write_forever(path, n_appended):
    with writer(path, resume=True) as file:
        n_appended.value = 0
        while True:
            file.append(**rows(file.n_pairs, file.n_pairs + 3))
            n_appended.value += 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_killed_writers_leave_whole_files(tmp_path):
    """Kill the writer again and again, at any moment: counted pairs stay, resuming works."""
    path = tmp_path / "a.h5"
    rng = np.random.default_rng(0)
    last = 0
    for _ in range(12):
        n_appended = FORK.RawValue("i", -1)  # no lock that a killed process would keep
        process = FORK.Process(target=_write_forever, args=(path, n_appended), daemon=True)
        process.start()
        enough, stop = rng.integers(-1, 4), time.monotonic() + 20
        while n_appended.value < enough and time.monotonic() < stop:
            time.sleep(1e-4)
        time.sleep(rng.uniform(0.0, 0.005))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        if not path.exists():
            continue
        with PairsFile(path) as file:
            n = len(file)
        assert n >= last + 3 * max(enough, 0)
        last = n
        assert holds(path, n) if n else True
    assert last >= 20
    write(path, last + 4, resume=True)
    assert holds(path, last + 4)


def test_reading_while_writing(tmp_path):
    path = tmp_path / "a.h5"
    with writer(path) as file:
        for stop in (3, 7, 8):
            file.append(**rows(file.n_pairs, stop))
            assert file.n_pairs == stop
            assert holds(path, stop)
    assert holds(path, 8)


def test_rows_beyond_the_count_are_not_seen(tmp_path):
    """As a writer leaves them that was killed between data and count."""
    path = write(tmp_path / "a.h5", 7)
    with h5py.File(path, "r+") as file:
        file.attrs["n_pairs"] = 4
    assert holds(path, 4)
    write(path, 6, resume=True)
    with PairsFile(path) as file:
        assert len(file) == 6
        np.testing.assert_array_equal(file.flux()[:, 0], np.arange(6))


def _sum_of(path_and_index):
    path, index = path_and_index
    with PairsFile(path) as file:
        return float(file.image(index).sum())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_many_readers(tmp_path):
    path = write(tmp_path / "a.h5", 12)
    with FORK.Pool(2) as pool:
        sums = pool.map(_sum_of, [(path, k) for k in range(12)])
    np.testing.assert_allclose(sums, np.arange(12) * 3 * 64)


def test_reader_travels_to_other_processes(tmp_path):
    path = write(tmp_path / "a.h5", 12)
    with PairsFile(path) as file:
        copy = pickle.loads(pickle.dumps(file))  # noqa: S301 - our own object
    assert len(copy) == 12
    np.testing.assert_array_equal(copy.flux(3), np.full(30, 3))
    copy.close()


# ---------------------------------------------------------------- bad files


def refused(path, match, **kwargs):
    with pytest.raises(InputError, match=match) as caught:
        PairsFile(path, **kwargs)
    assert "\n" not in str(caught.value)


def test_bad_files_are_refused(tmp_path):
    refused(tmp_path / "no.h5", "does not exist")
    (tmp_path / "text.h5").write_text("no HDF5")
    refused(tmp_path / "text.h5", "no HDF5")
    (tmp_path / "empty.h5").write_bytes(b"")
    refused(tmp_path / "empty.h5", "no HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    refused(tmp_path / "other.h5", "expected format")
    path = write(tmp_path / "a.h5", 12)
    refused(path, "bands: expected u,g,r, got g,r,i", bands="ugr")
    with PairsFile(path) as file:
        pass
    with pytest.raises(InputError, match="after close"):
        file.image()
    with pytest.raises(InputError, match="existing folder"):
        writer(tmp_path / "no" / "a.h5")


@pytest.mark.parametrize("fraction", [0.001, 0.05, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path, fraction):
    path = write(tmp_path / "a.h5", 12)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    refused(path, "cannot be read|no HDF5")


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda file: file.attrs.update(n_pairs=13), "expected 13 pairs"),
        (lambda file: file.attrs.pop("n_pairs"), "expected a count"),
        (lambda file: file.attrs.pop("bands"), "cannot be read"),
        (lambda file: file.attrs.update(provenance="{"), "cannot be read"),
        (lambda file: file.attrs.update(format="photospec-pairs-9"), "expected format"),
        (lambda file: file.pop("spectrum/ivar"), "expected spectrum/ivar"),
        (lambda file: file["image"].resize(5, axis=0), "expected 12 pairs"),
        (lambda file: file.attrs.update(bands=["g", "r"]), "images with 2 bands"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, match):
    refused(edit(write(tmp_path / "a.h5", 12), change), match)


def test_random_damage_is_read_or_refused(tmp_path):
    whole = write(tmp_path / "a.h5", 4).read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "b.h5"
    refusals = []
    for _ in range(60):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(broken)
        try:
            with PairsFile(path) as file:
                _ = file.image(), file.flux(), file.object, file.truth
        except InputError as error:
            refusals.append(str(error))
    assert 5 < len(refusals) < 60
    assert not any("\n" in text for text in refusals)
