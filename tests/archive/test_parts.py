"""The parts of the download, one by one."""

import time

import numpy as np
import pytest
from simulated_sky import frame_path, spectrum_path

from photospec.archive import DownloadConfig
from photospec.archive.sdss.addresses import frame_url, servers, spectrum_url
from photospec.archive.sdss.assemble import training_spectrum
from photospec.archive.sdss.catalogue import (
    IDENTIFIERS,
    MEASUREMENTS,
    PHOTOMETRY,
    SkyServer,
    _NotATable,
    _parse,
    catalogue_sql,
    fields_near_sql,
    measurement_sql,
)
from photospec.archive.sdss.download import DownloadProgress, clock, estimate, volume
from photospec.archive.sdss.fields import check_spectrum, read_frame
from photospec.archive.sdss.store import Store
from photospec.archive.transfer import Client, FileRefused, GiveUp, Limiter, Missing, html_summary
from photospec.errors import InputError

CSV = "#Table1\nspecobjid,redshift,run2d,plate\n{},0.1,v5_7_0,{}\n"
KINDS = {"specobjid": "id", "redshift": "float", "run2d": "str", "plate": "int"}


# Addresses of files that are on the real server (documentation and the astroquery tests).
def test_addresses_of_real_files():
    assert frame_url(17, 1904, 301, 3, 164, "g") == (
        "https://data.sdss.org/sas/dr17/eboss/photoObj/frames/301/1904/3/"
        "frame-g-001904-3-0164.fits.bz2"
    )
    assert "/dr18/prior-surveys/sdss4-dr17-eboss/photoObj/" in frame_url(18, 1, 301, 1, 1, "r")
    assert "/dr12/boss/photoObj/" in frame_url(12, 1, 301, 1, 1, "r")
    assert spectrum_url(17, "26", 266, 51630, 486) == (
        "https://data.sdss.org/sas/dr17/sdss/spectro/redux/26/spectra/lite/0266/"
        "spec-0266-51630-0486.fits"
    )
    assert spectrum_url(18, "v5_13_2", 10000, 57346, 7).endswith(
        "/dr18/spectro/sdss/redux/v5_13_2/spectra/lite/10000/spec-10000-57346-0007.fits"
    )


def test_addresses_follow_astroquery_and_the_settings():
    from astroquery.sdss import conf

    with conf.set_temp("sas_baseurl", "http://mirror/sas"):
        assert frame_url(17, 1, 301, 1, 1, "r").startswith("http://mirror/sas/dr17/")
        with servers(DownloadConfig(sas_url="http://other")):
            assert frame_url(17, 1, 301, 1, 1, "r").startswith("http://other/dr17/")
        assert frame_url(17, 1, 301, 1, 1, "r").startswith("http://mirror/sas/dr17/")


def test_every_query_fits_into_an_address():
    from urllib.parse import quote_plus

    config = DownloadConfig()
    queries = [measurement_sql(config, g, 2**64, 2**64) for g in MEASUREMENTS.values()]
    for sql in (*queries, catalogue_sql(config, 2**64, 10000)):
        assert len(quote_plus(sql)) < 2048


def test_columns_are_those_of_the_real_tables():
    """Against the lists of columns that astroquery carries."""
    import json

    from astropy.utils.data import get_pkg_data_contents

    there = {}
    for alias, table in (("p", "PhotoObjAll"), ("s", "SpecObjAll")):
        text = get_pkg_data_contents(f"data/{table}_dr12.json", package="astroquery.sdss")
        there[alias] = {row["name"].lower() for row in json.loads(text)[0]["Rows"]}
    for expression, _ in (IDENTIFIERS | PHOTOMETRY).values():
        alias, name = expression.split(".")
        assert name.lower() in there[alias]
    for alias, name in ("p", "fieldid"), ("p", "clean"), ("s", "legacy_target1"), ("s", "zwarning"):
        assert name in there[alias]


