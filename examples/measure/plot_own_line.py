"""
A line and an index of your own
===============================

Emission lines and spectral indices are rows of a table: give one more, and tables have one more
column with its error.
"""

# %%
# A spectrum with a coronal line
# ------------------------------

import numpy as np
from matplotlib import pyplot as plt

from photospec.analysis import Index, load_templates, measure_properties
from photospec.lines import Line
from photospec.spectrum import from_arrays

stars = load_templates("bc03")
wavelength = np.arange(3800.0, 9000.0)
redshift = 0.05
rest = wavelength / (1 + redshift)
flux = 10 * np.interp(rest, stars.wavelength, stars.spectra[:, -5, 4])
iron = Line("fevii_6087", 6088.66, "[Fe VII]", "forbidden")
flux += 2.0 * np.exp(-0.5 * ((rest - iron.wavelength) / 3) ** 2)
rng = np.random.default_rng(0)
error = np.full(wavelength.size, 0.1)
spectrum = from_arrays(wavelength, flux + rng.normal(0, error), sigma=error)

# %%
# Limits of an index are in Angstrom, in air, at rest, as papers print them.

wide = Index("mg_wide", blue=(5040, 5060), band=(5070, 5200), red=(5210, 5230))

# %%
# Measured beside the others
# --------------------------
#
# ``...`` stands for the default lines and indices.

table = measure_properties(spectrum, lines=(..., iron), indices=(..., wide))
for name in ("fevii_6087_flux", "fevii_6087_ew", "lick_mg_wide", "lick_mgb"):
    value, sigma = table[name][0], table[f"{name}_error"][0]
    print(f"{name:16} {value:.2f} ± {getattr(sigma, 'value', sigma):.2f}")
print(f"put in: {2.0 * 3 * np.sqrt(2 * np.pi) * (1 + redshift):.2f} in fevii_6087_flux")

# %%

figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
axes.plot(rest, spectrum.flux.value, linewidth=0.6, color="black")
axes.axvspan(*wide.band, alpha=0.3, label="mg_wide")
for side in (wide.blue, wide.red):
    axes.axvspan(*side, alpha=0.15, color="tab:grey")
axes.axvline(iron.wavelength, color="tab:red", linewidth=0.8, label=iron.label)
axes.set(xlim=(4900, 6250), xlabel="Rest-frame wavelength in vacuum [Å]", ylabel="flux")
axes.legend()
plt.show()
