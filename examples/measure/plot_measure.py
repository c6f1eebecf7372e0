"""
Measure a spectrum
==================

The analysis needs no network: it takes observed, simulated and predicted spectra alike. Here a
simulated survey delivers a galaxy of which the truth is known.
"""

# %%
# Simulate
# --------
#
# A survey is an immutable description of sky and instrument. The same seed gives the same
# galaxies.

from photospec.simulation import Survey

survey = Survey.sdss_main(seed=5)
batch = survey.simulate(4)
batch

# %%
# The spectrum comes with its errors, as inverse variances: zero means no information.

import numpy as np

from photospec.spectrum import WAVELENGTH, from_arrays

galaxy = 2
ivar = batch.ivar[galaxy]
sigma = np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)), np.inf)
spectrum = from_arrays(WAVELENGTH, batch.flux[galaxy], sigma=sigma, mask=ivar <= 0)

# %%
# Measure
# -------
#
# One row per spectrum; what cannot be measured is masked, with the reason in ``flags``.

from photospec.analysis import measure_properties

table = measure_properties(spectrum)
for name in ("redshift", "dn4000", "halpha_ew"):
    truth = batch.truth[name][galaxy]
    print(f"{name:12} measured {table[name][0]:.4f}   truth {truth:.4f}")

# %%
# Look
# ----

from matplotlib import pyplot as plt

from photospec.figures import plot_spectrum

figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
plot_spectrum(
    axes,
    WAVELENGTH,
    batch.flux[galaxy],
    redshift=float(table["redshift"][0]),
    truth=batch.truth_flux[galaxy],
    label="observed",
)
axes.set_xlabel("Observed wavelength in vacuum [Å]")
axes.set_ylabel(r"Flux [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]")
plt.show()
