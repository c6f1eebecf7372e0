"""Everything a user may get wrong is one line, at once."""

import errno
import gc
import socket
import time

import numpy as np
import pytest
from astropy.table import Table
from local_sdss import LocalSDSS
from simulated_sky import Sky, frame_path, spectrum_bytes, spectrum_path

from photospec.archive import DownloadConfig, download, sdss_image
from photospec.archive import transfer as transfer_module
from photospec.archive.sdss.store import Store
from photospec.errors import InputError


def one_line(caught, *words):
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.fixture
def catalogue(small_sky):
    """The simulated galaxies as a user's own table, positions mixed."""
    names = {"fiberID": "fiberid", "specObjID": "specobjid", "z": "redshift"}
    rows = [{names.get(k, k): v for k, v in g.items() if k != "objID"} for g in small_sky.galaxies]
    order = np.random.default_rng(0).permutation(len(rows))
    return Table(rows=[rows[i] for i in order])


def test_empty_condition():
    with pytest.raises(InputError) as caught:
        DownloadConfig(where="  ")
    one_line(caught, "where: expected a condition in SQL, got an empty one")


def test_query_without_galaxies(small_sky, serve, tmp_path):
    _, settings = serve(small_sky)
    for dry_run in (True, False):
        with pytest.raises(InputError) as caught:
            download(tmp_path / "x", where="s.z > 9", dry_run=dry_run, **settings)
        one_line(caught, "where: expected a selection with galaxies in it, got none")


def test_query_that_the_server_refuses(small_sky, serve, tmp_path):
    _, settings = serve(small_sky)
    with pytest.raises(InputError) as caught:
        download(tmp_path, where="s.redshft > 0.1", **settings)
    one_line(caught, "where: SkyServer refuses the query", "s.redshft")


def test_two_statements(tmp_path):
    with pytest.raises(InputError) as caught:
        download(tmp_path, where="1 = 1; DROP TABLE SpecObj")
    one_line(caught, "where: expected one condition")


@pytest.mark.parametrize(
    ("name", "value"),
    [("bands", "gx"), ("bands", "ug"), ("size", 4), ("n_connections", 0), ("limit", -1)],
)
def test_bad_setting(tmp_path, name, value):
    with pytest.raises(InputError) as caught:
        download(tmp_path, **{name: value})
    one_line(caught, f"{name}: expected")


def test_unknown_setting(tmp_path):
    with pytest.raises(InputError) as caught:
        download(tmp_path, n_conections=3)
    one_line(caught, "n_conections")


def test_other_settings_in_a_folder_that_is_begun(small_sky, serve, tmp_path):
    _, settings = serve(small_sky)
    download(tmp_path, **settings)
    with pytest.raises(InputError) as caught:
        download(tmp_path, **settings | {"size": 40})
    one_line(caught, "size: expected 32 as when", "got 40")


def test_own_catalogue(small_sky, serve, catalogue, tmp_path):
    server, settings = serve(small_sky)
    path = tmp_path / "galaxies.ecsv"
    catalogue["my_weight"] = np.arange(len(catalogue)) * 0.5
    catalogue.write(path)
    report = download(tmp_path / "out", catalogue=path, **settings)
    assert report.n_done == 12
    assert not server.queries
    from photospec.pairs import PairsFile

    pairs = PairsFile(report.pairs)
    weight = dict(zip(catalogue["specobjid"], catalogue["my_weight"]))
    for row in pairs.object:
        assert row["my_weight"] == weight[row["specobjid"]]


def test_catalogue_without_columns(catalogue, tmp_path):
    del catalogue["run2d"], catalogue["camcol"]
    with pytest.raises(InputError) as caught:
        download(tmp_path, catalogue=catalogue)
    one_line(caught, "catalogue: expected the columns", "got none named run2d, camcol")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t["dec"].__setitem__(3, 95.0), "dec in -90..90 degrees, got"),
        (lambda t: t["ra"].__setitem__(3, np.nan), "ra in 0..360"),
        (lambda t: t["specobjid"].__setitem__(3, t["specobjid"][2]), "is there twice"),
        (lambda t: t.remove_rows(slice(None)), "got a table without rows"),
        (lambda t: t.replace_column("plate", ["x"] * len(t)), "expected a number (int)"),
    ],
)
def test_catalogue_with_impossible_rows(catalogue, tmp_path, change, words):
    change(catalogue)
    with pytest.raises(InputError) as caught:
        download(tmp_path, catalogue=catalogue)
    one_line(caught, "catalogue", words)


def test_catalogue_that_is_no_table(tmp_path):
    (tmp_path / "list.fits").write_text("not a table")
    for name in ("list.fits", "none.fits"):
        with pytest.raises(InputError) as caught:
            download(tmp_path / "x", catalogue=tmp_path / name)
        one_line(caught, "catalogue: expected a table that astropy reads")


def test_position_off_its_frame_and_on_an_edge(small_sky, serve, catalogue, tmp_path):
    _, settings = serve(small_sky)
    catalogue.sort("specobjid")
    catalogue["dec"][0] += 0.02  # 180 pixels on frames of 150
    edge = next(g for g in small_sky.galaxies if g["specObjID"] == catalogue["specobjid"][1])
    from photospec.archive.sdss.fields import read_frame

    path = tmp_path / "frame"
    place = (edge["run"], edge["camcol"], edge["field"])
    path.write_bytes(small_sky.body(frame_path(*place, "r")))
    frame = read_frame(path, "r", *place)[0]
    ra, dec = frame.wcs.pixel_to_world_values(3, 60)
    catalogue["ra"][1], catalogue["dec"][1] = float(ra), float(dec)
    report = download(tmp_path / "out", catalogue=catalogue, **settings)
    assert (report.n_done, report.n_failed) == (10, 2)
    reasons = "; ".join(report.failures)
    assert "pixels off frame-r-" in reasons
    assert "catalogue and field disagree" in reasons
    assert "on the edge of its frame: 4" in reasons  # 13 of 32 columns


