"""Render one block of galaxies: everything between the population and the pair."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from photospec.photometry.apertures import aperture_weights
from photospec.photometry.filters import band_weights
from photospec.simulation.galaxies.gas import line_index
from photospec.simulation.galaxies.population import draw_galaxies
from photospec.simulation.galaxies.sed import LINE_NAMES, render_spectra
from photospec.simulation.galaxies.stars import stellar_basis
from photospec.simulation.instrument.fibre import fibre_spectra, observe
from photospec.simulation.instrument.images import BULGE, DISK, OTHER, render_images
from photospec.simulation.instrument.noise import add_noise, draw_shifts, draw_sky
from photospec.simulation.instrument.psf import draw_psf
from photospec.simulation.instrument.scene import draw_scene
from photospec.simulation.instrument.sky import place_sky
from photospec.simulation.truth import index_columns, truth_columns
from photospec.utils.parallel import one_thread

__all__ = ["BLOCK", "SimulatedPairs", "simulate_block"]

#: Galaxies that share one random stream. A multiple makes a file resumable at any pair, and 64
#: spectra are enough for the matrix products to run at full speed.
BLOCK = 64


@dataclass(frozen=True, repr=False)
class SimulatedPairs:
    """Simulated pairs.

    Attributes
    ----------
    image : ndarray of float32
        Shape (n, n_bands, size, size), nanomaggies per pixel, y up, with noise.
    truth_image : ndarray of float32
        The same without noise.
    flux, ivar : ndarray of float32
        Shape (n, n_wave) on `photospec.spectrum.WAVELENGTH`, 1e-17 erg/s/cm2/A and its inverse
        square.
    truth_flux : ndarray of float32
        Shape (n, n_wave), noiseless.
    fibre_wavelength : ndarray
        Shape (n_w,), vacuum Angstrom: the bands' full range.
    fibre_flux : ndarray of float32
        Shape (n, n_w): light in the fibre before the spectrograph, 1e-17 erg/s/cm2/A. Its band
        fluxes are those of `truth_image` inside the centred fibre, but for ``survey.zero_points``.
    object : dict of ndarray
        What a catalogue would tell: redshift, galactic_ebv, simulation_id.
    truth : dict of ndarray
        Every parameter, one number per galaxy and column.
    """

    image: np.ndarray
    truth_image: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    truth_flux: np.ndarray
    fibre_wavelength: np.ndarray
    fibre_flux: np.ndarray
    object: dict
    truth: dict

    def __len__(self):
        return len(self.image)

    def __repr__(self):
        return f"<SimulatedPairs: {len(self)} pairs, images {self.image.shape[1:]}>"

    def __getitem__(self, index):
        return SimulatedPairs(
            **{
                f.name: _pick(getattr(self, f.name), index, f.name == "fibre_wavelength")
                for f in fields(self)
            }
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join batches of one survey."""
        columns = {}
        for f in fields(cls):
            values = [getattr(part, f.name) for part in parts]
            if f.name == "fibre_wavelength":
                columns[f.name] = values[0]
            elif isinstance(values[0], dict):
                columns[f.name] = {k: np.concatenate([v[k] for v in values]) for k in values[0]}
            else:
                columns[f.name] = values[0] if len(values) == 1 else np.concatenate(values)
        return cls(**columns)


def _pick(value, index, whole):
    if whole:
        return value
    if isinstance(value, dict):
        return {k: v[index] for k, v in value.items()}
    return value[index]


def simulate_block(survey, block, indices=()):
    """Make the pairs number block * BLOCK to (block + 1) * BLOCK - 1.

    Parameters
    ----------
    survey : Survey
    block : int
    indices : sequence, optional
        Spectral indices for the truth table, see `index_columns`.

    Returns
    -------
    SimulatedPairs
    """
    # A matrix product rounds differently on another number of threads, and the galaxies
    # would depend on the machine.
    with one_thread():
        return _simulate_block(survey, block, indices)


