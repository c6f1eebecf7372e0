"""The bulk path of the analysis beside the exact one and beside the truth, and how fast it is.

Run: ``OMP_NUM_THREADS=1 python benchmarks/analysis_bulk.py WORK_FOLDER [--n 250] [--write docs]``.
Predicts 8 candidates each for n simulated galaxies with the bundled weights and takes as many
noiseless simulated spectra; measures all of them in bulk and by pPXF, in one process. What is
measured is kept in WORK_FOLDER, piece by piece: a run that ``--seconds`` ended, or a larger n, goes
on from there. Prints, for every
column, the median and the scatter (1.4826 MAD) of bulk less exact in units of the error that a
table of candidates quotes, and the same of either path less the truth for the simulated spectra;
then processor milliseconds per spectrum, stage by stage, and their ratio in this run. With
``--write`` the tables of the documentation are made from the same run. ``--memory N`` only tells
how much memory it takes to measure N spectra, and eight times as many, in a process each, and
``--processes N`` how many spectra per second one process and two measure, and how many cores they
keep busy.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable, vstack

from photospec import PhotoSpectrograph
from photospec.analysis import (
    combine_candidates,
    fit_populations,
    measure_candidates,
    measure_properties,
)
from photospec.analysis.bulk import (
    fit_populations_bulk,
    measure_lines_bulk,
    measure_redshift_bulk,
)
from photospec.analysis.bulk.indices import indices_of_block
from photospec.analysis.emission.measure import measure_lines
from photospec.analysis.gate import take
from photospec.analysis.indices.measure import indices_of_row
from photospec.analysis.properties import COLUMNS, INDEX_COLUMNS
from photospec.analysis.redshift import measure_redshift
from photospec.image import read_image
from photospec.simulation import Survey
from photospec.spectrum import FLUX_UNIT, WAVELENGTH, from_arrays, to_arrays
from photospec.utils.parallel import one_thread

SEED = 1_988_000_000  # of the survey: used for nothing else
N_CANDIDATES = 8
PIECE = 8  # galaxies at a time: 64 spectra of each kind
METHODS = ("bulk", "ppxf")
LOGARITHMIC = ("age_light_weighted", "age_mass_weighted")


def galaxies(n, folder):
    """Predicted spectra (n * 8) and noiseless simulated ones of as many galaxies.

    Returns
    -------
    predicted, simulated : Spectrum
    best : list of int
        Candidate of each galaxy that stands for all.
    truth : dict of ndarray
        Of the simulated spectra.
    """
    pieces = [_piece(k, folder / f"spectra-{k}.npz") for k in range(n // PIECE)]
    flux, best, lsf, simulated = (
        [piece[name] for piece in pieces] for name in ("flux", "best", "lsf", "simulated")
    )
    truth = {
        name[6:]: np.concatenate([piece[name] for piece in pieces])
        for name in pieces[0]
        if name.startswith("truth_")
    }
    predicted, simulated = (
        from_arrays(WAVELENGTH, np.concatenate(one).astype(float), lsf=lsf[0])
        for one in (flux, simulated)
    )
    return predicted, simulated, [int(k) for k in np.concatenate(best)], truth


def _piece(number, path):
    """Spectra of `PIECE` galaxies and what goes with them, from a file if there is one."""
    if not path.exists():
        survey = Survey.sdss_main(seed=SEED + number)
        batch = survey.simulate(PIECE * N_CANDIDATES)
        spectrograph, found = PhotoSpectrograph.load(), []
        image = path.with_suffix(".fits")
        for row, pixels in enumerate(batch.image[:PIECE]):
            hdu = fits.PrimaryHDU(pixels)
            hdu.header["BUNIT"] = "nanomaggy"
            hdu.header["BANDS"] = "".join(survey.bands)
            hdu.header["PIXSCALE"] = survey.pixel_scale
            hdu.writeto(image, overwrite=True)
            seed = number * PIECE + row
            found.append(spectrograph.sample(read_image(image), N_CANDIDATES, seed=seed))
        image.unlink()
        _save(
            path,
            flux=np.concatenate([one.spectra.flux.to_value(FLUX_UNIT) for one in found]),
            best=[one.best_index for one in found],
            lsf=found[0].spectra.meta["lsf_sigma"],
            simulated=batch.truth_flux,
            **{f"truth_{name}": value for name, value in batch.truth.items()},
        )
    with np.load(path) as file:
        return dict(file)


def _save(path, **arrays):
    with open(path.with_suffix(".partial"), "wb") as file:
        np.savez(file, **arrays)
    path.with_suffix(".partial").replace(path)


def measured(spectra, folder, seconds):
    """Tables of both kinds of spectra on both paths, and milliseconds per spectrum.

    Parameters
    ----------
    spectra : dict of str to Spectrum
    folder : Path
        Of tables that are there, and of those that are made now.
    seconds : float
        Of one processor, after which no further piece is begun.

    Returns
    -------
    tables : dict of (str, str) to QTable
        Of the pieces that are complete.
    milliseconds : dict of (str, str) to float
    """
    start, size = time.process_time(), PIECE * N_CANDIDATES
    tables, milliseconds = {}, {}
    for first in range(0, len(spectra["predicted"].flux), size):
        for kind, spectrum in spectra.items():
            for method in METHODS:
                path = folder / f"{kind}-{method}-{first // size}.ecsv"
                if not path.exists():
                    if time.process_time() - start > seconds:
                        break
                    began = time.process_time()
                    table = measure_properties(
                        spectrum[first : first + size], method=method, n_processes=1
                    )
                    table.meta = {"seconds": time.process_time() - began}
                    table.write(path.with_suffix(".partial"), format="ascii.ecsv", overwrite=True)
                    path.with_suffix(".partial").replace(path)
                    print(path.name, f"{table.meta['seconds']:.1f} s", flush=True)
                tables.setdefault((kind, method), []).append(QTable.read(path, format="ascii.ecsv"))
    n_pieces = min(len(tables.get((kind, method), ())) for kind in spectra for method in METHODS)
    if not n_pieces:
        raise SystemExit("no piece of all four tables is complete yet: run it again")
    for key, parts in tables.items():
        parts = parts[:n_pieces]
        # The median: other jobs on the machine slow some pieces down.
        milliseconds[key] = 1e3 * np.median([part.meta["seconds"] for part in parts]) / size
        tables[key] = vstack(parts, metadata_conflicts="silent")
    return tables, milliseconds


def values(table, name):
    """Column as floats, NaN where masked."""
    column = table[name]
    return np.ma.filled(np.ma.asarray(getattr(column, "value", column)), np.nan).astype(float)


def compare(one, other, error):
    """Median and robust scatter of ``(one - other) / error``, and how many there are."""
    ratio = (one - other) / error
    ratio = ratio[np.isfinite(ratio)]
    if ratio.size < 20:
        return np.nan, np.nan, ratio.size
    median = np.median(ratio)
    return median, 1.4826 * np.median(np.abs(ratio - median)), ratio.size


def stages(spectrum, n):
    """Processor milliseconds per spectrum of every stage: ``{stage: (bulk, exact)}``."""
    arrays = to_arrays(spectrum[:n])
    rows = [take(arrays, slice(i, i + 1)) for i in range(n)]
    few = rows[: max(n // 4, 1)]
    definitions = list(INDEX_COLUMNS.values())
    redshift = measure_redshift(arrays).redshift
    fits_found = fit_populations_bulk(rows, redshift)
    measure_redshift_bulk(take(arrays, slice(0, 1)), (0.0, 0.8))  # what is computed once

    def timed(function, count):
        start = time.process_time()
        function()
        return 1e3 * (time.process_time() - start) / count

    return {
        "redshift": (
            timed(lambda: measure_redshift_bulk(arrays, (0.0, 0.8)), n),
            timed(lambda: [measure_redshift(row) for row in rows], n),
        ),
        "populations and kinematics": (
            timed(lambda: fit_populations_bulk(rows, redshift), n),
            timed(lambda: [fit_populations(r, z) for r, z in zip(few, redshift)], len(few)),
        ),
        "emission lines": (
            timed(lambda: measure_lines_bulk(fits_found), n),
            timed(lambda: [measure_lines(fit) for fit in fits_found], n),
        ),
        "indices": (
            timed(lambda: indices_of_block(arrays, redshift, definitions), n),
            timed(lambda: [indices_of_row(r, z, definitions) for r, z in zip(rows, redshift)], n),
        ),
    }


def whole(spectra, n):
    """Processor milliseconds per spectrum of all that is measured: ``{what: (bulk, exact)}``."""
    found = {}
    for kind, spectrum in spectra.items():
        rows = spectrum[:n], spectrum[: n // 4]
        for one, method in zip(rows, METHODS, strict=True):
            start = time.process_time()
            measure_properties(one, method=method, n_processes=1)
            used = 1e3 * (time.process_time() - start) / len(one.flux)
            found.setdefault(f"all of a {kind} spectrum", []).append(used)
    return {name: tuple(pair) for name, pair in found.items()}


def one_row(folder, n=8):
    """Processor milliseconds to predict 8 candidates and measure them: ``(bulk, exact)``.

    Of one image among n that are predicted in one call. And of the prediction alone.
    """
    survey = Survey.sdss_main(seed=SEED)
    path, images = folder / "image.fits", []
    for pixels in survey.simulate(n).image:
        hdu = fits.PrimaryHDU(pixels)
        hdu.header["BUNIT"], hdu.header["BANDS"] = "nanomaggy", "".join(survey.bands)
        hdu.header["PIXSCALE"] = survey.pixel_scale
        hdu.writeto(path, overwrite=True)
        images.append(read_image(path))
    path.unlink()
    spectrograph = PhotoSpectrograph.load()
    spectrograph.sample(images[0], N_CANDIDATES, seed=0)  # warms up
    start = time.process_time()
    found = list(spectrograph.sample_each(images, N_CANDIDATES, seed=0))
    draw, used = 1e3 * (time.process_time() - start) / n, []
    for one in found[:4]:
        times = [time.process_time()]
        for method in METHODS:
            measure_candidates(one.spectra, one.best_index, method=method, n_processes=1)
            times.append(time.process_time())
        used.append(np.diff(times))
    bulk, exact = 1e3 * np.mean(used[1:], axis=0)  # the first one warms up
    return (draw + bulk, draw + exact), draw


def processes(spectrum, n):
    """Spectra per second, and cores kept busy, of one process and of two."""
    spectrum = spectrum[np.resize(np.arange(len(spectrum.flux)), n)]
    for count in (1, 2):
        before, start = os.times(), time.perf_counter()
        measure_properties(spectrum, method="bulk", n_processes=count)
        wall, after = time.perf_counter() - start, os.times()
        used = sum(after[:4]) - sum(before[:4])
        print(
            f"{count} processes: {n / wall:.1f} spectra per second, {used / wall:.2f} cores busy, "
            f"{1e3 * used / n:.1f} ms of processor time per spectrum"
        )


def memory(n, folder):
    """Largest resident memory, MB, of a process that measures n spectra, and eight times n."""
    code = """