def test_wrong_identifier_inside(serve, tmp_path):
    sky = Sky.simulated(n_fields=1, n_per_field=2, seed=4)
    one, other = sky.galaxies
    sky.makers[spectrum_path(one)] = lambda: spectrum_bytes(other)
    _, settings = serve(sky)
    report = download(tmp_path, **settings | {"n_attempts": 2, "n_passes": 1})
    assert (report.n_done, report.n_failed) == (1, 1)
    (reason,) = report.failures
    assert "is another object inside: expected FIBERID = 1, got 2" in reason


def test_no_network_at_all(tmp_path):
    # A port on which nobody listens, and a host that no name server knows.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    for options in ({}, {"dry_run": True}):
        with pytest.raises(InputError) as caught:
            download(tmp_path / "x", skyserver_url=nowhere, sas_url=nowhere, **options)
        one_line(caught, "network: expected to reach http://127.0.0.1")
    with pytest.raises(InputError) as caught:
        sdss_image((185.73, 8.15), config=DownloadConfig(skyserver_url=nowhere, sas_url=nowhere))
    one_line(caught, "network: expected to reach SkyServer")


def test_html_instead_of_a_catalogue(small_sky, serve, tmp_path):
    _, settings = serve(small_sky, fault_of=lambda path: "html" if path == "query" else None)
    with pytest.raises(InputError) as caught:
        download(tmp_path, **settings | {"n_attempts": 3})
    one_line(caught, "got an HTML page (Service Temporarily Unavailable)")


def test_busy_catalogue(small_sky, serve, tmp_path):
    _, settings = serve(small_sky, fault_of=lambda path: "busy" if path == "query" else None)
    with pytest.raises(InputError) as caught:
        download(tmp_path, **settings | {"n_attempts": 3})
    one_line(caught, "HTTP 503")


def test_disk_too_small(small_sky, serve, tmp_path, monkeypatch):
    _, settings = serve(small_sky)
    usage = type("usage", (), {"free": 10_000_000})
    monkeypatch.setattr("photospec.archive.sdss.download.shutil.disk_usage", lambda path: usage)
    with pytest.raises(InputError) as caught:
        download(tmp_path, **settings)
    one_line(caught, "of free space in", "got 10.0 MB")


def test_disk_full_on_the_way(small_sky, serve, tmp_path, monkeypatch):
    _, settings = serve(small_sky)
    written = []

    def full(self, url, partial):
        written.append(url)
        if len(written) > 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        return transfer(self, url, partial)

    transfer = transfer_module.Client._transfer
    monkeypatch.setattr(transfer_module.Client, "_transfer", full)
    with pytest.raises(InputError) as caught:
        download(tmp_path, **settings)
    one_line(caught, "no space left", "run the same command again")
    monkeypatch.setattr(transfer_module.Client, "_transfer", transfer)
    assert download(tmp_path, **settings).n_done == 12


def test_second_download_in_one_folder(small_sky, serve, tmp_path):
    import fcntl

    _, settings = serve(small_sky)
    with open(tmp_path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError) as caught:
            download(tmp_path, **settings)
    one_line(caught, "another download is running")


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError) as caught:
        download(tmp_path / "x")
    one_line(caught, "folder: expected a folder, got the file")


def test_state_that_is_no_database(tmp_path):
    (tmp_path / "state.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(InputError) as caught:
        Store(tmp_path / "state.sqlite")
    one_line(caught, "folder: expected the state of a download")
    del caught
    gc.collect()  # Python from 3.13 on warns of a file that was left open


@pytest.mark.parametrize(
    "coord", [(1, 2, 3), ("a", "b"), (10.0, 95.0), (np.nan, 1.0), 7, ([1, 2], [3, 4])]
)
def test_bad_position(coord):
    with pytest.raises(InputError) as caught:
        sdss_image(coord)
    one_line(caught, "position: expected")


def test_position_off_the_footprint(small_sky, serve, tmp_path):
    _, settings = serve(small_sky)
    config = _config(settings)
    with pytest.raises(InputError) as caught:
        sdss_image((10.0, -60.0), config=config, folder=tmp_path)
    one_line(caught, "no object within 2 arcmin; off the footprint")
    galaxy = small_sky.galaxies[0]
    with pytest.raises(InputError) as caught:
        sdss_image((galaxy["ra"] + 0.02, galaxy["dec"]), config=config, folder=tmp_path)
    one_line(caught, "at the edge of the footprint")


def _config(settings):
    return DownloadConfig(**{k: v for k, v in settings.items() if k != "progress"})


def test_server_that_goes_away_and_comes_back(small_sky, quick, tmp_path):
    """An outage in the middle costs no attempts: the download waits for its end."""
    import threading

    first = LocalSDSS(small_sky, latency=0.05).__enter__()
    settings = quick | {"skyserver_url": first.url, "sas_url": first.url + "/sas"}
    result = []
    thread = threading.Thread(
        target=lambda: result.append(download(tmp_path, **settings | {"n_attempts": 3}))
    )
    thread.start()
    while not any("frame" in path for path in list(first.log)):
        time.sleep(0.01)
    port = first._server.server_port
    first.__exit__(None, None, None)
    time.sleep(1.5)
    second = LocalSDSS(small_sky, port=port).__enter__()
    thread.join(timeout=60)
    second.__exit__(None, None, None)
    assert result
    assert result[0].n_done == 12
