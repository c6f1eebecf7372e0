"""Spectra in text files: tables of ECSV and IPAC, and columns of numbers with or without a header.

A header names the columns and may say their units, ``# wavelength [Angstrom]  flux [mJy]``. Columns
without names are wavelength, flux and, where there is a third one, its standard deviation; their
units must be given.
"""

import re
import warnings

import numpy as np
from astropy.io import fits
from astropy.table import Table

from photospec.errors import InputError
from photospec.spectrum.formats import ERRORS, FLUX, WAVELENGTH, table_spectrum
from photospec.utils.reading import check_size

__all__ = ["text_spectrum"]

COMMENT = "#!;%"
# Longer lines hold no columns of a spectrum; the guesses of what they hold take minutes.
LONGEST_LINE = 20_000
POSITIONS = ("wavelength", "flux", "error")
# A name and perhaps a unit in brackets, which may hold one pair of round ones itself.
_NAME = re.compile(
    r"(?P<name>[A-Za-z_][\w.]*)\s*(?:\[(?P<square>[^\[\]]*)\]|\((?P<round>(?:[^()]|\([^()]*\))*)\))?"
)


def text_spectrum(path, units):
    r"""Read a text file.

    Parameters
    ----------
    path : pathlib.Path
    units : photospec.spectrum.formats.GivenUnits
        For columns whose unit the file does not say.

    Returns
    -------
    specutils.Spectrum, specutils.SpectrumList or None
        None if it is no text, or its columns are named but hold no spectrum.

    Raises
    ------
    InputError
        If it is text without columns of numbers, or a unit is missing or contradicts the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from photospec.spectrum.formats import GivenUnits
    >>> from photospec.spectrum.text import text_spectrum
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "spectrum.txt"
    ...     rows = [f"{4000 + i} {1 + i}" for i in range(5)]
    ...     _ = path.write_text("\n".join(["# wavelength [Angstrom]  flux [mJy]", *rows]))
    ...     print(text_spectrum(path, GivenUnits()).flux)
    [1. 2. 3. 4. 5.] mJy
    """
    lines = _lines(path)
    if lines is None:
        return None
    first = next((line for line in lines if line.strip()), "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of units that `parse_unit` knows
        if first.startswith("# %ECSV"):
            table = Table.read(lines, format="ascii.ecsv")
        elif first.startswith(("\\", "|")):
            table = Table.read(lines, format="ascii.ipac")
        else:
            table = _columns(lines, path)
        for column in table.itercols():
            column.unit = None if column.unit is None else str(column.unit)
        hdu = fits.table_to_hdu(table.filled(np.nan) if table.has_masked_values else table)
    return table_spectrum(hdu, fits.Header(), given=units)


def _lines(path):
    """Return lines of a text file; None where it is none."""
    check_size(path.stat().st_size, "the text", path)
    content = path.read_bytes()
    if b"\0" in content[:10_000]:
        return None
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return None
    if max(map(len, lines), default=0) > LONGEST_LINE:
        raise InputError(
            f"path: expected lines of at most {LONGEST_LINE} characters, got {path} with longer "
            "ones; is it a spectrum, one sample per line?"
        )
    return lines


def _split(line):
    for delimiter in (",", ";"):
        if delimiter in line:
            return [part.strip() for part in line.strip().strip(delimiter).split(delimiter)]
    return line.split()


def _is_row(line):
    try:
        return bool([float(part) for part in _split(line)])
    except ValueError:
        return False


def _columns(lines, path):
    """Return a table of a file of numbers, one sample per line."""
    start = next((i for i, line in enumerate(lines) if _is_row(line)), None)
    if start is None:
        raise InputError(
            f"path: expected a text file with columns of numbers, got {path} without any; which "
            "kind of file is it?"
        )
    rows = []
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip() or line.lstrip()[0] in COMMENT:
            continue
        if not _is_row(line):
            raise InputError(
                f"path: expected numbers, got {line.strip()[:40]!r} in line {number} of {path}"
            )
        rows.append([float(part) for part in _split(line)])
        if len(rows[-1]) != len(rows[0]):
            raise InputError(
                f"path: expected {len(rows[0])} numbers, got {len(rows[-1])} in line {number} of "
                f"{path}; is a value missing?"
            )
    values = np.array(rows)
    header = next((line for line in reversed(lines[:start]) if line.strip(" \t" + COMMENT)), "")
    names, units = _header(header, values.shape[1])
    if names is None:
        if values.shape[1] not in (2, 3):
            raise InputError(
                "path: expected names such as 'wavelength flux error' in the line before the "
                f"numbers, or two or three columns, got {values.shape[1]} columns without names "
                f"in {path}"
            )
        names, units = POSITIONS[: values.shape[1]], [None] * values.shape[1]
    table = Table(values, names=names)
    for name, unit in zip(names, units, strict=True):
        table[name].unit = unit or None
    return table


def _header(line, n_columns):
    """Return names and units of the columns by the line before them; None where it does not name
    them.
    """
    found = list(_NAME.finditer(line.strip().lstrip(COMMENT)))
    names = [match["name"] for match in found]
    known = {name.lower() for name in names}
    if len(names) != n_columns or len(known) < n_columns:
        return None, None
    if not (known & WAVELENGTH and known & FLUX):
        if known & (WAVELENGTH | FLUX | set().union(*ERRORS.values())):
            raise InputError(
                "path: expected names of columns such as wavelength, flux, error, got "
                f"{', '.join(names)[:80]}; rename them in the line before the numbers"
            )
        return None, None
    return names, [match["square"] or match["round"] for match in found]