import resource, sys
import numpy as np
from photospec.analysis import measure_properties
from photospec.spectrum import WAVELENGTH, from_arrays
with np.load(sys.argv[1]) as file:
    flux, lsf = file["flux"].astype(float), file["lsf"]
flux = np.resize(flux, (int(sys.argv[2]), flux.shape[1]))
measure_properties(from_arrays(WAVELENGTH, flux, lsf=lsf), method="bulk", n_processes=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    found = []
    for count in (n, 8 * n):
        command = [sys.executable, "-c", code, str(folder / "spectra-0.npz"), str(count)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append(int(out) / 1024)
        print(f"{count} spectra: {found[-1]:.0f} MB")
    return found


def main():
    """Measure, print, and write the table of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of what is measured")
    parser.add_argument("--n", type=int, default=248, help="galaxies, with 8 candidates each")
    parser.add_argument("--seconds", type=float, default=np.inf, help="stop measuring after these")
    parser.add_argument("--write", type=Path, help="folder of the documentation")
    parser.add_argument("--memory", type=int, metavar="N", help="of N and 8 N spectra, only")
    parser.add_argument("--processes", type=int, metavar="N", help="one and two, N spectra, only")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.memory:
        memory(options.memory, options.folder)
        return
    predicted, simulated, best, truth = galaxies(options.n, options.folder)
    if options.processes:
        processes(predicted, options.processes)
        return
    for method in METHODS:  # what is computed once
        measure_properties(predicted[:2], method=method, n_processes=1)
    spectra = {"predicted": predicted, "simulated": simulated}
    tables, milliseconds = measured(spectra, options.folder, options.seconds)
    options.n = len(tables["predicted", "bulk"]) // N_CANDIDATES
    best, truth = best[: options.n], {k: v[: options.n * N_CANDIDATES] for k, v in truth.items()}
    for (kind, method), used in milliseconds.items():
        print(f"{kind} spectra, {method}: {used:.1f} ms each", flush=True)
    combined = combine_candidates(tables["predicted", "ppxf"], best)
    lines = []
    for name in COLUMNS:
        quoted = values(combined, f"{name}_error")
        repeated = np.repeat(quoted, N_CANDIDATES)
        typical = np.nanmedian(quoted) if np.isfinite(quoted).any() else np.nan
        cells = [name]
        for kind, error in (("predicted", repeated), ("simulated", typical)):
            bulk, exact = (values(tables[kind, method], name) for method in ("bulk", "ppxf"))
            median, scatter, count = compare(bulk, exact, error)
            cells += [f"{median:+.3f}", f"{scatter:.3f}", str(count)]
        for method in ("bulk", "ppxf"):
            known = truth.get(name)
            numbers = compare(values(tables["simulated", method], name), known, typical) if (
                known is not None) else (np.nan, np.nan, 0)  # fmt: skip
            cells += [f"{numbers[0]:+.2f}", f"{numbers[1]:.2f}"]
        lines.append(["" if cell.strip("+") == "nan" else cell for cell in cells])
        print(", ".join(lines[-1]))
    worst = max(
        np.nanpercentile(np.abs(values(a, "redshift") - values(b, "redshift")), 99.9)
        for a, b in ((tables[k, "bulk"], tables[k, "ppxf"]) for k in ("predicted", "simulated"))
    )
    print(f"redshift: 99.9 % within {worst:.1e}")
    with one_thread():
        parts = stages(predicted, min(64, len(predicted.flux)))
        parts |= whole(spectra, min(256, len(predicted.flux)))
    for stage, (bulk, exact) in parts.items():
        print(f"{stage}: bulk {bulk:.1f} ms, exact {exact:.1f} ms, ratio {exact / bulk:.1f}")
        row, draw = one_row(options.folder)
    print(f"a row with 8 candidates: bulk {row[0]:.0f} ms, exact {row[1]:.0f} ms", end="")
    print(f", {draw:.0f} ms of both to predict")
    parts["a row: 8 candidates predicted and measured"] = row
    if options.write:
        write_page(options, lines, parts, draw, worst)


def write_page(options, lines, parts, draw, worst):
    """Tables as a piece of reStructuredText that the documentation includes."""
    n_spectra = options.n * N_CANDIDATES
    columns = (
        "column, predicted: median, scatter, compared, simulated: median, scatter, compared,"
        " bulk less truth: median, scatter, exact less truth: median, scatter"
    )
    timed = [
        f"   {stage}, {bulk:.1f}, {exact:.1f}, {exact / bulk:.1f}"
        for stage, (bulk, exact) in parts.items()
    ]
    shown = [f"   {', '.join(cells)}".rstrip() for cells in lines if cells[1] or cells[4]]
    agree = f"agree within {worst:.0e}" if worst else "agree to the last digit"
    text = f"""Bulk less exact, on {n_spectra} predicted spectra (8 candidates each of {options.n}
simulated galaxies) and {n_spectra} noiseless simulated ones, in units of the error that the row
of a galaxy quotes from its candidates (for simulated spectra its median over the galaxies); and
both paths less the truth, in the same unit. Scatter is 1.4826 times the median absolute
deviation. Of the redshifts 99.9 % {agree}. Made by
``benchmarks/analysis_bulk.py WORK_FOLDER --n {options.n}``.

.. csv-table::
   :header: {columns}
   :widths: auto

{chr(10).join(shown)}

Processor time of one core, in milliseconds, of both paths in one run; of spectra measured 256 at a
time, and of one row, of which {draw:.0f} ms are the prediction's:

.. csv-table::
   :header: "", bulk, exact, ratio
   :widths: auto

{chr(10).join(timed)}
"""
    (options.write / "analysis_bulk.inc").write_text(text)


if __name__ == "__main__":
    main()