def test_queries():
    config = DownloadConfig(where="x.d4000_n > 1.6")
    sql = catalogue_sql(config, 17, 100)
    assert sql.startswith("SELECT TOP 100 s.specObjID AS specobjid, ")
    assert "JOIN galSpecIndx AS x ON x.specObjID = s.specObjID" in sql
    assert "galSpecLine" not in sql
    assert sql.endswith("WHERE s.specObjID > 17 AND (x.d4000_n > 1.6) ORDER BY s.specObjID")
    assert "dbo.fGetNearbyObjEq(185.7300000, -8.1500000, 2)" in fields_near_sql(185.73, -8.15, 2.0)
    names = [*IDENTIFIERS, *PHOTOMETRY, *(name for g in MEASUREMENTS.values() for name in g)]
    assert len(names) == len(set(names))


def test_identifiers_beyond_signed_integers_stay_whole(tmp_path):
    big = 12345678901234567890  # plate 10965: above 2**63
    (row,) = _parse(CSV.format(big, "null"), KINDS)
    assert row == {"specobjid": big, "redshift": 0.1, "run2d": "v5_7_0", "plate": None}
    store = Store(tmp_path / "s")
    place = {"run": 1, "rerun": 301, "camcol": 1, "field": 1}
    store.add_galaxies([{"specobjid": i} | place for i in (big, 5, 2**53 + 1)], big)
    order = [r["specobjid"] for r, _ in store.galaxies("pending")]
    assert order == [5, 2**53 + 1, big]
    store.mark([(big, "done", "")])
    assert store.counts() == {"done": 1, "pending": 2}
    assert int(store.get("catalogue_after")) == big
    store.close()


def test_no_query_of_the_state_reads_all_galaxies(tmp_path, monkeypatch):
    """Each is asked thousands of times: it must go through an index, and sort nothing."""
    store = Store(tmp_path / "s")
    asked = []
    original = Store._all

    def spy(self, sql, values=()):
        asked.append((sql, values))
        return original(self, sql, values)

    monkeypatch.setattr(Store, "_all", spy)
    place = {"rerun": 301, "camcol": 1}
    store.add_galaxies([{"specobjid": i, "run": i % 3, "field": i % 2} | place for i in range(9)])
    assert list(store.fields()) == sorted(store.fields())
    assert [row["specobjid"] for row in store.pending(1, 301, 1, 1)] == [1, 7]
    assert len(list(store.galaxies("pending"))) == 9
    store.add_file("http://a", "a", size=1)
    store.write_manifest(tmp_path / "manifest.csv")
    for sql, values in asked:
        plan = " ".join(str(row) for row in original(store, f"EXPLAIN QUERY PLAN {sql}", values))
        assert "SCAN" not in plan, sql
        assert "TEMP B-TREE" not in plan, sql
        if "camcol = ?" in sql or "> (?" in sql:
            assert "by_field" in plan, sql
    store.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#Table1\n",
        CSV.format(1, 2)[:-1],
        CSV.format(1, 2) + "3,0.2\n",
        CSV.format("1.5", 2),
        "#Table1\nplate,run2d\n1,26\n",
        "<html><body>Down for maintenance</body></html>",
    ],
)
def test_answers_that_are_no_table_are_asked_for_again(text):
    with pytest.raises(_NotATable):
        _parse(text, KINDS)


def test_an_answer_is_believed_when_it_came_twice(monkeypatch):
    good, bad = CSV.format(11, 1), CSV.format(91, 1)
    answers = iter([good, bad, bad.replace("0.1", "0.7"), good])
    monkeypatch.setattr(SkyServer, "_ask", lambda self, sql: next(answers))
    server = SkyServer(DownloadConfig(), sleep=lambda seconds: None)
    assert server.rows("...", KINDS)[0]["specobjid"] == 11
    assert next(answers, None) is None


def test_queries_keep_to_the_limit(small_sky, serve):
    server, settings = serve(small_sky)
    slept = []
    settings = {k: v for k, v in settings.items() if k != "progress"}
    config = DownloadConfig(**settings | {"queries_per_minute": 60.0})
    with servers(config):
        sky = SkyServer(config, sleep=slept.append)
        assert sky.count() == (12, 4)
    assert len(server.queries) == 2  # asked twice, to compare
    assert 0.5 < sum(slept) <= 1.0


