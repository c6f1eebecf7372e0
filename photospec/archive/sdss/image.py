"""The image of any place that the SDSS has seen."""

import contextlib
from os import PathLike
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData

from photospec.archive.galactic_dust import galactic_ebv_at
from photospec.archive.sdss.addresses import frame_name, frame_url, servers
from photospec.archive.sdss.catalogue import SkyServer, fields_near_sql
from photospec.archive.sdss.fields import read_frame
from photospec.archive.sdss.settings import DownloadConfig
from photospec.archive.transfer import Client, FileRefused, GiveUp
from photospec.errors import InputError
from photospec.image import sky_position
from photospec.image.frames import Grid, combine, cut

__all__ = ["sdss_image"]

SEARCH_RADIUS = 2.0  # arcmin; wherever the SDSS looked it found something closer
MOST_FIELDS = 3  # the nearest ones are tried; a target near an edge lies in two
KINDS = {"run": "int", "rerun": "int", "camcol": "int", "field": "int", "distance": "float"}


def sdss_image(
    coord: SkyCoord | tuple[float, float],
    *,
    size: int = 96,
    bands: str = "ugriz",
    folder: str | PathLike | None = None,
    config: DownloadConfig | None = None,
) -> NDData:
    """Fetch the image of a place on the sky from the SDSS.

    Of the fields that cover the place the one is taken on which the cutout is most complete.
    The image is made as those of `photospec.archive.download` are.

    Parameters
    ----------
    coord : SkyCoord or (float, float)
        One position; a pair is right ascension and declination in degrees (ICRS).
    size : int
        Side of the image, pixels of 0.396 arcsec.
    bands : str
        Bands, r among them.
    folder : path-like, optional
        Where frames are kept for the next time (17 MB a field); astropy's cache by default.
    config : DownloadConfig, optional
        Addresses, time-outs and numbers of attempts.

    Returns
    -------
    NDData
        Data (n_bands, size, size) in nanomaggies with WCS, mask (outside of the frame) and
        uncertainty; ``meta`` has ``bands``, ``pixel_scale``, ``position``, ``name``, ``url``.

    Raises
    ------
    InputError
        The position is none, or off the SDSS footprint; or the server cannot be reached.
    """
    position = sky_position(coord)
    base = config or DownloadConfig(n_attempts=4, max_backoff=10.0, max_outage=60.0)
    config = base.replace(size=size, bands="".join(bands), confirm=False)
    folder = Path(folder) if folder is not None else _cache()
    with servers(config):
        rows = SkyServer(config).rows(fields_near_sql(*position, SEARCH_RADIUS), KINDS)
        if not rows:
            raise InputError(
                f"position: expected a place that the SDSS has imaged, got ra {position[0]:.5f},"
                f" dec {position[1]:+.5f} with no object within {SEARCH_RADIUS:g} arcmin;"
                " off the footprint"
            )
        client = Client(config)
        places = [tuple(row[k] for k in ("run", "rerun", "camcol", "field")) for row in rows]
        try:
            place, reference, grid = _best(config, folder, client, places[:MOST_FIELDS], position)
            pieces = {}
            for band in config.bands:
                frame = reference if band == "r" else _frame(config, folder, client, place, band)
                pieces[band] = cut(frame, reference.wcs, grid)
            url = frame_url(config.release, *place, "r")
        except GiveUp as error:
            raise InputError(f"position: the frames could not be fetched: {error}") from None
    run, rerun, camcol, field = place
    meta = {
        "run": run, "rerun": rerun, "camcol": camcol, "field": field,
        "date": reference.meta["date"], "url": url, "name": f"sdss-{run:06d}-{camcol}-{field:04d}",
    }  # fmt: skip
    # Frames have no E(B-V): without a map it is unknown.
    with contextlib.suppress(InputError):
        meta["galactic_ebv"] = galactic_ebv_at(*position)
    return combine(pieces, grid, reference.wcs, meta)


def _best(config, folder, client, places, position):
    """Return the field on whose r frame the cutout is most complete."""
    best, least = None, np.inf
    for place in places:
        frame = _frame(config, folder, client, place, "r")
        grid = Grid.around(frame.wcs, *position, config.size)
        if grid.outside(frame.data.shape):
            continue
        masked = np.isnan(cut(frame, frame.wcs, grid)[0]).mean()
        if masked < least:
            best, least = (place, frame, grid), masked
        if masked == 0:
            break
    if best is None:
        raise InputError(
            f"position: expected a place on an SDSS frame, got ra {position[0]:.5f}, dec"
            f" {position[1]:+.5f}, beyond the frames around it; at the edge of the footprint"
        )
    return best


def _frame(config, folder, client, place, band):
    run, rerun, camcol, field = place
    path = folder / frame_name(run, camcol, field, band)

    def check(path):
        return read_frame(path, band, run, camcol, field)

    if path.exists():
        try:
            return check(path)[0]
        except FileRefused:
            path.unlink()
    url = frame_url(config.release, run, rerun, camcol, field, band)
    return client.fetch(url, path, check).content


def _cache():
    from astropy.config import get_cache_dir

    return Path(get_cache_dir()) / "photospec"
