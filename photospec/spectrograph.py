"""PhotoSpectrograph: images in, spectra out."""

from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from astropy import units as u
from astropy.nddata import NDData
from specutils import Spectrum

from photospec.candidates import CandidateSpectra, best_candidate
from photospec.errors import InputError
from photospec.image import ImageArray, prepare_image
from photospec.network_input import (
    as_list,
    check_draws,
    check_image,
    image_seed,
    parts,
    spectra_for_networks,
)
from photospec.networks.devices import DTYPES, check_device, check_dtype
from photospec.photometry.apertures import aperture_flux
from photospec.photometry.filters import band_flux
from photospec.spectrum import FIBRE_RADIUS, FLUX_UNIT, WAVELENGTH
from photospec.weights import SCALE_BAND, load_cascade, save_cascade

__all__ = ["PhotoSpectrograph"]

#: Flag of images unlike those of the training.
OUT_OF_DISTRIBUTION = "out_of_distribution"
_BUNDLED = files("photospec") / "data" / "default"
# Images or spectra that pass through the networks at once; bounds the memory.
_AT_ONCE = 128


class PhotoSpectrograph:
    """Predicts the optical spectrum of a galaxy from its photometric image.

    Made with `load`, or from a trained cascade.

    Parameters
    ----------
    cascade : photospec.networks.cascade.Cascade
        Trained networks; moved to the device, not copied.
    config : photospec.weights.SpectrographConfig
        Bands, sizes and provenance.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    dtype : {None, "bfloat16", "float32"}
        Precision inside the networks; by default what the weights ask for, else bfloat16 where
        the processor has it.
    """

    def __init__(self, cascade, config, *, device="cpu", dtype=None):
        self.device = check_device(device)
        self.dtype = check_dtype(dtype or config.default_dtype, self.device)
        self.config = config
        self.cascade = cascade.to(self.device).eval()
        self.cascade.set_precision(DTYPES[self.dtype])

    @classmethod
    def load(cls, path=None, *, device=None, dtype=None):
        """Read trained weights.

        Parameters
        ----------
        path : path-like, optional
            Folder written by `save`; the bundled weights by default.
        device : str, optional
            ``"cpu"`` (default) or ``"cuda"``.
        dtype : str, optional
            See `PhotoSpectrograph`.

        Returns
        -------
        PhotoSpectrograph

        Raises
        ------
        InputError
            No such folder, a file missing or broken, an unavailable device.
        """
        device = check_device(device or "cpu")  # before the work of reading
        path = Path(str(_BUNDLED)) if path is None else Path(path)
        if path.name == "config.toml":
            path = path.parent
        cascade, config = load_cascade(path)
        return cls(cascade, config, device=str(device), dtype=dtype)

    def save(self, path, *, overwrite=False):
        """Write the spectrograph to a folder: ``config.toml`` and ``*.safetensors``."""
        save_cascade(path, self.cascade, self.config, overwrite=overwrite)

    def __repr__(self):
        return (
            f"<PhotoSpectrograph: bands {''.join(self.config.bands)}, "
            f"{WAVELENGTH[0]:.0f}-{WAVELENGTH[-1]:.0f} Angstrom, {self.device}, {self.dtype}>"
        )

    def line_spread(self):
        """Gaussian sigma (n_wave,) of the spectra's line-spread function, Angstrom."""
        return np.interp(WAVELENGTH, self.config.lsf_wavelength, self.config.lsf_sigma)

    def prepare(self, image):
        """Check an image and cut it to what the networks take, an `ImageArray`."""
        config = self.config
        if isinstance(image, ImageArray):
            check_image(image, config.bands, config.pixel_scale, config.image_size)
        else:
            image = prepare_image(
                image, bands=config.bands, pixel_scale=config.pixel_scale, size=config.image_size
            )
        self._fibre_flux(image)
        return image

    def predict(self, image, *, seed=0, n_candidates=None):
        """Predict the spectrum of each image: the candidate that stands best for all.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            Axes (n_bands, ny, nx), a flux unit, ``meta["bands"]``; the target at the centre.
        seed : int
            Same image and seed, same spectrum, alone or among others.
        n_candidates : int, optional
            Candidates to draw and choose from; the weights' default if not given.

        Returns
        -------
        specutils.Spectrum
            Flux (n_wave,), or (n_images, n_wave) for a sequence, erg s-1 cm-2 Angstrom-1, as
            through a fibre of 3 arcsec; vacuum, observed frame. ``meta`` holds ``lsf_sigma``,
            ``similarity``, ``flags``, ``seed``, ``n_candidates``, ``nfe``, ``provenance``.

        Raises
        ------
        InputError
            For an image that cannot be used; in a sequence the message names which.
        """
        n_candidates = check_draws(n_candidates, seed, self.config.sampling.n_candidates)
        images, single = self._prepare_all(image)
        flux, similarities = [], []
        for part in parts(images, max(1, _AT_ONCE // n_candidates)):
            drawn, nfe = self._draw(part, n_candidates, seed)
            for candidates, similarity, *_, best in drawn:
                flux.append(candidates[best])
                similarities.append(float(similarity[best]))
        flux = np.stack(flux)
        meta = self._meta(images, seed, n_candidates, nfe)
        meta["similarity"] = similarities
        if single:
            meta["similarity"], meta["flags"] = meta["similarity"][0], meta["flags"][0]
            flux = flux[0]
        return _spectrum(flux, meta)

    def sample(self, image, n_candidates=25, *, seed=0):
        """Draw candidate spectra for one image.

        Parameters
        ----------
        image : NDData
            As in `predict`.
        n_candidates : int or None
            How many; None for the weights' default, which `predict` takes.
        seed : int
            Same image, seed and number, same candidates.

        Returns
        -------
        CandidateSpectra
        """
        if not isinstance(image, NDData | ImageArray):
            raise InputError(
                f"image: expected one NDData, got {type(image).__name__}; sample takes one image, "
                "predict takes many"
            )
        n_candidates = check_draws(n_candidates, seed, self.config.sampling.n_candidates)
        images, _ = self._prepare_all(image)
        [(flux, similarity, redshift, expected, best)], nfe = self._draw(images, n_candidates, seed)
        meta = self._meta(images, seed, n_candidates, nfe)
        meta["flags"] = meta["flags"][0]
        return CandidateSpectra(_spectrum(flux, meta), similarity, redshift, best, expected)

    def embed_image(self, image):
        """Unit vectors of images.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            As in `predict`.

        Returns
        -------
        ndarray (n_images, embedding_size)
            Float32; one row for a single image.
        """
        images, _ = self._prepare_all(image)
        embedded = [self.cascade.embed_image(self._tensor(p)) for p in parts(images, _AT_ONCE)]
        return torch.cat(embedded).cpu().numpy()

    def embed_spectrum(self, spectrum):
        """Unit vectors of spectra.

        Parameters
        ----------
        spectrum : specutils.Spectrum
            One or n spectra that cover 4000 to 8499 Angstrom in the observed frame, predicted
            or observed; the latter are smoothed as predicted ones are, and bad samples bridged.

        Returns
        -------
        ndarray (n_spectra, embedding_size)
            Float32.

        Raises
        ------
        InputError
            If spectra do not cover the range or have no light.
        """
        flux = torch.from_numpy(spectra_for_networks(spectrum)).to(self.device)
        parts = [self.cascade.embed_spectrum(part) for part in flux.split(_AT_ONCE)]
        return torch.cat(parts).cpu().numpy()

    def similarity(self, image, spectrum):
        """Cosine similarity (n_images, n_spectra) of every image with every spectrum."""
        return self.embed_image(image) @ self.embed_spectrum(spectrum).T

    def rank(self, image, spectrum):
        """Order spectra by their similarity to an image.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            As in `predict`.
        spectrum : specutils.Spectrum
            As in `embed_spectrum`.

        Returns
        -------
        ndarray of int (n_spectra,), or (n_images, n_spectra) for a sequence
            Indices of the spectra, the most similar first.
        """
        order = np.argsort(-self.similarity(image, spectrum), axis=1, kind="stable")
        return order[0] if as_list(image)[1] else order

    def _prepare_all(self, image):
        """Prepared images, and whether it was one rather than a sequence."""
        images, single = as_list(image)
        if not images:
            raise InputError("image: expected at least one image, got an empty sequence")
        prepared = []
        for number, one in enumerate(images):
            try:
                prepared.append(self.prepare(one))
            except InputError as error:
                if single:
                    raise
                raise InputError(f"image number {number} of {len(images)}: {error}") from None
        return prepared, single

    def _tensor(self, images):
        data = np.stack([image.data for image in images]).astype(np.float32, copy=False)
        return torch.from_numpy(data).to(self.device)

    def _draw(self, images, n_candidates, seed):
        """Of each image flux (n_candidates, n_wave), similarity, redshift(s), best; the nfe."""
        seeds = [image_seed(seed, image.data) for image in images]
        generators = [torch.Generator().manual_seed(own) for own in seeds]
        drawn = self.cascade.sample(self._tensor(images), n_candidates, generators)
        flux = drawn.flux.cpu().numpy().astype(float)
        wanted = np.array([self._fibre_flux(image) for image in images])
        flux *= (wanted[:, None] / band_flux(WAVELENGTH, flux, [SCALE_BAND])[..., 0])[..., None]
        redshift = expected = [None] * len(images)
        if drawn.redshift is not None:
            redshift, expected = drawn.redshift.cpu().numpy(), drawn.expected_redshift.tolist()
        found = list(zip(flux, drawn.similarity.cpu().numpy(), redshift, expected, strict=True))
        choose = self.config.sampling.choose
        return [(*one, best_candidate(*one, choose=choose)) for one in found], drawn.nfe

    def _fibre_flux(self, image):
        """Flux through the fibre aperture in the scale band, nanomaggies."""
        band = image.bands.index(SCALE_BAND)
        flux = float(aperture_flux(image.data[band], FIBRE_RADIUS, pixel_scale=image.pixel_scale))
        if not flux > 0:
            raise InputError(
                f"image: expected light within {FIBRE_RADIUS} arcsec of the centre in band "
                f"{SCALE_BAND}, got {flux:.3g} nanomaggies; is the target elsewhere?"
            )
        return flux

    def _meta(self, images, seed, n_candidates, nfe):
        return {
            "lsf_sigma": self.line_spread(),
            "wavelength_medium": "vacuum",
            "flags": [
                [*image.flags, *([OUT_OF_DISTRIBUTION] if strange > 1 else [])]
                for image, strange in zip(images, self._strangeness(images), strict=True)
            ],
            "seed": seed,
            "n_candidates": n_candidates,
            "nfe": nfe,
            "provenance": {"photospec": version("photospec"), **self.config.provenance},
        }

    def strangeness(self, image):
        """How unlikely the photometry of images is among the training images.

        Zero is the median training image. Above one, where 1.5 % of them lie, the prediction is
        flagged ``"out_of_distribution"``: a star, an artefact, a saturated core, or a galaxy
        beyond the redshifts and magnitudes of the training.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            As in `predict`.

        Returns
        -------
        float, or ndarray (n_images,)
            The largest of three numbers (`photospec.networks.ood`), scaled so that the median
            training image has 0 and the strangest 1.5 % more than 1; NaN where the weights
            do not tell.
        """
        images, single = self._prepare_all(image)
        values = self._strangeness(images)
        return float(values[0]) if single else values

    def _strangeness(self, images):
        found = [self.cascade.strangeness(self._tensor(p)) for p in parts(images, _AT_ONCE)]
        if found[0] is None:
            return np.full(len(images), np.nan)
        return torch.cat(found).cpu().numpy()


def _spectrum(flux, meta):
    flux = (flux * FLUX_UNIT).to("erg / (s cm2 Angstrom)")
    axis = WAVELENGTH * u.AA
    return Spectrum(flux=flux, spectral_axis=axis, spectral_axis_index=-1, meta=meta)