def test_limiter_spaces_all_threads():
    slept = []
    limiter = Limiter(100.0)
    for _ in range(5):
        limiter.wait(slept.append)
    assert len(slept) == 4
    assert 0.03 < max(slept) <= 0.041
    limiter.hold(7.0)
    limiter.wait(slept.append)
    assert 6.9 < slept[-1] <= 7.0


def client(quick, tmp_path, **changes):
    settings = {k: v for k, v in quick.items() if k != "progress"}
    return Client(DownloadConfig(**settings | changes), tmp_path / "quarantine")


def test_retry_after_holds_everybody(small_sky, serve, quick, tmp_path):
    galaxy = small_sky.galaxies[0]
    kinds = iter(["busy"])
    server, _ = serve(small_sky, fault_of=lambda path: next(kinds, None))
    server.retry_after = 1
    one = client(quick, tmp_path, max_backoff=5.0)
    started = time.monotonic()
    fetched = fetch_spectrum(one, server, galaxy, tmp_path)
    assert time.monotonic() - started > 0.9
    assert fetched.n_attempts == 3  # refused, then twice to compare


def fetch_spectrum(one, server, galaxy, tmp_path):
    ids = (galaxy["plate"], galaxy["mjd"], galaxy["fiberID"])
    url = server.url + spectrum_path(galaxy)
    return one.fetch(url, tmp_path / "spec.fits", lambda path: check_spectrum(path, *ids))


def test_missing_file_is_not_asked_for_again(small_sky, serve, quick, tmp_path):
    server, _ = serve(small_sky)
    with pytest.raises(Missing, match="not on the server"):
        client(quick, tmp_path).fetch(server.url + "/sas/none.fits", tmp_path / "x", None)
    assert server.log["/sas/none.fits"].total() == 1
    assert not list(tmp_path.iterdir())


def test_changed_byte_without_checksum_is_found(small_sky, serve, quick, tmp_path):
    galaxy = small_sky.galaxies[0]
    kinds = iter(["changed", "ok", "changed", "ok"])
    server, _ = serve(small_sky, fault_of=lambda path: next(kinds, None), seed=5)
    fetched = fetch_spectrum(client(quick, tmp_path), server, galaxy, tmp_path)
    assert fetched.path.read_bytes() == small_sky.body(spectrum_path(galaxy))


def test_slow_transfer_is_given_up(small_sky, serve, quick, tmp_path):
    server, _ = serve(small_sky, rate=2e4)
    one = client(quick, tmp_path, min_rate=1e6, read_timeout=0.2, n_attempts=1)
    with pytest.raises(GiveUp, match=r"slower than 1e\+06 bytes/s|timed out"):
        fetch_spectrum(one, server, small_sky.galaxies[0], tmp_path)


