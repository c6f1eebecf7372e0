"""
Bring your own survey
=====================

A made-up camera with three bands of its own, another pixel scale and another depth than any
survey that photospec knows: described in one place, simulated, trained on, and its weights
used, with and without one of the bands. A minute on one processor core is enough
for the small networks here; the recipe at the end does the same with those that the package ships.
"""

# sphinx_gallery_thumbnail_path = '_static/simulation_colours.png'

# %%
# One description
# ---------------
#
# Bands have any names. A response curve is a name of speclite (``photospec simulate --help`` and
# `photospec.simulation.Survey` say more), or a file in its format, as here: three top-hats.

import tempfile
from pathlib import Path

import speclite.filters
from astropy import units as u

folder = Path(tempfile.mkdtemp())
responses = []
for band, low, high in (("blue", 4100, 5300), ("green", 5400, 6600), ("red", 6700, 8300)):
    curve = speclite.filters.FilterResponse(
        wavelength=[low - 1, low, high, high + 1] * u.AA,
        response=[0, 0.5, 0.5, 0],
        meta={"group_name": "toy", "band_name": band},
    )
    responses.append(curve.save(str(folder)))

# %%
# Everything else has a default, that of the SDSS Main Galaxy Sample; what depends on the bands
# has one number for each. `sky_rms_of_depth` turns a published depth into the noise of a pixel.

from dataclasses import replace

from photospec.simulation import NoiseConfig, PsfConfig, Survey
from photospec.simulation.instrument.noise import sky_rms_of_depth

fwhm, scale = (1.2, 1.1, 1.0), 0.5
main = Survey.named("sdss_main", seed=1)
survey = main.replace(
    name="toy",
    bands=("blue", "green", "red"),
    responses=tuple(responses),
    pixel_scale=scale,
    size=48,
    psf=PsfConfig(fwhm=fwhm),
    noise=NoiseConfig(
        sky_rms=sky_rms_of_depth((23.5, 23.2, 22.6), fwhm, scale),
        sky_rms_scatter=(0.1, 0.1, 0.1),
        electron=(0.001, 0.001, 0.001),
        resample=False,
    ),
    population=replace(main.population, r_limit=18.5),
)
survey.write(folder / "toy.toml")
survey.band_extinction.round(2)  # of the Milky Way, by the curves, over E(B-V)

# %%
# The file explains itself and is checked when it is read: lists that disagree in length, curves
# that lie where no spectrum is, an unknown key. In the shell it is what ``--survey`` takes.

from photospec.errors import InputError

try:
    survey.replace(psf=PsfConfig(fwhm=(1.2, 1.1)))
except InputError as error:
    print(error)

# %%
# Pairs
# -----
#
# In the shell: ``photospec simulate -n 480 -o pairs.h5 --survey toy.toml``.

from photospec.simulation import simulate_pairs

survey = Survey.read(folder / "toy.toml")
simulate_pairs(480, folder / "pairs.h5", survey=survey, n_processes=1)

# %%
# Training
# --------
#
# Networks with ``masked_bands`` can do without a band: ``missing_bands`` says how often each is
# taken away. Settings that are not changed are those of the preset.

from photospec.training import TrainConfig, train_all

settings = {}
for stage in ("contrastive", "base", "super-resolution"):
    config = TrainConfig.preset("tiny", stage)
    name = "contrastive" if stage == "contrastive" else "diffusion"
    size = getattr(config, name)
    size = replace(size, image=replace(size.image, masked_bands=True))
    if stage == "base":
        size = replace(size, redshift=True)  # has a density of the redshift, too
    settings[stage] = config.change(
        max_steps=160 if stage == "base" else None,
        data=replace(config.data, missing_bands=(0.3, 0.0, 0.1)),
        **{name: size},
    )
made = train_all(settings, folder / "pairs.h5", folder / "run")

# %%
# Use
# ---
#
# The weights carry the description: bands, response curves, extinction, pixel scale, fibre.

from photospec import PhotoSpectrograph

spectrograph = PhotoSpectrograph.load(made)
config = spectrograph.config
config.survey, config.bands, config.pixel_scale, config.may_miss, config.scale_band

# %%

from astropy.nddata import NDData

new = survey.replace(seed=2).simulate(192)
meta = {"bands": survey.bands, "pixel_scale": survey.pixel_scale * u.arcsec}
images = [
    NDData(data, unit=u.nmgy, meta=meta | {"galactic_ebv": float(ebv)})
    for data, ebv in zip(new.image, new.object["galactic_ebv"], strict=True)
]
spectra = spectrograph.predict(images[:8], seed=0, n_candidates=2)
spectra.meta["flags"][:2]

# %%
# An image without its blue band, or with a bad one, is not refused. A flag says so, and the
# redshift is known less well: the densities are wider.

import numpy as np

masked = [NDData(image.data.copy(), unit=image.unit, meta=image.meta) for image in images]
for image in masked:
    image.data[0] = np.nan
density = {"three bands": spectrograph.redshift_density(images)}
density["without blue"] = spectrograph.redshift_density(masked)
for name, one in density.items():
    error = np.abs(one.mean - new.object["redshift"]) / (1 + new.object["redshift"])
    print(f"{name}: median error {np.median(error):.3f}, median width {np.median(one.std):.3f}")
assert "missing_band_blue" in density["without blue"].flags[0]
assert np.median(density["without blue"].std) > np.median(density["three bands"].std)

# %%
# Images of other surveys are refused by name, pixels of another size within a factor of two are
# resampled, beyond they are refused.

sdss = Survey.sdss_main(seed=3)
wrong = {
    "other bands": {"bands": ("g", "r", "i"), "pixel_scale": 0.5 * u.arcsec},
    "other pixels": {"bands": survey.bands, "pixel_scale": 0.2 * u.arcsec},
}
for what, about in wrong.items():
    try:
        spectrograph.predict(NDData(images[0].data, unit=u.nmgy, meta=about))
    except InputError as error:
        print(f"{what}: {error}")

# %%
# For science
# -----------
#
# The networks of the package, its population and a card, in one command that goes on where it
# stopped (hours on a processor, minutes on a graphics card; ``--scale 0.01`` tries the whole way)::
#
#     python recipes/default_weights.py WORK_FOLDER --survey toy.toml
#
# It begins with the SDSS weights, of which everything but the bands is taken over.
