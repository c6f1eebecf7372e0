"""The bulk path of the analysis beside the exact one and beside the truth, and how fast it is.

Run: ``OMP_NUM_THREADS=1 python benchmarks/analysis_bulk.py [--n 250] [--write docs]``. Predicts 8
candidates each for n simulated galaxies with the bundled weights and takes as many noiseless
simulated spectra; measures all of them in bulk and by pPXF, in one process. Prints, for every
column, the median and the scatter (1.4826 MAD) of bulk less exact in units of the error that a
table of candidates quotes, and the same of either path less the truth for the simulated spectra;
then processor milliseconds per spectrum, stage by stage, and their ratio in this run. With
``--write`` the tables of the documentation are made from the same run.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

from photospec import PhotoSpectrograph
from photospec.analysis import combine_candidates, fit_populations, measure_properties
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
LOGARITHMIC = ("age_light_weighted", "age_mass_weighted")


def spectra(n, folder):
    """Predicted spectra (n * 8) and noiseless simulated ones of as many galaxies.

    Returns
    -------
    predicted, simulated : Spectrum
    best : list of int
        Candidate of each galaxy that stands for all.
    truth : dict of ndarray
        Of the simulated spectra.
    seconds : float
        Of one processor, per galaxy, to predict.
    """
    survey = Survey.sdss_main(seed=SEED)
    batch = survey.simulate(n * N_CANDIDATES)
    spectrograph = PhotoSpectrograph.load()
    path, found, start = Path(folder) / "image.fits", [], time.process_time()
    for pixels in batch.image[:n]:
        hdu = fits.PrimaryHDU(pixels)
        hdu.header["BUNIT"] = "nanomaggy"
        hdu.header["BANDS"] = "".join(survey.bands)
        hdu.header["PIXSCALE"] = survey.pixel_scale
        hdu.writeto(path, overwrite=True)
        found.append(spectrograph.sample(read_image(path), N_CANDIDATES, seed=len(found)))
    seconds = (time.process_time() - start) / n
    lsf = found[0].spectra.meta["lsf_sigma"]
    flux = np.concatenate([one.spectra.flux.to_value(FLUX_UNIT) for one in found])
    predicted = from_arrays(WAVELENGTH, flux.astype(float), lsf=lsf)
    simulated = from_arrays(WAVELENGTH, batch.truth_flux.astype(float), lsf=lsf)
    return predicted, simulated, [one.best_index for one in found], batch.truth, seconds


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


def main():
    """Measure, print, and write the table of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=250, help="galaxies, with 8 candidates each")
    parser.add_argument("--folder", default=".", help="for one small file")
    parser.add_argument("--write", type=Path, help="folder of the documentation")
    options = parser.parse_args()
    predicted, simulated, best, truth, predicting = spectra(options.n, options.folder)
    measure_properties(predicted[:2], n_processes=1)
    measure_properties(predicted[:2], method="ppxf", n_processes=1)
    tables, milliseconds = {}, {}
    for kind, spectrum in (("predicted", predicted), ("simulated", simulated)):
        for method in ("bulk", "ppxf"):
            start = time.process_time()
            tables[kind, method] = measure_properties(spectrum, method=method, n_processes=1)
            used = 1e3 * (time.process_time() - start) / len(spectrum.flux)
            milliseconds[kind, method] = used
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
    for stage, (bulk, exact) in parts.items():
        print(f"{stage}: bulk {bulk:.1f} ms, exact {exact:.1f} ms, ratio {exact / bulk:.1f}")
    row = [1e3 * predicting + N_CANDIDATES * milliseconds["predicted", m] for m in ("bulk", "ppxf")]
    print(f"a row with 8 candidates: bulk {row[0]:.0f} ms, exact {row[1]:.0f} ms")
    if options.write:
        write_page(options, lines, milliseconds, parts, row, worst)


def write_page(options, lines, milliseconds, parts, row, worst):
    """Tables as a piece of reStructuredText that the documentation includes."""
    n_spectra = options.n * N_CANDIDATES
    columns = (
        "column, predicted: median, scatter, compared, simulated: median, scatter, compared,"
        " bulk less truth: median, scatter, exact less truth: median, scatter"
    )
    parts = {
        **parts,
        "all of a predicted spectrum": (
            milliseconds["predicted", "bulk"],
            milliseconds["predicted", "ppxf"],
        ),
        "all of a simulated spectrum": (
            milliseconds["simulated", "bulk"],
            milliseconds["simulated", "ppxf"],
        ),
        "a row: 8 candidates predicted and measured": tuple(row),
    }
    timed = [
        f"   {stage}, {bulk:.1f}, {exact:.1f}, {exact / bulk:.1f}"
        for stage, (bulk, exact) in parts.items()
    ]
    shown = [f"   {', '.join(cells)}" for cells in lines if cells[1] or cells[4]]
    text = f"""Bulk less exact, on {n_spectra} predicted spectra (8 candidates each of {options.n}
simulated galaxies) and {n_spectra} noiseless simulated ones, in units of the error that the row
of a galaxy quotes from its candidates (for simulated spectra its median over the galaxies); and
both paths less the truth, in the same unit. Scatter is 1.4826 times the median absolute
deviation. Of the redshifts 99.9 % agree within {worst:.0e}. Made by
``benchmarks/analysis_bulk.py``.

.. csv-table::
   :header: {columns}
   :widths: auto

{chr(10).join(shown)}

Processor time of one core, in milliseconds per spectrum, in the same run:

.. csv-table::
   :header: "", bulk, exact, ratio
   :widths: auto

{chr(10).join(timed)}
"""
    (options.write / "analysis_bulk.inc").write_text(text)


if __name__ == "__main__":
    main()
