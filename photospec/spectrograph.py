"""PhotoSpectrograph: images in, spectra out."""

import zlib
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from astropy import units as u
from astropy.nddata import NDData
from specutils import Spectrum

from photospec.apertures import aperture_flux
from photospec.candidates import CandidateSpectra
from photospec.errors import InputError
from photospec.filters import band_flux
from photospec.image import ImageArray, prepare_image
from photospec.spectrum import (
    FIBRE_RADIUS,
    FLUX_UNIT,
    WAVELENGTH,
    SpectrumArrays,
    to_arrays,
    to_training_grid,
)
from photospec.weights import load_cascade, save_cascade

__all__ = ["PhotoSpectrograph"]

#: Band whose fibre flux sets the flux scale of predicted spectra.
_SCALE_BAND = "r"
_BUNDLED = files("photospec") / "data" / "default"
_DTYPES = {"float32": None, "bfloat16": torch.bfloat16}


class PhotoSpectrograph:
    """Predicts the optical spectrum of a galaxy from its photometric image.

    Make one with `load`, or from a trained cascade with the constructor.

    Parameters
    ----------
    cascade : photospec.networks.cascade.Cascade
        Trained networks.
    config : photospec.weights.SpectrographConfig
        Bands, sizes and provenance.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    dtype : {None, "bfloat16", "float32"}
        Precision inside the networks; by default bfloat16 where the processor has it.
    """

    def __init__(self, cascade, config, *, device="cpu", dtype=None):
        self.device = _check_device(device)
        self.dtype = _check_dtype(dtype, self.device)
        self.config = config
        self.cascade = cascade.to(self.device).eval()
        self.cascade.set_precision(_DTYPES[self.dtype])

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
        device = _check_device(device or "cpu")  # before the work of reading
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
        if isinstance(image, ImageArray):
            return image
        config = self.config
        prepared = prepare_image(
            image, bands=config.bands, pixel_scale=config.pixel_scale, size=config.image_size
        )
        self._fibre_flux(prepared)
        return prepared

    def predict(self, image, *, seed=0, n_candidates=None):
        """Predict the spectrum of each image: its most similar candidate.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            Axes (n_bands, ny, nx), a flux unit, ``meta["bands"]``; the target at the centre.
        seed : int
            Same image and seed, same spectrum, alone or among others.
        n_candidates : int, optional
            Candidates to draw per image and rank; the weights' default if not given.

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
        single = isinstance(image, NDData | ImageArray)
        images = self._prepare_all([image] if single else list(image))
        n_candidates = self._check_number(n_candidates)
        flux, similarity, nfe = self._draw(images, n_candidates, seed)
        rows = np.arange(len(images))
        best = similarity.argmax(axis=1)
        meta = self._meta(images, seed, n_candidates, nfe)
        meta["similarity"] = [float(s) for s in similarity[rows, best]]
        flux = flux[rows, best]
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
        n_candidates : int
            How many.
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
        images = self._prepare_all([image])
        n_candidates = self._check_number(n_candidates)
        flux, similarity, nfe = self._draw(images, n_candidates, seed)
        meta = self._meta(images, seed, n_candidates, nfe)
        meta["flags"] = meta["flags"][0]
        return CandidateSpectra(_spectrum(flux[0], meta), similarity[0])

    def embed_image(self, image):
        """Unit vectors (n, embedding_size) of one or many images."""
        single = isinstance(image, NDData | ImageArray)
        images = self._prepare_all([image] if single else list(image))
        return self.cascade.embed_image(self._tensor(images)).cpu().numpy()

    def embed_spectrum(self, spectrum):
        """Unit vectors (n, embedding_size) of spectra on the training grid or covering it."""
        return self.cascade.embed_spectrum(self._fluxes(spectrum)).cpu().numpy()

    def similarity(self, image, spectrum):
        """Cosine similarity (n_images, n_spectra) of every image with every spectrum."""
        return self.embed_image(image) @ self.embed_spectrum(spectrum).T

    def rank(self, image, spectrum):
        """Indices of the spectra, most similar to the image first, (n_spectra,)."""
        return np.argsort(-self.similarity(image, spectrum)[0], kind="stable")

    def _fluxes(self, spectrum):
        arrays = spectrum if isinstance(spectrum, SpectrumArrays) else to_arrays(spectrum)
        flux = arrays.flux
        if not np.array_equal(arrays.wavelength, WAVELENGTH):
            flux = to_training_grid(arrays.wavelength, flux)
        return torch.as_tensor(flux, dtype=torch.float32, device=self.device)

    def _prepare_all(self, images):
        if not images:
            raise InputError("image: expected at least one image, got an empty sequence")
        prepared = []
        for number, image in enumerate(images):
            try:
                prepared.append(self.prepare(image))
            except InputError as error:
                if len(images) == 1:
                    raise
                raise InputError(f"image number {number} of {len(images)}: {error}") from None
        return prepared

    def _tensor(self, images):
        return torch.from_numpy(np.stack([image.data for image in images])).to(self.device)

    def _draw(self, images, n_candidates, seed):
        """Physical flux (n_images, n_candidates, n_wave), similarity, nfe."""
        generators = [_generator(seed, image.data) for image in images]
        drawn = self.cascade.sample(self._tensor(images), n_candidates, generators)
        flux = drawn.flux.cpu().numpy().astype(float)
        wanted = np.array([self._fibre_flux(image) for image in images])
        bands = [_SCALE_BAND]
        flux *= (wanted[:, None] / band_flux(WAVELENGTH, flux, bands)[..., 0])[..., None]
        return flux, drawn.similarity.cpu().numpy(), drawn.nfe

    def _fibre_flux(self, image):
        """Flux through the fibre aperture in the scale band, nanomaggies."""
        band = image.bands.index(_SCALE_BAND)
        flux = float(
            aperture_flux(image.data[band], FIBRE_RADIUS, pixel_scale=image.pixel_scale)
        )
        if not flux > 0:
            raise InputError(
                f"image: expected light within {FIBRE_RADIUS} arcsec of the centre in band "
                f"{_SCALE_BAND}, got {flux:.3g} nanomaggies; is the target elsewhere?"
            )
        return flux

    def _check_number(self, n_candidates):
        if n_candidates is None:
            return self.config.sampling.n_candidates
        if not isinstance(n_candidates, int | np.integer) or n_candidates < 1:
            raise InputError(f"n_candidates: expected a positive number, got {n_candidates!r}")
        return int(n_candidates)

    def _meta(self, images, seed, n_candidates, nfe):
        return {
            "lsf_sigma": self.line_spread(),
            "wavelength_medium": "vacuum",
            "flags": [list(image.flags) for image in images],
            "seed": seed,
            "n_candidates": n_candidates,
            "nfe": nfe,
            "provenance": {"photospec": version("photospec"), **self.config.provenance},
        }


def _spectrum(flux, meta):
    unit = u.Unit("erg / (s cm2 Angstrom)")
    scale = FLUX_UNIT.to(unit)
    return Spectrum(flux=flux * scale * unit, spectral_axis=WAVELENGTH * u.AA, meta=meta)


def _generator(seed, data):
    """Noise of an image: decided by the seed and the pixels, so alone or in a batch alike."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed: expected a whole number, zero or positive, got {seed!r}")
    state = np.random.SeedSequence((int(seed), zlib.crc32(np.ascontiguousarray(data))))
    return torch.Generator().manual_seed(int(state.generate_state(1, np.uint64)[0] >> np.uint64(1)))


def _check_device(device):
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f"device: expected cpu, cuda or cuda:N, got {device!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device: expected cpu, cuda or cuda:N, got {str(device)!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device: expected one that is available, got {str(device)!r}; this machine and this "
            f"build of torch offer {torch.cuda.device_count()} CUDA devices"
        )
    return device


def _check_dtype(dtype, device):
    if dtype is None:
        has_bfloat16 = device.type == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16")
        return "bfloat16" if has_bfloat16 else "float32"
    if dtype not in _DTYPES:
        raise InputError(f"dtype: expected {' or '.join(_DTYPES)}, got {dtype!r}")
    return dtype
