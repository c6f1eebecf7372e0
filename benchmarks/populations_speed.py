"""CPU time of the population fit against a plain script that calls pPXF twice.

The plain script does what pPXF's examples do: kinematics with additive polynomials, then
populations with reddening at those kinematics' starting values, both with all templates
and all gas lines, and the templates already convolved to the spectrum's resolution.

Run: ``OMP_NUM_THREADS=1 python benchmarks/populations_speed.py [n_spectra]``.
"""

import contextlib
import io
import sys
import time

import numpy as np
from recovery_sample import make_sample

from photospec.analysis import classify_bpt, fit_populations, measure_lines
from photospec.analysis._log_spectrum import to_log_spectrum
from photospec.analysis.population_steps import FitData
from photospec.analysis.templates import FWHM, LIGHT, bc03_templates
from photospec.spectrum import SpectrumArrays


def plain_ppxf(arrays, redshift):
    """Kinematics, then populations, by two calls of pPXF with all templates."""
    from ppxf import ppxf_util
    from ppxf.ppxf import ppxf

    data, _ = FitData.prepare(to_log_spectrum(arrays, redshift), bc03_templates(), None, True)
    stars = data.matched.basis @ data.coefficients
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        gas, names, _ = ppxf_util.emission_lines(
            np.log(data.matched.wavelength),
            data.wavelength[[0, -1]],
            {"lam": data.wavelength, "fwhm": FWHM * data.lsf_sigma},
            vacuum=True,
        )
    component = np.array([0] * stars.shape[1] + [1] * len(names))
    common = {
        "moments": [2, 2], "component": component, "gas_component": component > 0,
        "gas_names": names, "lam": data.wavelength, "lam_temp": data.matched.wavelength,
        "mask": data.good, "quiet": True, "bounds": [[[-800, 800], [1, 600]]] * 2,
    }  # fmt: skip
    templates, velscale = np.hstack([stars, gas]), LIGHT * data.spectrum.step
    first = ppxf(
        templates,
        data.flux,
        data.sigma,
        velscale,
        [[0.0, 150.0], [0.0, 100.0]],
        degree=15,
        **common,
    )
    second = ppxf(
        templates, data.flux, data.sigma, velscale, list(first.sol), degree=-1, reddening=0.1,
        **common,
    )  # fmt: skip
    seconds = time.process_time() - start
    return np.hypot(first.sol[0][1], data.matched.floor), second.reddening / 4.05, seconds


def ours(arrays, redshift):
    """Populations, kinematics, lines and class."""
    start = time.process_time()
    fit = fit_populations(arrays, redshift)
    classify_bpt(measure_lines(fit))
    return fit, time.process_time() - start


def main(n=10):
    """Print the two times and how far the results agree."""
    wave, flux, sigma, lsf, truth = make_sample(n, 20.0, seed=11)
    spectra = [
        SpectrumArrays(
            wavelength=wave, flux=flux[i : i + 1], sigma=sigma[i : i + 1],
            mask=np.zeros((1, wave.size), bool), lsf=lsf,
        )
        for i in range(n)
    ]  # fmt: skip
    ours(spectra[0], truth["redshift"][0])
    times, differences = [], []
    for arrays, z in zip(spectra, truth["redshift"], strict=True):
        fit, quick = ours(arrays, z)
        dispersion, ebv, slow = plain_ppxf(arrays, z)
        times.append((quick, slow))
        differences.append((fit.velocity_dispersion / dispersion - 1, fit.ebv - ebv))
    quick, slow = np.median(times, axis=0)
    dispersion, ebv = np.median(np.abs(differences), axis=0)
    print(f"populations, lines and class: {quick:.3f} s   plain pPXF: {slow:.2f} s")
    print(f"faster by {slow / quick:.1f}")
    print(f"median differences: dispersion {dispersion:.1%}, E(B-V) {ebv:.3f} mag")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
