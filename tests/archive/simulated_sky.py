"""A small sky for the local SDSS: tables, frames and spectra, real or made up.

Made-up frames have the layout of real ones (corrected image, calibration vector, sky table,
bands shifted against each other) but are small; galaxies in them are Gaussians of known flux
and position. Made-up spectra have the layout of ``lite`` files.
"""

import bz2
import io
import math
import re
import sqlite3
from functools import lru_cache

import numpy as np
from astropy.io import fits

from photospec.archive.sdss.catalogue import MEASUREMENTS, PHOTOMETRY

BANDS = "ugriz"
# Offsets of the bands against r, pixels; fractions as in real fields.
OFFSETS = {"u": (0.45, 1.3), "g": (-1.2, 2.35), "r": (0, 0), "i": (2.6, -0.8), "z": (0.75, -2.1)}
BAND_FLUX = {"u": 8.0, "g": 30.0, "r": 60.0, "i": 85.0, "z": 105.0}
GALAXY_SIGMA = 3.0  # pixels
SCALE = 0.396 / 3600


def specobjid(plate, mjd, fiberid, run2d=26):
    """SDSS identifier of a spectrum."""
    return plate << 50 | fiberid << 38 | (mjd - 50000) << 24 | run2d << 10


class Sky:
    """What a server has: rows of galaxies and the bytes of files, by path."""

    def __init__(self):
        self.galaxies = []
        self.makers = {}
        self.body = lru_cache(maxsize=None)(self._body)

    def _body(self, path):
        return self.makers[path]()

    @classmethod
    def simulated(cls, n_fields=4, n_per_field=3, seed=1, shape=(120, 150)):
        sky = cls()
        rng = np.random.default_rng(seed)
        for i in range(n_fields):
            sky.add_simulated_field(1000 + i // 7, 1 + i % 6, 11 + i, n_per_field, rng, shape)
        return sky

    def add_simulated_field(self, run, camcol, field, n_galaxies, rng, shape):
        centre = (150.0 + 0.05 * len(self.makers), 2.0)
        header = frame_header(run, camcol, field, "r", shape, centre)
        galaxies = []
        for _ in range(n_galaxies):
            x = rng.uniform(24, shape[1] - 24)
            y = rng.uniform(24, shape[0] - 24)
            ra, dec = to_sky(header, x, y)
            n = len(self.galaxies)
            galaxies.append(
                self.add_galaxy(run, camcol, field, ra, dec, 300 + n // 600, 52000, 1 + n % 600)
            )
        seed = int(rng.integers(2**31))
        for band in BANDS:
            self.makers[frame_path(run, camcol, field, band)] = lambda band=band: frame_bytes(
                run, camcol, field, band, shape, centre, galaxies, seed
            )
        for galaxy in galaxies:
            self.makers[spectrum_path(galaxy)] = lambda g=galaxy: spectrum_bytes(g)

    def add_galaxy(self, run, camcol, field, ra, dec, plate, mjd, fiberid, redshift=None):
        i = len(self.galaxies)
        galaxy = {
            "specObjID": specobjid(plate, mjd, fiberid),
            "objID": 1237650000000000000 + i,
            "plate": plate, "mjd": mjd, "fiberID": fiberid, "run2d": "26",
            "run": run, "rerun": 301, "camcol": camcol, "field": field,
            "ra": ra, "dec": dec,
            "z": 0.051 + 0.098 * (i * 0.618 % 1) if redshift is None else redshift,
        }  # fmt: skip
        self.galaxies.append(galaxy)
        return galaxy

    def add_real(self, shared):
        """Real frames, with the real galaxies cut from them, each given a real spectrum."""
        spectra = sorted((shared / "real/spectra").glob("spec-0*.fits"))
        spectra += sorted((shared / "real/spectra").glob("spec-1*.fits"))
        for folder in sorted((shared / "real/fields").iterdir()):
            for path in folder.glob("frame-*.fits.bz2"):
                band, run, camcol, field = re.match(
                    r"frame-(\w)-(\d+)-(\d)-(\d+)", path.name
                ).groups()
                key = frame_path(int(run), int(camcol), int(field), band)
                self.makers[key] = path.read_bytes
        images = sorted((shared / "real/images").glob("sdss-001043-5-0025-*.fits"))
        for image, spectrum in zip(images, spectra):
            header = fits.getheader(image)
            plate, mjd, fiberid = map(int, spectrum.stem.split("-")[1:])
            galaxy = self.add_galaxy(
                1043, 5, 25, header["RA_OBJ"], header["DEC_OBJ"], plate, mjd, fiberid, 0.1
            )
            galaxy["image"] = image
            self.makers[spectrum_path(galaxy)] = spectrum.read_bytes
        return self

    def database(self):
        """The tables that queries are asked of, in SQLite."""
        db = sqlite3.connect(":memory:", check_same_thread=False)
        photo = {name for e, _ in PHOTOMETRY.values() for a, name in [e.split(".")] if a == "p"}
        spec = {name for e, _ in PHOTOMETRY.values() for a, name in [e.split(".")] if a == "s"}
        objects = [
            {k: g[k] for k in ("objID", "run", "rerun", "camcol", "field", "ra", "dec")}
            | {"fieldID": g["run"] * 10**6 + g["camcol"] * 10**4 + g["field"], "clean": 1}
            | dict.fromkeys(photo, 17.5 + 0.01 * i)
            for i, g in enumerate(self.galaxies)
        ]
        spectra = [
            {k: g[k] for k in ("specObjID", "plate", "mjd", "fiberID", "run2d", "z")}
            | {"bestObjID": g["objID"], "class": "GALAXY", "zWarning": 0, "legacy_target1": 64}
            | dict.fromkeys(spec, 1e-5)
            for g in self.galaxies
        ]
        _insert(db, "PhotoObj", objects)
        _insert(db, "SpecObj", spectra)
        db.execute("CREATE VIEW PhotoPrimary AS SELECT * FROM PhotoObj")
        tables = {}
        for group in MEASUREMENTS.values():
            for expression, kind in group.values():
                alias, name = expression.split(".")
                tables.setdefault(alias, {})[name] = kind
        names = {"l": "galSpecLine", "x": "galSpecIndx", "e": "galSpecExtra", "i": "galSpecInfo"}
        for alias, columns in tables.items():
            # Every seventh galaxy was not measured, as in the real tables.
            rows = [
                {"specObjID": g["specObjID"]} | {n: measured(g, n, k) for n, k in columns.items()}
                for i, g in enumerate(self.galaxies)
                if i % 7 != 6
            ]
            _insert(db, names[alias], rows)
        db.create_function("angle", 4, _angle)
        return db


def measured(galaxy, name, kind):
    """A made-up measurement that a test can work out again."""
    value = (galaxy["fiberID"] * 7 + len(name)) % 100
    return value if kind == "int" else value / 8


def _insert(db, table, rows):
    names = list(rows[0]) if rows else ["specObjID"]
    db.execute(f"CREATE TABLE {table} ({', '.join(names)})")
    marks = ", ".join("?" * len(names))
    sql = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - names of this file
    db.executemany(sql, [[row[n] for n in names] for row in rows])


def _angle(ra1, dec1, ra2, dec2):
    """Separation in arcminutes."""
    ra1, dec1, ra2, dec2 = map(math.radians, (ra1, dec1, ra2, dec2))
    half = (
        math.sin((dec1 - dec2) / 2) ** 2
        + math.cos(dec1) * math.cos(dec2) * math.sin((ra1 - ra2) / 2) ** 2
    )
    return math.degrees(2 * math.asin(math.sqrt(half))) * 60


def frame_path(run, camcol, field, band):
    return (
        f"/sas/dr17/eboss/photoObj/frames/301/{run}/{camcol}/"
        f"frame-{band}-{run:06d}-{camcol}-{field:04d}.fits.bz2"
    )


def spectrum_path(galaxy):
    plate, mjd, fiberid = galaxy["plate"], galaxy["mjd"], galaxy["fiberID"]
    return (
        f"/sas/dr17/sdss/spectro/redux/26/spectra/lite/{plate:04d}/"
        f"spec-{plate:04d}-{mjd}-{fiberid:04d}.fits"
    )


def frame_header(run, camcol, field, band, shape, centre):
    header = fits.Header()
    header["RUN"], header["CAMCOL"], header["FRAME"] = run, camcol, field
    header["FILTER"], header["BUNIT"] = band, "nanomaggy"
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    dx, dy = OFFSETS[band]
    header["CRPIX1"], header["CRPIX2"] = shape[1] / 2 + 1 + dx, shape[0] / 2 + 1 + dy
    header["CRVAL1"], header["CRVAL2"] = centre
    # Turned and mirrored, as drift scans are.
    header["CD1_1"], header["CD1_2"] = SCALE * math.sin(0.3), SCALE * math.cos(0.3)
    header["CD2_1"], header["CD2_2"] = SCALE * math.cos(0.3), -SCALE * math.sin(0.3)
    return header


def to_sky(header, x, y):
    from astropy.wcs import WCS

    return tuple(float(v) for v in WCS(header).pixel_to_world_values(x, y))


def frame_bytes(run, camcol, field, band, shape, centre, galaxies, seed):
    from astropy.wcs import WCS

    header = frame_header(run, camcol, field, band, shape, centre)
    ny, nx = shape
    rng = np.random.default_rng([seed, BANDS.index(band)])
    data = rng.normal(0, 0.002, shape)
    yy, xx = np.mgrid[:ny, :nx]
    wcs = WCS(header)
    for galaxy in galaxies:
        x, y = wcs.world_to_pixel_values(galaxy["ra"], galaxy["dec"])
        profile = np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * GALAXY_SIGMA**2))
        data += BAND_FLUX[band] * profile / (2 * np.pi * GALAXY_SIGMA**2)
    sky = np.full((6, 8), 150.0)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("ALLSKY", f"{sky.size}E", dim="(8,6)", array=sky[None]),
            fits.Column("XINTERP", f"{nx}E", array=np.linspace(0, 7, nx)[None]),
            fits.Column("YINTERP", f"{ny}E", array=np.linspace(0, 5, ny)[None]),
        ]
    )
    hdus = [
        fits.PrimaryHDU(data.astype(np.float32), header),
        fits.ImageHDU(np.full(nx, 0.005, np.float32)),
        table,
        fits.BinTableHDU.from_columns([fits.Column("FIELD", "J", array=[field])]),
    ]
    return bz2.compress(_to_bytes(hdus), 1)


