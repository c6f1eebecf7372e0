"""The stage for RAIL against what it wraps; needs RAIL itself, the extra ``rail``."""

import numpy as np
import pytest

import photospec.rail
from photospec import PhotoSpectrograph
from photospec.errors import InputError

needs_rail = pytest.mark.skipif(
    photospec.rail.CatEstimator is None, reason="RAIL is not installed (the extra rail)"
)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 32
    light = np.array([0.3, 1, 2, 3, 4])[:, None, None] * np.exp(-np.hypot(x, y) / 4)
    images = light * rng.uniform(0.5, 2, (7, 5, 1, 1)) + 0.01 * rng.standard_normal((7, 5, 64, 64))
    ebv = np.array([0.0, 0.02, np.nan, 0.3, 0.1, 0.05, np.nan])
    return {"image": images.astype(np.float32), "ebv": ebv, "object_id": np.arange(7) + 100}


@pytest.fixture(scope="module")
def density(table):
    spectrograph = PhotoSpectrograph.load()
    stage = photospec.rail.PhotospecEstimator.make_stage(name="made", hdf5_groupname="")
    return spectrograph.redshift_density(stage._images(table))


@needs_rail
def test_a_table_in_memory(table, density):
    stage = photospec.rail.PhotospecEstimator.make_stage(
        name="memory", hdf5_groupname="", output_mode="return", calculated_point_estimates=["zmode"]
    )
    ensemble = stage.estimate(table).data
    grid = np.linspace(0, 0.6, 601)
    np.testing.assert_allclose(ensemble.pdf(grid), density.pdf(grid), rtol=0.02, atol=0.02)
    np.testing.assert_allclose(np.ravel(ensemble.mean()), density.mean, atol=1e-4)
    np.testing.assert_allclose(ensemble.ancil["zmean"], density.mean)
    np.testing.assert_array_equal(ensemble.ancil["id"], table["object_id"])
    flagged = ["out_of_distribution" in flags for flags in density.flags]
    np.testing.assert_array_equal(ensemble.ancil["out_of_distribution"], flagged)
    assert ["galactic_ebv_assumed" in flags for flags in density.flags] == [
        False, False, True, False, False, False, True,
    ]  # fmt: skip


@needs_rail
def test_a_file_in_chunks(table, density, tmp_path, monkeypatch):
    import h5py
    import qp

    monkeypatch.chdir(tmp_path)
    with h5py.File("images.hdf5", "w") as file:
        for name, column in table.items():
            file.create_dataset(f"photometry/{name}", data=column)
    stage = photospec.rail.PhotospecEstimator.make_stage(
        name="chunks", input="images.hdf5", output="densities.hdf5", chunk_size=3
    )
    stage.run()
    stage.finalize()
    ensemble = qp.read("densities.hdf5")
    assert ensemble.npdf == 7
    np.testing.assert_allclose(np.ravel(ensemble.mean()), density.mean, atol=1e-4)


@needs_rail
def test_what_is_no_image(table):
    stage = photospec.rail.PhotospecEstimator.make_stage(
        name="bad", hdf5_groupname="", output_mode="return", image_column="cutout"
    )
    with pytest.raises(InputError, match="expected a column cutout of images, got image, ebv"):
        stage.estimate(table)
    stage = photospec.rail.PhotospecEstimator.make_stage(
        name="short", hdf5_groupname="", output_mode="return", bands="gri"
    )
    with pytest.raises(InputError, match="image number 0 of 7"):
        stage.estimate(table)


@pytest.mark.skipif(photospec.rail.CatEstimator is not None, reason="RAIL is installed")
def test_without_rail():
    with pytest.raises(InputError, match=r"pip install photospec\[rail\]"):
        photospec.rail.PhotospecEstimator  # noqa: B018
