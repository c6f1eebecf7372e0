"""``photospec demo``: the whole way of the light on one simulated galaxy, offline."""

import textwrap
from dataclasses import replace
from pathlib import Path

from photospec.cli.arguments import add_overwrite, add_seed, add_verb
from photospec.cli.console import progress, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Simulate a galaxy, image it, predict its spectrum from the image with the bundled
weights, measure all candidates, and set the result and its errors beside the truth:
a table on the screen and a figure in the folder. Needs no network and less than a
minute.
"""

# Surveys with these seeds are used for nothing else, so the networks never saw the galaxy.
_FIRST_SEED = 1_977_000_000

# Column, how it is called, format.
_COMPARED = (
    ("redshift", "redshift", ".4f"),
    ("dn4000", "Dn4000", ".3f"),
    ("age_light_weighted", "age, light-weighted [Gyr]", ".2f"),
    ("metallicity_light_weighted", "[M/H], light-weighted [dex]", ".2f"),
    ("ebv", "E(B-V) [mag]", ".3f"),
    ("velocity_dispersion", "velocity dispersion [km/s]", ".0f"),
    ("halpha_ew", "EW(H alpha) [Angstrom]", ".1f"),
    ("oiii_5007_ew", "EW([O III] 5007) [Angstrom]", ".1f"),
    ("lick_mgb", "Lick Mg b [Angstrom]", ".2f"),
    ("bpt_class", "BPT class", ""),
)


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
        "demo",
        run,
        summary="simulate, predict and measure one galaxy, beside the truth",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("photospec-demo"),
        metavar="FOLDER",
        help="where the files go (default: photospec-demo)",
    )
    add_seed(parser)
    add_overwrite(parser)


def run(args):
    """Simulate, predict, measure, compare.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.
    """
    from photospec.cli._predictions import best_row
    from photospec.cli.outputs import check_folder, check_outputs
    from photospec.cli.tables import write
    from photospec.utils.files import replacing

    folder = args.output
    check_folder(folder if folder.exists() else folder.parent, "-o")
    names = ("image.fits", "spectrum.fits", "properties.ecsv", "figure.png")
    image_path, spectrum_path, table_path, figure_path = (folder / name for name in names)
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        check_outputs({f"-o {name}": folder / name for name in names}, overwrite=args.overwrite)
        with progress(args, 4, "simulate") as bar:
            batch = _simulate(args.seed, image_path)
            bar.update()
            bar.set_description("predict")
            image, candidates = _predict(args, image_path)
            bar.update()
            spectrum = best_row(candidates)
            bar.set_description("measure")
            table, truth = _measure(candidates, batch)
            bar.update()
            bar.set_description("draw")
            with replacing(figure_path) as path:
                _draw(path, image, spectrum, truth, table)
            bar.update()
            bar.set_description("done")
        from photospec.spectrum import write_spectra

        write_spectra(spectrum_path, spectrum, overwrite=args.overwrite)
        write(table_path, table)
    finally:
        if made and not any(folder.iterdir()):
            folder.rmdir()
    say(args, _comparison(table, batch))
    say(args, f"\n{figure_path} shows it; {', '.join(names[:3])} are beside it.")


def _simulate(seed, image_path):
    """Simulate one galaxy and write its image as a FITS cube."""
    from astropy.io import fits

    from photospec.simulation import Survey
    from photospec.utils.files import replacing

    survey = Survey.sdss_main(seed=_FIRST_SEED + seed)
    batch = survey.simulate(1)
    hdu = fits.PrimaryHDU(batch.image[0])
    hdu.header["BUNIT"] = "nanomaggy"
    hdu.header["BANDS"] = "".join(survey.bands)
    hdu.header["PIXSCALE"] = (survey.pixel_scale, "arcsec")
    with replacing(image_path) as path:
        hdu.writeto(path)
    return batch


def _predict(args, image_path):
    """Read the image as any other, and draw as many candidates as ``predict`` does."""
    from photospec import PhotoSpectrograph
    from photospec.image import read_image

    image = read_image(image_path)
    return image, PhotoSpectrograph.load().sample(image, None, seed=args.seed)


def _measure(candidates, batch):
    """Measure the candidates and the true spectrum; return a row of each, and the latter."""
    from photospec.analysis import measure_candidates, measure_properties
    from photospec.cli.tables import stack_rows
    from photospec.spectrum import WAVELENGTH, from_arrays

    lsf = candidates.spectra.meta.get("lsf_sigma")
    truth = from_arrays(WAVELENGTH, batch.truth_flux[:1], lsf=lsf)
    tables = [
        measure_candidates(candidates.spectra, candidates.best_index),
        measure_properties(truth),
    ]
    table = stack_rows(tables)
    table.add_column(["image", "true spectrum"], name="measured_from", index=0)
    return table, truth


def _draw(path, image, spectrum, truth, table):
    """Draw the image beside the predicted spectrum, and the truth under it."""
    from photospec.figures import galaxy_figures, galaxy_rows, rgb_image, save_figure

    (row,) = galaxy_rows(spectrum, table[:1], [rgb_image(image)])
    (true_row,) = galaxy_rows(truth, table[1:])
    save_figure(galaxy_figures([replace(row, truth=true_row.flux)]), path)


def _comparison(table, batch):
    """Set side by side what came from the image, from the true spectrum, and what was put in."""
    lines = [f"{'':30}{'from image':>20}{'true spectrum':>16}{'put in':>12}"]
    for column, label, form in _COMPARED:
        if column not in table.colnames:
            continue
        cells = [_cell(table[column][row], form) for row in (0, 1)]
        cells[0] += _uncertainty(table[0], column, form)
        put_in = batch.truth.get(column)
        cells.append("" if put_in is None else _cell(put_in[0], form))
        lines.append(f"{label:30}{cells[0]:>20}{cells[1]:>16}{cells[2]:>12}")
    return "\n".join([*lines, "", *_how_to_read(table)])


def _how_to_read(table):
    """Say what values and errors are, and how far they are from the true spectrum's."""
    n_candidates = table["n_candidates"][0]
    text = (
        f"An image leaves much open: {n_candidates} spectra were drawn that go with it. "
        "Values are those of the one that stands for all, errors tell how far all differ, the "
        "percentage how many are of that class."
    )
    pulls = []
    for column in (column for column, _, form in _COMPARED if form):
        numbers = table[column][0], table[f"{column}_error"][0], table[column][1]
        if not any(getattr(number, "mask", False) for number in numbers):
            value, error, true = (float(getattr(number, "value", number)) for number in numbers)
            pulls.append(abs(value - true) / error)
    if pulls:
        near, nearer = (sum(pull < n for pull in pulls) for n in (2, 1))
        text += (
            f" {nearer} of {len(pulls)} numbers lie within one error of the true spectrum's, "
            f"{near} within two. Emission lines, and so the class, are what an image tells least."
        )
    return textwrap.wrap(text, 80)


def _uncertainty(row, column, form):
    """Write the error of a number or the probability of a class, if it is known."""
    if form:
        error = _cell(row[f"{column}_error"], form)
        return "" if error == "-" else f" ± {error}"
    probability = _cell(row[f"{column}_probability"], ".0%")
    return "" if probability == "-" else f" ({probability})"


def _cell(value, form):
    """Write a table cell; a masked one as a dash."""
    if getattr(value, "mask", False):
        return "-"
    return str(value) if form == "" else format(float(getattr(value, "value", value)), form)
