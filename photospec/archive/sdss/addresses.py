"""Where the SDSS keeps its files, built from astroquery's own patterns and addresses.

astroquery knows the servers and the layout of each data release (`astroquery.sdss.conf`,
`SDSS.IMAGING_URL_SUFFIX`, `SDSS.SPECTRA_URL_SUFFIX`) but reads whole files into memory, one
after another, and has no ``lite`` spectra; so its patterns are used here, not its transfer.
"""

from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath

from photospec.utils.optional import optional_imports

__all__ = [
    "PIXEL_SCALE",
    "cutout_path",
    "frame_name",
    "frame_url",
    "servers",
    "spectrum_name",
    "spectrum_url",
]


PIXEL_SCALE = 0.396  # arcsec, of all SDSS frames


@contextmanager
def servers(config):
    """Point astroquery at the servers that `config` names, for the length of a block.

    Parameters
    ----------
    config : DownloadConfig
        ``skyserver_url`` and ``sas_url``; empty leaves astroquery's setting.
    """
    with optional_imports():
        from astroquery.sdss import conf

    with ExitStack() as stack:
        if config.skyserver_url:
            stack.enter_context(conf.set_temp("skyserver_baseurl", config.skyserver_url))
        if config.sas_url:
            stack.enter_context(conf.set_temp("sas_baseurl", config.sas_url))
        yield


def frame_url(release, run, rerun, camcol, field, band):
    """Return the address of a corrected frame.

    Parameters
    ----------
    release, run, rerun, camcol, field : int
        Data release and place of the field in the imaging survey.
    band : str
        One of u, g, r, i, z.

    Returns
    -------
    str
        Address of a ``.fits.bz2`` file of about 3.5 MB.
    """
    with optional_imports():
        from astroquery.sdss import SDSS, conf

    if release > 17:
        instrument = "prior-surveys/sdss4-dr17-eboss"
    else:
        instrument = "eboss" if release > 12 else "boss"
    return SDSS.IMAGING_URL_SUFFIX.format(
        base=conf.sas_baseurl, dr=release, instrument=instrument,
        rerun=rerun, run=run, camcol=camcol, field=field, band=band,
    )  # fmt: skip


def spectrum_url(release, run2d, plate, mjd, fiberid):
    """Return the address of a ``lite`` spectrum (coadd, no single exposures).

    Parameters
    ----------
    release : int
        Data release.
    run2d : str
        Version of the extraction, "26" for the legacy spectrograph.
    plate, mjd, fiberid : int
        Plate, modified Julian date, fibre.

    Returns
    -------
    str
        Address of a FITS file of about 0.2 MB.
    """
    with optional_imports():
        from astroquery.sdss import SDSS, conf

    redux = "spectro/sdss/redux" if release > 17 else "sdss/spectro/redux"
    return SDSS.SPECTRA_URL_SUFFIX.format(
        base=conf.sas_baseurl, dr=release, redux_path=redux, run2d=run2d,
        spectra_path="spectra/lite", plate=plate, mjd=mjd, fiber=fiberid,
    )  # fmt: skip


def frame_name(run, camcol, field, band):
    """Return the path of a frame inside a download folder (PurePosixPath)."""
    name = f"frame-{band}-{run:06d}-{camcol}-{field:04d}.fits.bz2"
    return PurePosixPath("frames", f"{run:06d}", str(camcol), name)


def spectrum_name(plate, mjd, fiberid):
    """Return the path of a spectrum inside a download folder (PurePosixPath)."""
    name = f"spec-{plate:04d}-{mjd}-{fiberid:04d}.fits"
    return PurePosixPath("spectra", f"{plate:04d}", name)


def cutout_path(folder, row):
    """Return where the cutout of a galaxy lies in a download folder (Path)."""
    parts = (f"{row['run']:06d}", str(row["camcol"]), f"{row['field']:04d}")
    return folder.joinpath("cutouts", *parts, f"{row['specobjid']}.fits")
