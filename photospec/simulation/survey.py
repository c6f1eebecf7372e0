"""Surveys: an immutable description of sky and instrument that renders pairs.

Galaxies are made in blocks of 64, each with its own random streams seeded by
(seed, block number), so galaxy i of a survey is the same galaxy whatever the batch, the
order, or the number of processes.
"""

from dataclasses import dataclass, field, fields, replace

import numpy as np

from photospec.errors import InputError
from photospec.filters import band_weights, load_band
from photospec.simulation.images import BULGE, DISK, OTHER, aperture_weights, render_images
from photospec.simulation.noise import NoiseConfig, add_noise, draw_shifts, draw_sky
from photospec.simulation.observation import SpectrographConfig, fibre_spectra, observe
from photospec.simulation.population import PopulationConfig, draw_galaxies
from photospec.simulation.psf import PsfConfig, draw_psf
from photospec.simulation.scene import SceneConfig, draw_scene
from photospec.simulation.sed import render_spectra
from photospec.simulation.truth import truth_columns

__all__ = ["BLOCK", "Batch", "Survey"]

BLOCK = 64
"""Galaxies that share one random stream."""


@dataclass(frozen=True, repr=False)
class Batch:
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
        fluxes are those of `truth_image` inside the centred fibre.
    object : dict of ndarray
        What a catalogue would tell: redshift, simulation_id.
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
        return f"<Batch: {len(self)} pairs, images {self.image.shape[1:]}>"

    def __getitem__(self, index):
        return Batch(
            **{
                f.name: _pick(getattr(self, f.name), index, f.name == "fibre_wavelength")
                for f in fields(self)
            }
        )

    @classmethod
    def concatenate(cls, parts):
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


