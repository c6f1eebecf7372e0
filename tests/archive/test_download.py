"""From query to pairs, against the local server."""

import csv
import hashlib
import itertools
import tracemalloc

import numpy as np
import pytest
from local_sdss import Faults
from simulated_sky import BAND_FLUX, Sky, frame_path, measured, spectrum_path

from photospec.archive import download
from photospec.archive.sdss.store import Store
from photospec.pairs import PairsFile
from photospec.photometry.apertures import aperture_flux

BAD_DAY = Faults(busy=0.10, stall=0.05, cut=0.05, damage=0.01)
STALLED = {"read_timeout": 0.8, "query_timeout": 0.8}  # shorter than a stall of the server


def assert_complete(report, sky, server, folder):
    """Every galaxy is there, once, with its own image and spectrum, from right bytes."""
    assert (report.n_done, report.n_failed) == (len(sky.galaxies), 0)
    by_id = {galaxy["specObjID"]: galaxy for galaxy in sky.galaxies}
    with PairsFile(folder / "pairs.h5") as pairs:
        table = pairs.object
        assert sorted(table["specobjid"].tolist()) == sorted(by_id)
        center = pairs.image(0).shape[-1] // 2
        for i, row in enumerate(table):
            galaxy = by_id[row["specobjid"]]
            for name, column in (("ra", "ra"), ("dec", "dec"), ("z", "redshift")):
                assert row[column] == galaxy[name]
            # The H alpha line that the server put at the redshift of this galaxy.
            if galaxy["z"] < 0.29:
                near = abs(pairs.wavelength - 6564.6 * (1 + galaxy["z"])) < 2
                flux = pairs.flux(i)
                assert flux[near].mean() > np.median(flux) + 4
            assert pairs.ivar(i).min() > 0
            # The Gaussian that it put at the position of this galaxy; neighbours may add.
            flux = aperture_flux(pairs.image(i), 4.0, center=(center, center))
            expected = np.array([BAND_FLUX[band] for band in "ugriz"])
            assert np.all(flux > 0.97 * expected)
    urls = {}
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            urls[row["url"].removeprefix(server.url)] = row
    fields = {(g["run"], g["camcol"], g["field"]) for g in sky.galaxies}
    wanted = {frame_path(*place, band) for place in fields for band in "ugriz"}
    wanted |= {spectrum_path(galaxy) for galaxy in sky.galaxies}
    assert set(urls) == wanted
    for path, row in urls.items():
        body = sky.body(path)
        assert row["sha256"] == hashlib.sha256(body).hexdigest()
        assert int(row["size"]) == len(body)
        assert row["date"].startswith("20")
        local = folder / row["path"]
        assert local.exists() == (row["state"] == "arrived")
        if local.exists():
            assert local.read_bytes() == body
    assert not list(folder.rglob(".partial-*"))


def test_download_gives_every_galaxy_its_own_image_and_spectrum(small_sky, serve, tmp_path):
    server, settings = serve(small_sky)
    report = download(tmp_path, **settings)
    assert_complete(report, small_sky, server, tmp_path)
    with PairsFile(tmp_path / "pairs.h5") as pairs:
        assert pairs.bands == tuple("ugriz")
        assert pairs.provenance["source"] == "SDSS data release 17"
        for row in pairs.object:
            galaxy = next(g for g in small_sky.galaxies if g["specObjID"] == row["specobjid"])
            missing = small_sky.galaxies.index(galaxy) % 7 == 6
            for name in ("h_alpha_flux", "d4000_n", "lick_mgb_sub", "lgm_tot_p50", "oh_p50"):
                expected = np.nan if missing else measured(galaxy, name, "float")
                np.testing.assert_equal(row[f"mpa_{name}"], expected)
            assert row["petro_mag_r"] == pytest.approx(
                17.5 + 0.01 * small_sky.galaxies.index(galaxy)
            )
    # One frame for all galaxies on it, and no frame left behind.
    assert all(server.n_whole(path) == 1 for path in server.log if "frame-" in path)
    assert not list(tmp_path.rglob("frame-*"))


def test_faults_cost_time_and_nothing_else(serve, tmp_path):
    sky = Sky.simulated(n_fields=4, n_per_field=3, seed=7)
    server, settings = serve(sky, faults=BAD_DAY, seed=3)
    report = download(tmp_path, keep_frames=True, **settings | STALLED)
    assert_complete(report, sky, server, tmp_path)
    kinds = sum(server.log.values(), start=type(server.log["x"])())
    assert all(kinds[kind] for kind in ("busy", "stall", "cut"))


@pytest.mark.slow
def test_five_hundred_galaxies_on_a_bad_day(serve, tmp_path):
    sky = Sky.simulated(n_fields=100, n_per_field=5, seed=5)
    server, settings = serve(sky, faults=BAD_DAY, seed=8)
    report = download(tmp_path, keep_frames=True, **settings | STALLED | {"page_size": 100})
    assert_complete(report, sky, server, tmp_path)
    kinds = sum(server.log.values(), start=type(server.log["x"])())
    assert all(kinds[kind] for kind in ("truncated", "changed", "html", "another"))