@pytest.mark.parametrize("kind", ["frame", "spectrum"])
def test_damaged_files_are_refused(small_sky, tmp_path, kind):
    galaxy = small_sky.galaxies[0]
    if kind == "frame":
        body = small_sky.body(frame_path(galaxy["run"], galaxy["camcol"], galaxy["field"], "r"))
        place = ("r", galaxy["run"], galaxy["camcol"], galaxy["field"])

        def check(path):
            return read_frame(path, *place)
    else:
        body = small_sky.body(spectrum_path(galaxy))

        def check(path):
            return check_spectrum(path, galaxy["plate"], galaxy["mjd"], galaxy["fiberID"])

    path = tmp_path / "file"
    path.write_bytes(body)
    assert check(path)[1] is (kind == "frame")
    rng = np.random.default_rng(6)
    cuts = [body[:n] for n in (0, 1, 10, 2880, len(body) // 3, len(body) - 1)]
    for wrong in (*cuts, body + b"\0" * 2880, b"<html><title>Oops</title>", b"text"):
        path.write_bytes(wrong)
        with pytest.raises(FileRefused) as caught:
            check(path)
        assert "\n" not in str(caught.value)
    if kind == "frame":  # bzip2 has checksums: any byte counts
        for _ in range(50):
            wrong = bytearray(body)
            wrong[rng.integers(len(body))] ^= 1 << rng.integers(8)
            path.write_bytes(wrong)
            with pytest.raises(FileRefused):
                check(path)


def test_fits_checksums_vouch_for_a_file(small_sky, tmp_path):
    from astropy.io import fits

    galaxy = small_sky.galaxies[0]
    path = tmp_path / "plain"
    path.write_bytes(small_sky.body(spectrum_path(galaxy)))
    with fits.open(path) as hdus:
        hdus.writeto(tmp_path / "sum", checksum=True)
    ids = (galaxy["plate"], galaxy["mjd"], galaxy["fiberID"])
    assert check_spectrum(tmp_path / "sum", *ids) == (None, True)
    body = bytearray((tmp_path / "sum").read_bytes())
    body[-60000] ^= 8
    (tmp_path / "sum").write_bytes(body)
    with pytest.raises(FileRefused, match="checksum of HDU"):
        check_spectrum(tmp_path / "sum", *ids)


def test_real_spectra_on_the_grid_of_the_networks(shared):
    from astropy.io import fits

    from photospec.spectrum import WAVELENGTH

    paths = sorted((shared / "real/spectra").glob("spec-0*.fits"))
    assert paths
    for path in paths:
        ids = [int(part) for part in path.stem.split("-")[1:]]
        check_spectrum(path, *ids)
        flux, ivar, lsf_sigma = training_spectrum(path)
        assert 0.8 < lsf_sigma < 1.7  # R of about 2000
        data = fits.getdata(path, 1)
        assert flux.shape == ivar.shape == (4500,)
        assert np.isfinite(flux).all()
        plain = np.interp(WAVELENGTH, 10.0 ** data["loglam"], data["flux"])
        # Same spectrum, less noise; means over 100 Angstrom agree.
        good = ivar > 0
        for start in range(0, 4500, 100):
            window = np.s_[start : start + 100]
            if good[window].all():
                error = 3 * np.sqrt(np.sum(1 / ivar[window])) / 100 + 0.02 * abs(
                    plain[window].mean()
                )
                assert abs(flux[window].mean() - plain[window].mean()) < error
        bad = (data["and_mask"] & (1 << 18)) != 0
        if bad.sum() > 20:
            middle = 10.0 ** np.median(data["loglam"][bad])
            assert ivar[np.argmin(abs(WAVELENGTH - middle))] == 0


def test_spectrum_without_flux_is_refused(small_sky, tmp_path):
    from astropy.io import fits

    path = tmp_path / "spec-0300-52000-0001.fits"
    path.write_bytes(small_sky.body(spectrum_path(small_sky.galaxies[0])))
    with fits.open(path, mode="update") as hdus:
        hdus[1].data["ivar"][:] = 0
    with pytest.raises(InputError, match="expected flux at 4000 to 8500"):
        training_spectrum(path)


def test_estimate_of_the_whole_sample(tmp_path):
    cost = estimate(DownloadConfig(), tmp_path / "new" / "folder", 300_000, 200_000)
    assert cost.transfer == pytest.approx(3.7e12, rel=0.05)
    # Frames are removed after use, so the disk holds much less than is transferred.
    assert cost.disk < 0.06 * cost.transfer
    assert 7 < cost.seconds / 86400 < 10
    assert "time              about 8 d" in str(cost)
    kept = estimate(DownloadConfig(keep_frames=True), tmp_path, 300_000, 200_000)
    assert kept.disk > 3.6e12


def test_progress_tells_rate_and_time_left(monkeypatch):
    now = {"t": 100.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["t"])
    progress = DownloadProgress(100, stream=None)
    now["t"] += 10
    progress.update(18, 2, 50_000_000)
    assert progress.line() == (
        "20 of 100 galaxies (20.0 %), 2 failed, 2.00/s, 5.0 MB/s, 00:00:40 left"
    )
    assert clock(90061) == "1 d 01:01:01"
    assert volume(3.4e12) == "3.4 TB"
    assert volume(12) == "12 B"


def test_html_summary():
    assert html_summary("SIMPLE = T") == ""
    assert html_summary("\n<html><head><TITLE> Not\n found </TITLE>") == "Not found"
    assert html_summary("<p>Server <b>busy</b></p>") == "Server busy"