@dataclass(frozen=True)
class Survey:
    """An imaging survey with fibre spectra.

    Attributes
    ----------
    name : str
    seed : int
        The same seed gives the same galaxies.
    bands : tuple of str
        Letters of the image's bands, in order, among u, g, r, i, z.
    responses : tuple of str
        Response curve of each band for `photospec.filters.load_band`.
    pixel_scale : float
        Arcsec.
    size : int
        Pixels on a side.
    galactic_extinction : bool
        Dust of the Milky Way dims and reddens images and spectra, as in uncorrected real data.
    population, scene, psf, noise, spectrograph : dataclass
        The galaxies; what stands around them; seeing; image noise; fibres and spectra.

    Examples
    --------
    >>> from photospec.simulation import Survey
    >>> survey = Survey.sdss_main(seed=1)
    >>> batch = survey.simulate(8)  # doctest: +SKIP
    >>> larger = survey.replace(size=96)
    """

    name: str = "sdss_main"
    seed: int = 0
    bands: tuple = ("u", "g", "r", "i", "z")
    responses: tuple = ("u", "g", "r", "i", "z")
    pixel_scale: float = 0.396
    size: int = 64
    galactic_extinction: bool = True
    population: PopulationConfig = field(default_factory=PopulationConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    psf: PsfConfig = field(default_factory=PsfConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    spectrograph: SpectrographConfig = field(default_factory=SpectrographConfig)

    def __post_init__(self):
        if not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise InputError(f"seed: expected an integer of at least 0, got {self.seed!r}")
        unknown = [b for b in self.bands if b not in "ugriz" or len(b) != 1]
        if unknown or not self.bands:
            raise InputError(
                f"bands: expected letters among u, g, r, i, z, got {self.bands!r}; the image model "
                "knows colours in these bands only"
            )
        per_band = {
            "responses": self.responses,
            "psf.fwhm": self.psf.fwhm,
            "noise.sky_rms": self.noise.sky_rms,
            "noise.sky_rms_scatter": self.noise.sky_rms_scatter,
            "noise.electron": self.noise.electron,
        }
        for key, value in per_band.items():
            if len(value) != len(self.bands):
                raise InputError(
                    f"{key}: expected one value per band ({len(self.bands)}), got {len(value)}; "
                    "change it together with bands"
                )
        for response in self.responses:
            load_band(response)
        if not 16 <= self.size <= 512:
            raise InputError(f"size: expected 16 to 512 pixels, got {self.size!r}")
        if not 0.05 <= self.pixel_scale <= 5:
            raise InputError(
                f"pixel_scale: expected 0.05 to 5 arcsec, got {self.pixel_scale!r}; wrong unit?"
            )
        if not 2 * self.spectrograph.fibre_radius < self.size * self.pixel_scale:
            raise InputError(
                "spectrograph.fibre_radius: expected a fibre inside the image of "
                f"{self.size * self.pixel_scale:.1f} arcsec, got {self.spectrograph.fibre_radius!r}"
            )

    @classmethod
    def sdss_main(cls, seed=0):
        """SDSS Main Galaxy Sample: r < 17.77, ugriz, three-arcsecond fibres.

        Parameters
        ----------
        seed : int

        Returns
        -------
        Survey
        """
        return cls(seed=seed)

    @classmethod
    def desi_legacy(cls, seed=0):
        """DESI Bright Galaxy Survey with Legacy Surveys g, r, z images.

        Seeing and depth: Dey et al. 2019 (AJ 157, 168, table 4); fibres of 1.5 arcsec and
        resolution: DESI Collaboration 2022 (AJ 164, 207).

        Parameters
        ----------
        seed : int

        Returns
        -------
        Survey
        """
        return cls(
            name="desi_legacy",
            seed=seed,
            bands=("g", "r", "z"),
            responses=("decam2014-g", "decam2014-r", "decam2014-z"),
            pixel_scale=0.262,
            size=96,
            population=PopulationConfig(r_limit=19.5),
            psf=PsfConfig(fwhm=(1.29, 1.18, 1.11), ellipticity_mean=0.0),
            noise=NoiseConfig(
                sky_rms=(0.0038, 0.0080, 0.0180),
                sky_rms_scatter=(0.2, 0.2, 0.2),
                electron=(0.0002, 0.0002, 0.0004),
                resample=False,
            ),
            spectrograph=SpectrographConfig(
                fibre_radius=0.75,
                wavelength_range=(3600.0, 9800.0),
                lsf_wavelength=(3600.0, 5800.0, 7600.0, 9800.0),
                lsf_sigma=(60.0, 38.0, 32.0, 25.0),
                noise_wavelength=(3600.0, 3800.0, 4200.0, 5000.0, 6500.0, 8000.0, 9800.0),
                noise_sigma=(2.5, 1.6, 0.9, 0.65, 0.45, 0.45, 0.6),
            ),
        )

    def replace(self, **changes):
        """Return a survey that differs in the named fields.

        Raises
        ------
        InputError
            If there is no such field or the value is impossible.
        """
        known = [f.name for f in fields(self)]
        for key in changes:
            if key not in known:
                raise InputError(
                    f"survey: expected parameters among {', '.join(known)}, got {key!r}; "
                    "is it a field of population, psf or another part?"
                )
        return replace(self, **changes)

    def simulate(self, n, start=0):
        """Make n pairs.

        Parameters
        ----------
        n : int
        start : int
            Number of the first galaxy.

        Returns
        -------
        Batch
            Galaxies start to start + n - 1.
        """
        if n < 1 or start < 0:
            raise InputError(f"n, start: expected n >= 1 and start >= 0, got {n!r} and {start!r}")
        blocks = range(start // BLOCK, (start + n - 1) // BLOCK + 1)
        batch = Batch.concatenate([simulate_block(self, block) for block in blocks])
        first = start - blocks[0] * BLOCK
        return batch if (first, n) == (0, len(batch)) else batch[first : first + n]


def simulate_block(survey, block):
    """The `BLOCK` pairs from number block * BLOCK on, as a Batch."""
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
    sources, scene_truth = draw_scene(
        survey.scene, rng_scene, galaxies, bulge_flux, disk_flux, bands=bands, half_width=half_width
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
    image = add_noise(truth_image, sky_rms, shifts, survey.noise, rng_image)

    apertures = np.zeros((3, BLOCK, len(bands)))
    np.add.at(apertures, (sources.component, sources.image), inside)
    totals = np.stack([bulge_flux, disk_flux])
    fibre_flux = fibre_spectra(
        spectra, totals, apertures[[BULGE, DISK]], apertures[OTHER], responses
    )
    truth_flux, flux, ivar, spectrum_truth = observe(wavelength, fibre_flux, fibre, rng_spectrum)

    weight = aperture_weights(survey.size, survey.pixel_scale, fibre.fibre_radius)
    fibre_bands = np.einsum("nbyx,yx->nb", truth_image, weight)
    truth = truth_columns(
        galaxies,
        spectra,
        apertures,
        totals,
        wavelength,
        fibre_flux,
        galactic_extinction=survey.galactic_extinction,
    )
    truth |= scene_truth | spectrum_truth
    for b, band in enumerate(bands):
        truth[f"total_flux_{band}"] = totals[:, :, b].sum(axis=0)
        truth[f"fibre_flux_{band}"] = fibre_bands[:, b]
        truth[f"neighbour_fibre_flux_{band}"] = apertures[OTHER, :, b]
        truth[f"psf_fwhm_{band}"] = psf.fwhm[:, b]
        truth[f"sky_rms_{band}"] = sky_rms[:, b]
    number = block * BLOCK + np.arange(BLOCK)
    return Batch(
        image=image,
        truth_image=truth_image,
        flux=flux,
        ivar=ivar,
        truth_flux=truth_flux,
        fibre_wavelength=wavelength,
        fibre_flux=fibre_flux,
        object={"redshift": np.asarray(galaxies.redshift, float), "simulation_id": number},
        truth=truth,
    )