def test_the_same_call_again_fetches_nothing(small_sky, serve, tmp_path):
    server, settings = serve(small_sky)
    download(tmp_path, **settings)
    before = sum(sum(counts.values()) for counts in server.log.values())
    report = download(tmp_path, **settings)
    assert report.n_done == len(small_sky.galaxies)
    assert sum(sum(counts.values()) for counts in server.log.values()) == before


def test_a_field_that_fails_today_comes_in_a_later_round(small_sky, serve, tmp_path):
    tries = {"n": 0}

    def fault(path):
        if "frame-g-001000-2" not in path:
            return None
        tries["n"] += 1
        return "busy" if tries["n"] <= 3 else None

    server, settings = serve(small_sky, fault_of=fault)
    report = download(tmp_path, **settings | {"n_attempts": 2})
    assert_complete(report, small_sky, server, tmp_path)
    assert tries["n"] == 4


def test_what_never_comes_is_reported_and_the_rest_arrives(small_sky, serve, tmp_path):
    lost = small_sky.galaxies[4]
    page = small_sky.galaxies[7]

    def fault(path):
        return "html" if path == spectrum_path(page) else None

    server, settings = serve(small_sky, fault_of=fault)
    body = small_sky.makers.pop(spectrum_path(lost))
    try:
        report = download(tmp_path, **settings | {"n_attempts": 2, "n_passes": 2})
    finally:
        small_sky.makers[spectrum_path(lost)] = body
    assert (report.n_done, report.n_failed) == (10, 2)
    reasons = " ".join(report.failures)
    assert "not on the server (HTTP 404)" in reasons
    assert "an HTML page (Service Temporarily Unavailable) where FITS was expected" in reasons
    with open(tmp_path / "failures.csv", newline="", encoding="utf-8") as file:
        failed = {int(row["specobjid"]) for row in csv.DictReader(file)}
    assert failed == {lost["specObjID"], page["specObjID"]}
    assert any(path.name.startswith("spec-") for path in (tmp_path / "quarantine").iterdir())
    with PairsFile(tmp_path / "pairs.h5") as pairs:
        assert not failed & set(pairs.object["specobjid"].tolist())
    # The page may be a file another day: the same call takes it then.
    server.fault_of = lambda path: None
    report = download(tmp_path, **settings)
    assert (report.n_done, report.n_failed) == (11, 1)
    assert len(PairsFile(tmp_path / "pairs.h5")) == 11
    # What the server did not have is asked for again only on demand.
    assert download(tmp_path, retry_failed=True, **settings).n_done == 12
    assert len(PairsFile(tmp_path / "pairs.h5")) == 12


def test_limit_and_selection(small_sky, serve, tmp_path):
    _, settings = serve(small_sky)
    report = download(tmp_path / "limit", limit=7, **settings)
    assert report.n_done == 7
    report = download(tmp_path / "where", where="s.z > 0.1 AND l.h_alpha_flux > 2", **settings)
    expected = [
        g["specObjID"]
        for i, g in enumerate(small_sky.galaxies)
        if g["z"] > 0.1 and i % 7 != 6 and measured(g, "h_alpha_flux", "float") > 2
    ]
    with PairsFile(report.pairs) as pairs:
        assert sorted(pairs.object["specobjid"].tolist()) == sorted(expected)
    assert len(expected) > 1


def test_dry_run_counts_and_fetches_no_file(small_sky, serve, tmp_path):
    server, settings = serve(small_sky)
    report = download(tmp_path / "new", dry_run=True, **settings)
    cost = report.estimate
    assert (cost.n_galaxies, cost.n_fields, cost.n_requests) == (12, 4, 4 * 5 + 2 * 12)
    assert cost.transfer == pytest.approx(20 * 3.6e6 + 24 * 1.8e5)
    assert "galaxies          12" in str(report)
    assert not any(path.startswith("/sas") for path in server.log)
    assert not (tmp_path / "new").exists()


def test_memory_of_the_state_does_not_grow_with_the_catalogue(tmp_path):
    store = Store(tmp_path / "state.sqlite")
    row = {f"mpa_{i}": 0.125 * i for i in range(60)} | {"rerun": 301, "camcol": 1}

    def peak(first, n):
        tracemalloc.start()
        for start in range(first, first + n, 500):
            page = [
                row | {"specobjid": i, "run": i // 3, "field": i % 7}
                for i in range(start, start + 500)
            ]
            store.add_galaxies(page, start)
        assert sum(1 for _ in store.galaxies("pending")) == first + n - 1
        assert sum(1 for _ in itertools.islice(store.fields(), 50)) == 50
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # As Python objects 2500 galaxies with their columns are 10 MB.
    few, many = peak(1, 500), peak(501, 2500)
    assert many < few + 2e6
    store.close()