def spectrum_bytes(galaxy):
    loglam = np.float32(3.58 + 1e-4 * np.arange(3840))
    rng = np.random.default_rng(galaxy["specObjID"] % 2**32)
    wavelength = 10.0**loglam
    line = np.exp(-0.5 * ((wavelength - 6564.6 * (1 + galaxy["z"])) / 3) ** 2)
    flux = 10 + 5 * (wavelength / 6000 - 1) + 8 * line + rng.normal(0, 0.5, loglam.size)
    columns = {
        "flux": flux, "loglam": loglam, "ivar": np.full(loglam.size, 4.0),
        "wdisp": np.ones(loglam.size), "sky": np.ones(loglam.size), "model": flux,
    }  # fmt: skip
    coadd = [fits.Column(name, "E", array=value) for name, value in columns.items()]
    zero = np.zeros(loglam.size, np.int32)
    coadd += [fits.Column(name, "J", array=zero) for name in ("and_mask", "or_mask")]
    primary = fits.PrimaryHDU()
    ids = {"PLATE": galaxy["plate"], "MJD": galaxy["mjd"], "FIBERID": galaxy["fiberID"]}
    for name, value in ids.items():
        primary.header["PLATEID" if name == "PLATE" else name] = value
    primary.header["PLUG_RA"], primary.header["PLUG_DEC"] = galaxy["ra"], galaxy["dec"]
    row = [fits.Column(name, "J", array=[value]) for name, value in ids.items()]
    row += [fits.Column("Z", "E", array=[galaxy["z"]]), fits.Column("ZWARNING", "J", array=[0])]
    hdus = [
        primary,
        fits.BinTableHDU.from_columns(coadd, name="COADD"),
        fits.BinTableHDU.from_columns(row, name="SPECOBJ"),
    ]
    return _to_bytes(hdus)


def _to_bytes(hdus):
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()
