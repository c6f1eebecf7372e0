"""
An observed spectrum, step by step
==================================

Measuring needs no image and no network. This page takes a spectrum through the analysis as
`~photospec.analysis.measure_properties` does: redshift, stars, kinematics, emission lines, indices.
"""

# %%
# A spectrum
# ----------
#
# Simulated as the SDSS takes it, with noise; yours is read by
# `~photospec.spectrum.read_spectrum` from files of the SDSS, DESI, or whatever specutils reads.

import numpy as np

from photospec.simulation import Survey
from photospec.spectrum import WAVELENGTH, from_arrays

batch = Survey.sdss_main(seed=5).simulate(4)
galaxy = 2
ivar = batch.ivar[galaxy]
sigma = np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)), np.inf)
spectrum = from_arrays(WAVELENGTH, batch.flux[galaxy], sigma=sigma, mask=ivar <= 0)

# %%
# Redshift
# --------
#
# A coarse scan of all redshifts with templates, then a fine fit around its best minima.

from photospec.analysis import measure_redshift

redshift = measure_redshift(spectrum)
print(f"{redshift.redshift:.5f} ± {redshift.error:.5f}")
print(f"put in {batch.truth['redshift'][galaxy]:.5f}")

# %%
# Stars
# -----
#
# Old and young populations, rich and poor in metals, behind dust and blurred by the velocities of
# the stars, as pPXF fits them.

from photospec.analysis import fit_populations

fit = fit_populations(spectrum, float(redshift.redshift))
for name in ("age_light_weighted", "metallicity_light_weighted", "ebv", "velocity_dispersion"):
    print(f"{name:26} {getattr(fit, name):.4g} ± {getattr(fit, name + '_error'):.2g}")

# %%
# Gas
# ---
#
# Strong lines lie some per cent above what was put in: the simulator scales each spectrum at
# random, as the SDSS's calibration of fluxes does (4 %).

from photospec.analysis import classify_bpt, measure_lines

lines = measure_lines(fit)
for name in ("halpha", "nii_6584", "hbeta", "oiii_5007"):
    flux, error = lines[name]
    print(
        f"{name:10} {flux:7.1f} ± {error:4.1f}   put in {batch.truth[name + '_flux'][galaxy]:7.1f}"
    )
classify_bpt(lines).bpt_class

# %%
# Indices
# -------

from photospec.analysis import measure_indices

names = ["dn4000", "hdelta_a", "mgb"]
indices = measure_indices(spectrum, redshift=float(redshift.redshift), indices=names)
for name, value, error in zip(indices.names, indices.value[0], indices.error[0], strict=True):
    print(f"{name:10} {value:6.3f} ± {error:.3f}")

# %%
# The fit
# -------
#
# Spectrum, stars and gas, and what they leave.

from matplotlib import pyplot as plt

from photospec.analysis.figures import plot_fit

figure, axes = plt.subplots(figsize=(9, 4.4), layout="constrained")
plot_fit(fit, axes)
plt.show()
