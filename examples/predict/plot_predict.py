"""
From image to spectrum
======================

A galaxy is simulated, so that the truth is known; its image goes through the spectrograph with
the bundled weights; and the prediction is set beside the spectrum that a fibre would have seen.
"""

# %%
# An image
# --------
#
# Any `~astropy.nddata.NDData` with a flux unit and the names of its bands is an image. Read
# yours with `photospec.image.read_image`.

from astropy import units as u
from astropy.nddata import NDData

from photospec.image import NANOMAGGY
from photospec.simulation import Survey

batch = Survey.sdss_main(seed=20).simulate(8)
galaxy = 3
image = NDData(
    batch.image[galaxy],
    unit=NANOMAGGY,
    meta={"bands": ("u", "g", "r", "i", "z"), "pixel_scale": 0.396 * u.arcsec},
)

# %%
# Its spectrum
# ------------
#
# ``predict`` gives the best candidate, ``sample`` all of them, with their similarity to the
# image. Their spread shows what the image does not decide.

from photospec import PhotoSpectrograph

spectrograph = PhotoSpectrograph.load()
candidates = spectrograph.sample(image, n_candidates=8, seed=0)
candidates

# %%
# Beside the truth
# ----------------
#
# Lines are marked where the true redshift puts them. Those of a candidate lie at the redshift that
# it was drawn at, which differs from the true one by as much as an image leaves open; the band is
# the standard deviation of the candidates.

from matplotlib import pyplot as plt

from photospec.figures import plot_spectrum, rgb_image
from photospec.spectrum import FLUX_UNIT, WAVELENGTH, to_arrays

best = candidates.best
figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 3), width_ratios=[1, 3.2], layout="constrained"
)
left.imshow(rgb_image(image), origin="lower")
left.set_axis_off()
plot_spectrum(
    right,
    WAVELENGTH,
    to_arrays(best).flux[0],
    redshift=batch.truth["redshift"][galaxy],
    truth=batch.truth_flux[galaxy],
    spread=candidates.spread.to_value(FLUX_UNIT),
)
right.set_xlabel("Observed wavelength in vacuum [Å]")
right.set_ylabel(r"Flux [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]")
plt.show()

# %%
# Where the difference comes from, in numbers: the redshifts.

truth = batch.truth["redshift"][galaxy]
print(f"put in    {truth:.4f}")
print(f"expected  {candidates.expected_redshift:.4f}, the mean of the density")
print(f"drawn at  {best.meta['drawn_redshift']:.4f}, the candidate in the figure")
print(f"of all    {candidates.redshift.min():.4f} to {candidates.redshift.max():.4f}")
