"""Seconds and memory of the analysis, beside a plain script that calls pPXF twice.

Run on an idle machine: ``OMP_NUM_THREADS=1 python benchmarks/analysis_speed.py [--n 1000]``.
Times are of processor and of the clock; they agree when nothing else runs.
"""

import argparse
import os
import resource
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from recovery_sample import make_sample

from photospec.analysis import measure_indices, measure_properties, measure_redshift
from photospec.analysis.populations.templates import bc03_templates
from photospec.spectrum import WAVELENGTH, from_arrays, to_training_grid

LIGHT = 299792.458


class Clock:
    """Processor and wall-clock seconds of a block, per spectrum."""

    def __init__(self, label, n):
        self.label, self.n = label, n

    def __enter__(self):
        self.start = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_):
        used = time.process_time() - self.start[0], time.perf_counter() - self.start[1]
        self.processor, self.wall = (seconds / self.n for seconds in used)
        print(f"{self.label:45s} {self.processor:8.4f} s processor {self.wall:8.4f} s clock")


def plain_ppxf(wavelength, flux, sigma, lsf_sigma, redshift, path):
    """Kinematics, then populations: two calls of pPXF as its examples make them."""
    from ppxf import ppxf_util, sps_util
    from ppxf.ppxf import ppxf

    rest = wavelength / (1 + redshift)
    inside = (rest > 3600) & (rest < 7340)
    lam, galaxy = rest[inside], flux[inside] / np.median(flux[inside])
    noise = sigma[inside] / np.median(flux[inside])
    fwhm = 2.355 * lsf_sigma[inside] / (1 + redshift)
    velscale = LIGHT * np.diff(np.log(lam[[0, -1]])).item() / (lam.size - 1)
    library = sps_util.sps_lib(path, velscale, {"lam": lam, "fwhm": fwhm}, norm_range=[5070, 5950])
    stars = library.templates.reshape(library.templates.shape[0], -1)
    gas, names, _ = ppxf_util.emission_lines(
        library.ln_lam_temp, [lam.min(), lam.max()], {"lam": lam, "fwhm": fwhm}
    )
    templates = np.column_stack([stars, gas])
    component = np.array([0] * stars.shape[1] + [1] * gas.shape[1])
    keywords = {
        "moments": [2, 2], "lam": lam, "lam_temp": library.lam_temp, "component": component,
        "gas_component": component > 0, "gas_names": names, "quiet": True,
    }  # fmt: skip
    first = ppxf(templates, galaxy, noise, velscale, [[0, 150.0]] * 2, degree=10, **keywords)
    return ppxf(
        templates, galaxy, noise, velscale, [list(sol) for sol in first.sol], degree=-1,
        mdegree=10, fixed=[[1, 1]] * 2, **keywords,
    )  # fmt: skip


def write_templates(path):
    """The templates that `measure_properties` uses, as a file for pPXF."""
    library = bc03_templates()
    np.savez(
        path, templates=library.spectra * library.light, lam=library.wavelength,
        fwhm=2.355 * library.lsf_sigma, ages=library.age, metals=library.metallicity,
        masses=library.live_mass,
    )  # fmt: skip


class PeakMemory(threading.Thread):
    """Largest resident memory, in MB, of this process and its children while it runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.stop = 0.0, threading.Event()

    def run(self):
        page = os.sysconf("SC_PAGE_SIZE") / 1e6
        while not self.stop.wait(0.5):
            total = 0
            for status in Path("/proc").glob("[0-9]*/stat"):
                try:
                    parts = status.read_text().rsplit(") ", 1)[1].split()
                except (OSError, IndexError):
                    continue
                if int(parts[1]) == os.getpid() or status.parent.name == str(os.getpid()):
                    total += int(parts[21]) * page
            self.peak = max(self.peak, total)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1000, help="spectra measured in parallel")
    parser.add_argument("--few", type=int, default=10, help="spectra timed one by one")
    parser.add_argument("--processes", type=int)
    options = parser.parse_args()
    n = max(options.n, 200)
    wavelength, flux, sigma, lsf, truth = make_sample(n, 20, seed=3)
    spectra = from_arrays(wavelength, flux, sigma=sigma, lsf=lsf)
    few = from_arrays(wavelength, flux[: options.few], sigma=sigma[: options.few], lsf=lsf)
    smooth = from_arrays(WAVELENGTH, to_training_grid(wavelength, flux[:200]))
    measure_properties(few[:1], n_processes=1)
    measure_redshift(smooth[:2])
    with Clock("redshift, 200 spectra on the training grid", 200):
        measure_redshift(smooth)
    with Clock("redshift, observed", options.few):
        measure_redshift(few)
    with Clock("27 indices", options.few):
        measure_indices(few, redshift=truth["redshift"][: options.few])
    with Clock("all properties, one process", options.few) as ours:
        measure_properties(few, n_processes=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spectra_bc03_9.0.npz"
        write_templates(path)
        with Clock("plain script, pPXF twice", max(options.few // 3, 1)) as plain:
            for i in range(max(options.few // 3, 1)):
                plain_ppxf(wavelength, flux[i], sigma[i], lsf, truth["redshift"][i], path)
    print(f"plain / ours: {plain.processor / ours.processor:.1f}")
    memory = PeakMemory()
    memory.start()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Clock(f"all properties, {options.n} spectra in parallel", options.n) as many:
        measure_properties(spectra[: options.n], n_processes=options.processes)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    memory.stop.set()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"cores kept busy: {used / (many.wall * options.n):.2f}; peak memory {memory.peak:.0f} MB"
    )


if __name__ == "__main__":
    main()
