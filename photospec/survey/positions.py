"""Where on the sky a cutout lies: from its header, its name, or a place of its own."""

import hashlib
import re
import warnings

import numpy as np

from photospec.errors import InputError

__all__ = ["file_position", "own_place", "position_in_name", "read_positions"]

# J123456.78+123456.7 or 150.1234_+2.3456 in a file's name.
_SEXAGESIMAL = re.compile(r"(\d{2})(\d{2})(\d{2}(?:\.\d+)?)([+-])(\d{2})(\d{2})(\d{2}(?:\.\d+)?)")
_DECIMAL = re.compile(r"(?<![\d.])(\d{1,3}\.\d{2,})[_ ]?([+-]?\d{1,2}\.\d{2,})")


def file_position(path):
    """Return right ascension and declination of a cutout, from its header or name; NaN without."""
    from astropy.io import fits
    from astropy.wcs import WCS

    try:
        # Opened here, because astropy leaves what it cannot read open.
        with warnings.catch_warnings(), open(path, "rb") as file, fits.open(file) as hdus:
            warnings.simplefilter("ignore")
            header = next((hdu.header for hdu in hdus if hdu.header.get("NAXIS", 0) >= 2), None)
            if header is not None and "RA_OBJ" in header:
                return float(header["RA_OBJ"]), float(header["DEC_OBJ"])
            wcs = WCS(header).celestial if header is not None else None
            if wcs is not None and wcs.has_celestial:
                middle = wcs.pixel_to_world(header["NAXIS1"] // 2, header["NAXIS2"] // 2).icrs
                return float(middle.ra.deg), float(middle.dec.deg)
    except Exception:  # noqa: S110 - damaged files keep their rows; why is told when they are read
        pass
    return position_in_name(path.name)


def position_in_name(name):
    """Return the position in a file's name, degrees: J123456.7+123456 or 150.1234+2.3456; NaN
    without.
    """
    found = _SEXAGESIMAL.search(name)
    if found:
        h, m, s, sign, d, arcmin, arcsec = found.groups()
        ra = 15 * (int(h) + int(m) / 60 + float(s) / 3600)
        dec = int(d) + int(arcmin) / 60 + float(arcsec) / 3600
        if ra < 360 and dec <= 90:
            return ra, -dec if sign == "-" else dec
    found = _DECIMAL.search(name)
    if found and float(found[1]) < 360 and abs(float(found[2])) <= 90:
        return float(found[1]), float(found[2])
    return np.nan, np.nan


def own_place(identifier):
    """Return a place on the sky for a row without a position: always that of its identifier."""
    digest = hashlib.blake2b(str(identifier).encode(), digest_size=16).digest()
    a, b = (int.from_bytes(part, "little") / 2**64 for part in (digest[:8], digest[8:]))
    return 360 * a, float(np.degrees(np.arcsin(2 * b - 1)))


def read_positions(path):
    """Read names and positions from a table.

    Parameters
    ----------
    path : path-like
        Any table that astropy reads, with columns ``ra`` and ``dec`` (degrees) and, for the
        names, the first of ``image``, ``identifier``, ``name``, ``id``, ``objid`` there is;
        without any, rows are named by their position.

    Returns
    -------
    dict
        ``image`` (list of str), ``ra`` and ``dec`` (ndarray).

    Raises
    ------
    InputError
        If it is no table or lacks positions.
    """
    from astropy.table import Table

    try:
        table = Table.read(path)
    except Exception as error:  # readers raise many kinds
        text = " ".join(str(error).split())[:200]
        raise InputError(f"positions: expected a table, got {path} ({text})") from None
    lower = {name.lower(): name for name in reversed(table.colnames)}
    if "ra" not in lower or "dec" not in lower:
        raise InputError(
            f"positions: expected ra and dec in {path}, got {', '.join(table.colnames)}"
        )
    found = {name: np.asarray(table[lower[name]], float) for name in ("ra", "dec")}
    names = ("image", "identifier", "name", "id", "objid")
    named = next((lower[name] for name in names if name in lower), None)
    if named is None:
        found["image"] = [f"{ra:.6f}{dec:+.6f}" for ra, dec in zip(found["ra"], found["dec"])]
    else:
        found["image"] = [str(value) for value in table[named]]
    return found
