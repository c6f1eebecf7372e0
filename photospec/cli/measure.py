"""``photospec measure``: spectra in, a table of properties out."""

from dataclasses import dataclass
from pathlib import Path

from photospec.cli.arguments import add_method, add_overwrite, add_verb, bounded_float
from photospec.cli.console import BAD_INPUT, PARTIAL, counted, error, note, progress, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Measure redshift, stellar populations, kinematics, indices and emission lines of
spectra: those that photospec predicted, SDSS, LAMOST and DESI files, tables and images
with units in their headers, and whatever else specutils reads. What cannot be measured is
masked, with the reason in 'flags'. A file that cannot be read, or on whose spectra nothing
can be measured, is named on stderr; the others are measured all the same.

Of the file of all candidates ('photospec predict --candidates') the table has one row per
image, with the errors of the prediction. Of other predicted spectra the errors are those of
the measurement alone, and 'flags' says so.
"""


# What is said of predicted spectra whose other candidates are not there.
_ONE = "one candidate: errors are of the measurement only"


def add_parser(verbs, parents=()):
    """Declare the verb and its arguments.

    Parameters
    ----------
    verbs : argparse subparsers
        Where to add the verb.
    parents : sequence of argparse.ArgumentParser
        Parsers with the arguments of all verbs.
    """
    parser = add_verb(
        verbs,
        parents,
        "measure",
        run,
        summary="measure the properties of spectra",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "spectra",
        nargs="+",
        type=Path,
        metavar="SPECTRA",
        help="files of spectra, folders of FITS files, or @LIST: a text file with a name in each "
        "line",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="TABLE.ecsv", help="the table"
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FIGURE.png", help="the spectra with their lines marked"
    )
    parser.add_argument(
        "--redshift",
        type=bounded_float(-0.01, 10),
        metavar="Z",
        help="redshift of all spectra, instead of a search",
    )
    units = parser.add_argument_group(
        "what files of spectra leave out",
        "for all files; a file that says another unit is named on stderr and left out",
    )
    units.add_argument("--flux-unit", metavar="UNIT", help="such as mJy or '1e-17 erg/s/cm2/A'")
    units.add_argument("--wavelength-unit", metavar="UNIT", help="such as Angstrom or nm")
    units.add_argument(
        "--medium",
        choices=("air", "vacuum"),
        help="of the wavelengths; instead of what the file says (default: vacuum where it is"
        " silent)",
    )
    add_method(parser)
    add_overwrite(parser)


def run(args):
    """Measure every spectrum of every file and write one table.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.

    Returns
    -------
    int
        0, or 1 if some files could not be read or measured, or 2 if none could.
    """
    from photospec.analysis import measure_properties
    from photospec.cli._images import expanded
    from photospec.cli.outputs import check_outputs
    from photospec.cli.tables import FIGURE_SUFFIXES, TABLE_SUFFIXES, draw, write
    from photospec.spectrum.headers import given_unit

    args.spectra = expanded(args.spectra, "spectra")
    check_outputs(
        {"-o": args.output, "--figure": args.figure},
        suffixes={"-o": TABLE_SUFFIXES, "--figure": FIGURE_SUFFIXES},
        overwrite=args.overwrite,
        inputs=args.spectra,
    )
    read = _read(
        args.spectra,
        flux_unit=given_unit(args.flux_unit, "flux", "--flux-unit"),
        wavelength_unit=given_unit(args.wavelength_unit, "axis", "--wavelength-unit"),
        wavelength_medium=args.medium,
    )
    if not read:
        return BAD_INPUT
    spectra = [one.spectrum for one in read]
    with progress(args, sum(one.n for one in read), "measure") as bar:
        table = measure_properties(
            spectra, redshift=args.redshift, method=args.method, progress=bar.update
        )
    table, files = _rows(read, table)
    for path, row in zip(files, table, strict=True):
        note(args, f"{path}: {_summary(row)}")
    write(args.output, table)
    say(args, f"{args.output}: properties of {counted(len(table), 'spectrum', 'spectra')}")
    if args.figure:
        rows = _figure_rows(read, table)
        draw(args.figure, rows)
        say(args, f"{args.figure}: {counted(len(rows), 'spectrum', 'spectra')}")
    measured = _measured(table, given=args.redshift is not None)
    n_failed = len(set(args.spectra)) - len({one.path for one in read})
    for path in dict.fromkeys(str(one.path) for one in read):
        rows = [i for i, name in enumerate(files) if name == path]
        if not any(measured[i] for i in rows):
            n_failed += 1
            error(f"{path}: nothing could be measured ({table['flags'][rows[0]] or 'no reason'})")
    if not n_failed:
        return 0
    if not any(measured):
        return BAD_INPUT
    n_files = len(set(args.spectra))
    error(f"{n_failed} of {n_files} files failed (named above); the rest is written")
    return PARTIAL


def _measured(table, given):
    """Tell whether anything was measured, for each row; a given redshift does not count."""
    import numpy as np

    from photospec.cli.tables import ORIGIN_COLUMNS

    others = {name for name, *_ in ORIGIN_COLUMNS} | {"n_candidates", "flags"}
    others |= {"redshift"} if given else set()
    found = np.zeros(len(table), bool)
    for name in table.colnames:
        if name not in others:
            found |= ~np.broadcast_to(getattr(table[name], "mask", False), len(table))
    return found.tolist()


def _rows(read, table):
    """Return a table of the rows to write, with what is known of their origin, and their files.

    Candidates of an image become one row.
    """
    import warnings

    from photospec.analysis import combine_candidates
    from photospec.analysis.candidates import said_of_agn
    from photospec.cli.tables import add_origin, stack_rows
    from photospec.errors import PhotospecWarning

    tables, files, start = [], [], 0
    for one in read:
        part = table[start : start + one.n]
        start += one.n
        meta = one.spectrum.meta
        if one.best is not None:
            best = one.best
            part = combine_candidates(part, best, **said_of_agn(one.spectrum, len(best)))
        elif _is_predicted(meta):
            best = None
            part["flags"] = [f"{text}; {_ONE}".removeprefix("; ") for text in part["flags"]]
            warnings.warn(
                f"{one.path} holds predicted spectra: errors are of the measurement, not of the "
                "prediction; measure the file of predict --candidates, or use predict --table",
                PhotospecWarning,
                stacklevel=2,
            )
        else:
            best = None
        add_origin(part, one.spectrum, best)
        tables.append(part)
        files += [str(one.path)] * len(part)
    joined = stack_rows(tables)
    joined.add_column(files, name="file", index=0)
    joined["file"].info.description = "file of the spectrum"
    return joined, files


def _is_predicted(meta):
    return "n_candidates" in meta and "nfe" in meta


def _figure_rows(read, table):
    """Return rows of the figure, without spectra that cannot be used at all."""
    from photospec.errors import PhotospecError
    from photospec.figures import galaxy_rows

    rows, start = [], 0
    for one in read:
        spectrum, n = one.shown()
        part = table[start : start + n]
        start += n
        try:
            rows += galaxy_rows(spectrum, part)
        except PhotospecError:
            continue  # its row of the table gives the reason
    return rows


@dataclass(frozen=True)
class _Read:
    """Spectra of a file.

    Attributes
    ----------
    path : pathlib.Path
    spectrum : specutils.Spectrum
    n : int
        Rows that `spectrum` makes.
    best : list of int or None
        Of candidates, equally many of each image: which ones stand for all.
    """

    path: Path
    spectrum: object
    n: int
    best: list | None = None

    def shown(self):
        """Return the spectra that the figure shows, and how many."""
        if self.best is None:
            return self.spectrum, self.n
        each = self.n // len(self.best)
        chosen = [i * each + best for i, best in enumerate(self.best)]
        from specutils import Spectrum

        meta = {key: value for key, value in self.spectrum.meta.items() if key != "spread"}
        flux = self.spectrum.flux
        spread = flux.reshape(len(self.best), each, -1).std(axis=1)
        shown = Spectrum(
            flux=flux[chosen],
            spectral_axis=self.spectrum.spectral_axis,
            spectral_axis_index=-1,
            meta=meta | ({"spread": spread} if each > 1 else {}),
        )
        return shown, len(chosen)


def _read(paths, **given):
    """Read spectra, naming the files that cannot be read; one `_Read` per Spectrum of a list.

    `given` goes to `read_spectrum`.
    """
    from photospec.analysis.gate import gather
    from photospec.errors import PhotospecError
    from photospec.spectrum import read_spectrum

    found = []
    for path in paths:
        try:
            spectra = read_spectrum(path, **given)
        except (PhotospecError, OSError) as exception:
            text = str(exception)
            error(text if str(path) in text else f"{path}: {text}")
            continue
        spectra = spectra if isinstance(spectra, list) else [spectra]
        found += [
            _Read(path, item, len(gather([item], strict=False)), _best(item.meta))
            for item in spectra
        ]
    return found


def _summary(row):
    """Return what is said of a spectrum with ``--verbose``."""
    import numpy as np

    redshift = "no redshift" if np.ma.is_masked(row["redshift"]) else f"z = {row['redshift']:.5f}"
    return f"{redshift}, flags: {row['flags'] or 'none'}"


def _best(meta):
    """Return which candidate of each image stands for all; None of other spectra."""
    if not {"images", "best", "candidate"} <= meta.keys():
        return None
    rows = {}
    for name, best in zip(meta["images"], meta["best"], strict=True):
        rows.setdefault(name, []).append(best)
    if len({len(row) for row in rows.values()}) != 1:
        return None
    return [row.index(True) for row in rows.values()]