def _simulate_block(survey, block, indices):
    streams = np.random.SeedSequence((survey.seed, block)).spawn(4)
    rng_galaxies, rng_scene, rng_image, rng_spectrum = map(np.random.default_rng, streams)
    bands, responses, fibre = survey.bands, tuple(survey.responses), survey.spectrograph

    galaxies = draw_galaxies(survey.population, rng_galaxies, BLOCK)
    spectra = render_spectra(
        galaxies, config=survey.population, galactic_extinction=survey.galactic_extinction
    )
    wavelength = np.asarray(spectra.wavelength, float)
    weights = band_weights(wavelength, responses)[0].astype(np.float32)
    bulge_flux, disk_flux = spectra.bulge @ weights, spectra.disk @ weights

    half_width = 0.5 * survey.size * survey.pixel_scale
    scene = survey.scene
    if survey.sky_frames:  # real neighbours come with the sky
        scene = replace(scene, galaxy_density=0.0, star_density=0.0)
    sources, scene_truth = draw_scene(
        scene, rng_scene, galaxies, bulge_flux, disk_flux, bands=responses, half_width=half_width
    )
    psf = draw_psf(survey.psf, rng_image, BLOCK)
    shifts = draw_shifts(survey.noise, rng_image, BLOCK, bands)
    sky_rms = draw_sky(survey.noise, rng_image, BLOCK)
    truth_image, inside = render_images(
        sources,
        psf,
        shifts,
        size=survey.size,
        pixel_scale=survey.pixel_scale,
        fibre_radius=fibre.fibre_radius,
    )
    truth_image *= survey.band_factor[:, None, None]
    if survey.sky_frames:
        image, sky_rms = place_sky(truth_image, survey, rng_image)
    else:
        image = add_noise(truth_image, sky_rms, shifts, survey.noise, rng_image)

    apertures = np.zeros((3, BLOCK, len(bands)))
    np.add.at(apertures, (sources.component, sources.image), inside)
    totals = np.stack([bulge_flux, disk_flux])
    fibre_flux = fibre_spectra(
        spectra, totals, apertures[[BULGE, DISK]], apertures[OTHER], responses
    )
    truth_flux, flux, ivar, spectrum_truth = observe(wavelength, fibre_flux, fibre, rng_spectrum)

    weight = aperture_weights((survey.size, survey.size), fibre.fibre_radius / survey.pixel_scale)
    fibre_bands = np.einsum("nbyx,yx->nb", truth_image, weight)
    truth = truth_columns(
        galaxies,
        spectra,
        apertures,
        totals,
        wavelength,
        galactic_extinction=survey.galactic_extinction,
    )
    # No equivalent width of a line whose continuum lies beyond the rendered range.
    for name in LINE_NAMES:
        line = stellar_basis().line_wavelength[line_index(name)] * (1 + galaxies.redshift)
        outside = (line < 1.02 * wavelength[0]) | (1.02 * line > wavelength[-1])
        truth[f"{name}_ew"] = np.where(outside, np.nan, truth[f"{name}_ew"])
    truth |= index_columns(wavelength, fibre_flux, galaxies.redshift, indices)
    truth |= scene_truth | spectrum_truth
    factor = survey.band_factor
    for b, band in enumerate(bands):
        truth[f"total_flux_{band}"] = factor[b] * totals[:, :, b].sum(axis=0)
        truth[f"fibre_flux_{band}"] = fibre_bands[:, b]
        truth[f"neighbour_fibre_flux_{band}"] = factor[b] * apertures[OTHER, :, b]
        truth[f"psf_fwhm_{band}"] = psf.fwhm[:, b]
        truth[f"sky_rms_{band}"] = sky_rms[:, b]
    number = block * BLOCK + np.arange(BLOCK)
    # What a dust map says; zero where there is none in the way.
    ebv = np.asarray(galaxies.galactic_ebv, float) * survey.galactic_extinction
    return SimulatedPairs(
        image=image,
        truth_image=truth_image,
        flux=flux,
        ivar=ivar,
        truth_flux=truth_flux,
        fibre_wavelength=wavelength,
        fibre_flux=fibre_flux,
        object={
            "redshift": np.asarray(galaxies.redshift, float),
            "galactic_ebv": ebv,
            "simulation_id": number,
        },
        truth=truth,
    )
