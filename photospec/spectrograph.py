"""PhotoSpectrograph: images in, spectra out."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
import torch
from astropy import units as u
from astropy.nddata import NDData
from specutils import Spectrum

from photospec.candidates import CandidateSpectra, best_candidate
from photospec.config import whole_number
from photospec.dust import galactic_transmission
from photospec.errors import InputError
from photospec.hub import fetch_weights, is_hub_address, push_weights
from photospec.image import ImageArray, band_names, prepare_image
from photospec.image.identity import identified, identifier_bytes, image_seed
from photospec.image.prepare import SAME_SCALE
from photospec.image.wcs import celestial, pixel_scales, target_pixel
from photospec.networks.cascade import Cascade
from photospec.networks.devices import DTYPES, check_device, check_dtype
from photospec.photometry.apertures import aperture_flux
from photospec.photometry.filters import band_flux
from photospec.redshift_density import ImageRedshiftDensity
from photospec.spectrum import FLUX_UNIT, WAVELENGTH
from photospec.spectrum.prepare import prepare_spectra
from photospec.weights import WeightsConfig, load_cascade, save_cascade

__all__ = ["PhotoSpectrograph"]

#: What weights that tell active nuclei by the image add to ``meta``, see `predict`.
AGN_NAMES = ("agn_score", "agn_probability")
#: Flag of images unlike those of the training.
OUT_OF_DISTRIBUTION = "out_of_distribution"
#: Begins the flag of an image that could not be used; the reason follows.
UNUSABLE = "unusable"
_UNIT = "erg / (s cm2 Angstrom)"
_DATA = files("photospec") / "data"
_BUNDLED = _DATA / "default"
#: Weights in the package that have a name; without one `PhotoSpectrograph.load` takes the first.
BUNDLED_WEIGHTS = ("default", "legacy")
#: Factor by which pixels of an image may be larger or smaller than those of the training.
MAX_RESAMPLING = 2.0
# Images or spectra that are handed to the networks at once; bounds the memory.
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
    dtype : {None, "bfloat16", "float32", "int8"}
        Precision inside the networks; by default what the weights ask for, else bfloat16 where
        the processor has matrix units for it (AMX), float32 where not. With ``"int8"``, on
        processors only, the denoising networks multiply in 8-bit integers: a fifth more
        candidates per second with AVX512-VNNI, spectra within 0.2 % rms.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.nddata import NDData
    >>> from photospec import PhotoSpectrograph
    >>> y, x = np.mgrid[:64, :64] - 32
    >>> bands = np.array([0.3, 1, 2, 3, 4])[:, None, None] * np.exp(-np.hypot(x, y) / 4)
    >>> meta = {"bands": "ugriz", "pixel_scale": 0.396 * u.arcsec, "galactic_ebv": 0.02}
    >>> spectrograph = PhotoSpectrograph.load()
    >>> spectrum = spectrograph.predict(NDData(bands, unit=u.nmgy, meta=meta), n_candidates=1)
    >>> spectrum.flux.shape, spectrum.flux.unit.to_string()
    ((4500,), 'erg / (Angstrom s cm2)')
    """

    def __init__(
        self,
        cascade: Cascade,
        config: WeightsConfig,
        *,
        device: str = "cpu",
        dtype: str | None = None,
    ):
        self.device = check_device(device)
        self.dtype = check_dtype(dtype or config.default_dtype, self.device)
        self.config = config
        self.cascade = cascade.to(self.device).eval()
        self.cascade.set_precision(DTYPES[self.dtype])
        # Where another process finds the same weights; None for those in memory only.
        self._loaded_from = None

    def __reduce__(self):
        """Go to another process as path and options, not as weights."""
        if self._loaded_from is None:
            raise InputError(
                "spectrograph: expected one read by PhotoSpectrograph.load, which another process "
                "can read too, got one made in memory; save it and load it from there"
            )
        return _load, (*self._loaded_from, str(self.device), self.dtype)

    @classmethod
    def load(
        cls,
        path: str | PathLike | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
    ) -> Self:
        """Read trained weights.

        Parameters
        ----------
        path : path-like, optional
            Folder written by `save`, or the name of weights in the package: ``"default"`` (SDSS
            u g r i z), ``"legacy"`` (DESI Legacy Surveys g r i z, with or without i). A folder of
            such a name needs its path, ``"./legacy"``. Weights on the Hugging Face hub are
            ``"hf://owner/name@revision"`` (`photospec.hub`).
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
        if is_hub_address(path):
            path = fetch_weights(path)
        name = path if path in BUNDLED_WEIGHTS[1:] else None
        path = _bundled(path) if path in (None, *BUNDLED_WEIGHTS) else Path(path)
        if path.name == "config.toml":
            path = path.parent
        cascade, config = load_cascade(path)
        made = cls(cascade, config, device=str(device), dtype=dtype)
        known = path == Path(str(_BUNDLED)) or name
        made._loaded_from = (name if known else str(path.resolve()),)
        return made

    @property
    def loaded_path(self) -> str | None:
        """What `load` takes to find the weights: a folder, or a name; None for the default ones."""
        return self._loaded_from[0] if self._loaded_from else None

    @property
    def name(self) -> str:
        """What the weights are called in files: where they were read from, or "default"."""
        return "in memory" if self._loaded_from is None else self.loaded_path or "default"

    @property
    def folder(self) -> Path:
        """Folder of the weights."""
        if self._loaded_from is None:
            raise InputError(
                "spectrograph: expected one read by PhotoSpectrograph.load, got one in memory"
            )
        known = self.loaded_path in (None, *BUNDLED_WEIGHTS)
        return _bundled(self.loaded_path) if known else Path(self.loaded_path)

    def save(self, path: str | PathLike, *, overwrite: bool = False) -> None:
        """Write the spectrograph to a folder: ``config.toml`` and ``*.safetensors``."""
        save_cascade(path, self.cascade, self.config, overwrite=overwrite)

    def push(self, address: str, *, private: bool = True) -> str:
        """Upload the weights to the Hugging Face hub.

        Parameters
        ----------
        address : str
            ``"hf://owner/name"``; the repository is made if need be.
        private : bool
            Whether a new repository is for its owner only.

        Returns
        -------
        str
            Address with the commit, for `load`.

        Raises
        ------
        InputError
            The hub refuses, or cannot be reached.
        MissingPackageError
            huggingface_hub is not installed: the extra ``hub`` brings it.

        Examples
        --------
        >>> from photospec import PhotoSpectrograph
        >>> spectrograph = PhotoSpectrograph.load()
        >>> address = spectrograph.push("hf://owner/name")  # doctest: +SKIP
        >>> PhotoSpectrograph.load(address)  # doctest: +SKIP
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save(folder)
            return push_weights(folder, address, private=private)

    def __repr__(self):
        return (
            f"<PhotoSpectrograph: bands {''.join(self.config.bands)}, "
            f"{WAVELENGTH[0]:.0f}-{WAVELENGTH[-1]:.0f} Angstrom, {self.device}, {self.dtype}>"
        )

    def line_spread(self) -> np.ndarray:
        """Return the Gaussian sigma (n_wave,) of the spectra's line-spread function, Angstrom."""
        return np.interp(WAVELENGTH, self.config.lsf_wavelength, self.config.lsf_sigma)

    def prepare(self, image: NDData | ImageArray) -> ImageArray:
        """Check an image and cut it to what the networks take, an `ImageArray`."""
        config = self.config
        if isinstance(image, ImageArray):
            wanted = config.bands, config.pixel_scale, config.image_size, config.may_miss
            image.check(*wanted)
        else:
            _check_survey(image, config)
            image = prepare_image(
                image,
                bands=config.bands,
                pixel_scale=config.pixel_scale,
                size=config.image_size,
                may_miss=config.may_miss,
                extinction=config.band_extinction,
                max_resampling=MAX_RESAMPLING,
            )
        image = image.with_extinction(config.galactic_ebv)
        self._fibre_flux(image)
        return image

    def predict(
        self,
        image: NDData | ImageArray | Sequence[NDData | ImageArray],
        *,
        seed: int = 0,
        n_candidates: int | None = None,
        intrinsic: bool = False,
        identifiers: Sequence | None = None,
        on_error: str = "raise",
    ) -> Spectrum:
        """Predict the spectrum of each image: the candidate that stands best for all.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            Axes (n_bands, ny, nx), a flux unit, ``meta["bands"]``; the target at the centre.
        seed : int
            Same image and seed, same spectrum to the last bit, alone or among others, on the
            same machine with the same number of threads.
        n_candidates : int, optional
            Candidates to draw and choose from; the weights' default if not given.
        intrinsic : bool
            Give spectra without the Milky Way's dust, not as they are observed through it.
        identifiers : sequence of str or int, optional
            One per image, instead of ``meta["identifier"]``. With an identifier the noise of an
            image follows from it and the seed; without, from a coarse digest of its pixels.
        on_error : {"raise", "flag"}
            What an image that cannot be used does: raise, or give a spectrum of NaN, masked,
            with the reason in ``meta["flags"]``.

        Returns
        -------
        specutils.Spectrum
            Flux (n_wave,), or (n_images, n_wave) for a sequence, erg s-1 cm-2 Angstrom-1, as
            through the fibre of the training spectra (3 arcsec of SDSS, 1.5 of DESI); vacuum,
            observed frame. ``meta`` holds ``lsf_sigma``,
            ``similarity``, ``flags``, ``drawn_redshift`` (of this candidate) and
            ``expected_redshift`` (mean of the density it comes from; both None from weights
            without one), ``galactic_ebv`` (mag), ``galactic_extinction`` ("included" or "removed"),
            ``seed``, ``n_candidates``, ``nfe``, ``weights``, ``agn_threshold`` (see
            `~photospec.analysis.combine_candidates`), ``provenance``, and ``spread``, the
            standard deviation over the candidates (Quantity in the shape of the flux; not with
            one candidate). Weights that tell active nuclei by the image add ``agn_score``,
            logarithm of the odds of one against star-forming and starburst galaxies if there
            were as many of either, and ``agn_probability``, that among all galaxies.

        Raises
        ------
        InputError
            For an image that cannot be used; in a sequence the message names which.
        """
        n_candidates = _check_draws(n_candidates, seed, self.config.sampling.n_candidates)
        images, single, good, reasons = self._prepare_all(image, identifiers, on_error)
        n, nfe = len(reasons), 0
        flux = np.full((n, len(WAVELENGTH)), np.nan)
        spread = np.full_like(flux, np.nan)
        each = {
            "similarity": [np.nan] * n,
            "drawn_redshift": [None] * n,
            "expected_redshift": [None] * n,
        }
        if self.tells_agn:
            each |= {name: [np.nan] * n for name in AGN_NAMES}
        at_once = max(1, _AT_ONCE // n_candidates)
        for part, rows in zip(_parts(images, at_once), _parts(good, at_once), strict=True):
            drawn, nfe = self._draw(part, n_candidates, seed, intrinsic)
            for row, (candidates, similarity, redshift, expected, agn, best) in zip(rows, drawn):
                flux[row], spread[row] = candidates[best], candidates.std(axis=0)
                each["similarity"][row] = float(similarity[best])
                each["drawn_redshift"][row] = None if redshift is None else float(redshift[best])
                each["expected_redshift"][row] = expected
                for name, value in agn.items():
                    each[name][row] = value
        each |= {"flags": reasons, "galactic_ebv": [np.nan] * n}
        for row, one, flags in zip(good, images, self._flags(images)):
            each["flags"][row], each["galactic_ebv"][row] = flags, one.galactic_ebv
        if n_candidates > 1:
            each["spread"] = (spread * FLUX_UNIT).to(_UNIT)
        meta = self._meta(seed, n_candidates, nfe, intrinsic) | each
        if single:
            meta |= {name: meta[name][0] for name in each}
            flux = flux[0]
        return _spectrum(flux, meta)

    def sample(
        self,
        image: NDData | ImageArray | Sequence[NDData | ImageArray],
        n_candidates: int | None = 25,
        *,
        seed: int = 0,
        intrinsic: bool = False,
        identifier: object = None,
    ) -> CandidateSpectra | list[CandidateSpectra]:
        """Draw candidate spectra for one image, or for each of many.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            As in `predict`.
        n_candidates : int or None
            How many for each image; None for the weights' default, which `predict` takes.
        seed : int
            Same image, seed and number, same candidates.
        intrinsic : bool
            As in `predict`.
        identifier : str or int, or sequence of them, optional
            One per image, instead of ``image.meta["identifier"]``, see `predict`.

        Returns
        -------
        CandidateSpectra
            For a sequence, a list of them; `sample_each` gives them one after the other.
        """
        n_candidates = _check_draws(n_candidates, seed, self.config.sampling.n_candidates)
        images, single, *_ = self._prepare_all(image, identifier)
        found = list(self._candidates(images, n_candidates, seed, intrinsic))
        return found[0] if single else found

    def sample_each(
        self,
        images: Sequence[NDData | ImageArray],
        n_candidates: int | None = None,
        *,
        seed: int = 0,
        intrinsic: bool = False,
    ) -> Iterator[CandidateSpectra]:
        """Draw candidate spectra for each of many images, which is faster than one by one.

        Parameters
        ----------
        images : sequence of NDData
            As in `predict`.
        n_candidates : int, optional
            Of each image; the weights' default if not given.
        seed : int
        intrinsic : bool
            As in `predict`.

        Yields
        ------
        CandidateSpectra
            Of each image, in order: to the last bit what `sample` gives.
        """
        n_candidates = _check_draws(n_candidates, seed, self.config.sampling.n_candidates)
        images, *_ = self._prepare_all(images)
        yield from self._candidates(images, n_candidates, seed, intrinsic)

    def _candidates(self, images, n_candidates, seed, intrinsic):
        for part in _parts(images, max(1, _AT_ONCE // n_candidates)):
            drawn, nfe = self._draw(part, n_candidates, seed, intrinsic)
            for one, flags, found in zip(part, self._flags(part), drawn, strict=True):
                flux, similarity, redshift, expected, agn, best = found
                meta = self._meta(seed, n_candidates, nfe, intrinsic)
                meta |= {"flags": flags, "galactic_ebv": one.galactic_ebv} | agn
                yield CandidateSpectra(_spectrum(flux, meta), similarity, redshift, best, expected)

    def redshift_density(
        self,
        image: NDData | ImageArray | Sequence[NDData | ImageArray],
    ) -> ImageRedshiftDensity:
        """Return the density of the redshift of each image, without drawing spectra.

        What the candidates of `sample` draw their redshifts from, in closed form.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            As in `predict`.

        Returns
        -------
        ImageRedshiftDensity
            Of n images (one for a single image): ``mean``, ``std``, ``mode`` (n,),
            ``quantile(q)``, ``pdf(grid)`` and ``cdf(grid)`` (n, n_grid), ``to_qp()``; and each
            image's ``flags`` and ``ood_score``.

        Raises
        ------
        InputError
            For an image that cannot be used, and with weights that draw no redshifts.

        Examples
        --------
        >>> from photospec import PhotoSpectrograph
        >>> from photospec.image import read_image
        >>> spectrograph = PhotoSpectrograph.load()  # doctest: +SKIP
        >>> density = spectrograph.redshift_density(read_image("cutout.fits"))  # doctest: +SKIP
        >>> density.mean, density.quantile([0.16, 0.84])  # doctest: +SKIP
        """
        images, *_ = self._prepare_all(image)
        if not self.draws_redshifts:
            raise InputError(
                "redshift_density: expected weights that draw redshifts, got others; train the "
                "base stage with diffusion.redshift, as the preset small does"
            )
        found, scores = [], []
        for part in _parts(images, _AT_ONCE):
            pixels = self._tensor(part)
            found.append(self.cascade.redshift_mixture(pixels))
            scores.append(self._scores_of(pixels))
        mixture = [torch.cat(part).cpu().numpy() for part in zip(*found, strict=True)]
        limit = self.cascade.base.density.max_redshift
        score = np.concatenate(scores)
        return ImageRedshiftDensity(*mixture, limit, self._flags(images, score), score)

    @property
    def draws_redshifts(self) -> bool:
        """Whether the weights have a redshift density, from which candidates draw theirs."""
        base = getattr(self.cascade, "base", None)
        return getattr(base, "density", None) is not None

    def flags(self, image: NDData | ImageArray | Sequence[NDData | ImageArray]) -> list[list[str]]:
        """Return warnings of images, as in ``meta["flags"]`` of predicted spectra.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            As in `predict`.

        Returns
        -------
        list of list of str
        """
        images, *_ = self._prepare_all(image)
        return self._flags(images)

    def embed_image(self, image: NDData | ImageArray | Sequence[NDData | ImageArray]) -> np.ndarray:
        """Embed images as unit vectors.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            As in `predict`.

        Returns
        -------
        ndarray (n_images, embedding_size)
            Float32; one row for a single image.
        """
        images, *_ = self._prepare_all(image)
        embedded = [self.cascade.embed_image(self._tensor(p)) for p in _parts(images, _AT_ONCE)]
        return torch.cat(embedded).cpu().numpy()

    def embed_spectrum(self, spectrum: Spectrum) -> np.ndarray:
        """Embed spectra as unit vectors.

        Parameters
        ----------
        spectrum : specutils.Spectrum
            One or n spectra that cover 4000 to 8499 Angstrom in the observed frame, predicted
            or observed; the latter are smoothed as predicted ones are, and bad samples bridged.
            Galactic extinction is that of ``meta["galactic_ebv"]`` (mag, one or n of them), or
            as usual without it; none with ``meta["galactic_extinction"] = "removed"``.

        Returns
        -------
        ndarray (n_spectra, embedding_size)
            Float32.

        Raises
        ------
        InputError
            If spectra do not cover the range or have no light.
        """
        flux = prepare_spectra(spectrum, galactic_ebv=self.config.galactic_ebv)
        flux = torch.from_numpy(flux).to(self.device)
        parts = [self.cascade.embed_spectrum(part) for part in flux.split(_AT_ONCE)]
        return torch.cat(parts).cpu().numpy()

    def similarity(
        self,
        image: NDData | ImageArray | Sequence[NDData | ImageArray],
        spectrum: Spectrum,
    ) -> np.ndarray:
        """Return the cosine similarity (n_images, n_spectra) of every image with every spectrum."""
        return self.embed_image(image) @ self.embed_spectrum(spectrum).T

    def rank(
        self,
        image: NDData | ImageArray | Sequence[NDData | ImageArray],
        spectrum: Spectrum,
    ) -> np.ndarray:
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
        return order[0] if _as_list(image)[1] else order

    def _prepare_all(self, image, identifiers=None, on_error="raise"):
        """Prepare images: those that can be used, whether it was one, their numbers, reasons.

        The reasons are flags, one list for each of all images, of why it cannot be used.
        """
        if on_error not in ("raise", "flag"):
            raise InputError(f"on_error: expected raise or flag, got {on_error!r}")
        images, single = _as_list(image)
        if not images:
            raise InputError("image: expected at least one image, got an empty sequence")
        images = identified(images, identifiers)
        prepared, good, reasons = [], [], [[] for _ in images]
        for number, one in enumerate(images):
            try:
                one = self.prepare(one)
                identifier_bytes(one)  # one that is none belongs to its image
            except InputError as error:
                if on_error == "flag":
                    reasons[number].append(_reason(error))
                    continue
                if single:
                    raise
                raise InputError(f"image number {number} of {len(images)}: {error}") from None
            prepared.append(one)
            good.append(number)
        return prepared, single, good, reasons

    def _tensor(self, images):
        data = np.stack([image.data for image in images]).astype(np.float32, copy=False)
        return torch.from_numpy(data).to(self.device)

    def _draw(self, images, n_candidates, seed, intrinsic):
        """Draw each image's flux (n_candidates, n_wave), similarity, redshifts, agn and best; count
        the nfe.
        """
        seeds = [image_seed(seed, image) for image in images]
        generators = [torch.Generator().manual_seed(own) for own in seeds]
        drawn = self.cascade.sample(self._tensor(images), n_candidates, generators)
        flux = drawn.flux.cpu().numpy().astype(float)
        wanted = np.array([self._fibre_flux(image) for image in images])
        flux *= (wanted[:, None] / self._scale_flux(flux))[..., None]
        flux *= self._dimming(images, intrinsic)[:, None]
        redshift = expected = [None] * len(images)
        if drawn.redshift is not None:
            redshift, expected = drawn.redshift.cpu().numpy(), drawn.expected_redshift.tolist()
        agn = [{}] * len(images)
        if getattr(drawn, "agn", None) is not None:
            agn = [dict(zip(AGN_NAMES, one, strict=True)) for one in drawn.agn.tolist()]
        found = list(zip(flux, drawn.similarity.cpu().numpy(), redshift, expected, strict=True))
        choose = self.config.sampling.choose
        best = [best_candidate(*one, choose=choose) for one in found]
        return [(*one, *more) for one, *more in zip(found, agn, best, strict=True)], drawn.nfe

    @property
    def tells_agn(self) -> bool:
        """Whether the weights tell active nuclei by the image."""
        return getattr(self.cascade, "line_classes", None) is not None

    def agn_score(
        self, image: NDData | ImageArray | Sequence[NDData | ImageArray]
    ) -> float | np.ndarray:
        """Return how likely galaxies have an active nucleus, told from their images.

        No spectra are drawn. ``config.agn_threshold`` is where one is more likely than not.

        Parameters
        ----------
        image : NDData, or sequence of NDData
            As in `predict`.

        Returns
        -------
        float, or ndarray (n_images,)
            Natural logarithm of the odds of an AGN, as the SDSS pipeline calls them by their lines,
            against star-forming and starburst galaxies if there were as many of either; the
            ``agn_score`` of `predict`. Probabilities are in its ``meta``.

        Raises
        ------
        InputError
            For an image that cannot be used, and with weights that do not tell (``tells_agn``).
        """
        images, single, *_ = self._prepare_all(image)
        if not self.tells_agn:
            raise InputError(
                "agn_score: expected weights with line_classes.safetensors, got others; the lines "
                "of their candidates tell (photospec.analysis.measure_candidates)"
            )
        found = [self.cascade.agn(self._tensor(p))[:, 0] for p in _parts(images, _AT_ONCE)]
        values = torch.cat(found).cpu().numpy()
        return float(values[0]) if single else values

    def _dimming(self, images, intrinsic):
        """Return what the Milky Way's dust leaves (n, n_wave) of spectra as networks draw them."""
        ebv = np.array([0.0 if intrinsic else image.galactic_ebv for image in images])
        added = ebv - self.config.galactic_ebv
        return galactic_transmission(WAVELENGTH, added)

    def _scale_flux(self, flux):
        """Return the flux of spectra (..., n_wave) through the band that sets it, nanomaggies."""
        return band_flux(WAVELENGTH, flux, [self.config.scale_response], partial=True)[..., 0]

    def _fibre_flux(self, image):
        """Return the flux through the fibre aperture in the scale band, nanomaggies."""
        name, radius = self.config.scale_band, self.config.fibre_radius
        pixels = image.data[image.bands.index(name)]
        flux = float(aperture_flux(pixels, radius, pixel_scale=image.pixel_scale))
        if not flux > 0:
            raise InputError(
                f"image: expected light within {radius} arcsec of the centre in band "
                f"{name}, got {flux:.3g} nanomaggies; is the target elsewhere?"
            )
        return flux

    def _meta(self, seed, n_candidates, nfe, intrinsic):
        return {
            "lsf_sigma": self.line_spread(),
            "wavelength_medium": "vacuum",
            "galactic_extinction": "removed" if intrinsic else "included",
            "seed": seed,
            "n_candidates": n_candidates,
            "nfe": nfe,
            "weights": self.name,
            "agn_threshold": getattr(self.config, "agn_threshold", None),
            "provenance": {"photospec": version("photospec"), **self.config.provenance},
        }

    def _flags(self, images, scores=None):
        """Return flags of images, whose out-of-distribution scores may be known already."""
        if not images:
            return []
        scores = self._ood_scores(images) if scores is None else scores
        return [
            [*image.flags, *([OUT_OF_DISTRIBUTION] if score > 1 else [])]
            for image, score in zip(images, scores, strict=True)
        ]

    def ood_score(
        self, image: NDData | ImageArray | Sequence[NDData | ImageArray]
    ) -> float | np.ndarray:
        """Return how unlikely the photometry of images is among the training images.

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
            training image has 0 and the most unusual 1.5 % more than 1; NaN where the weights
            do not tell.
        """
        images, single, *_ = self._prepare_all(image)
        values = self._ood_scores(images)
        return float(values[0]) if single else values

    def _ood_scores(self, images):
        return np.concatenate(
            [self._scores_of(self._tensor(part)) for part in _parts(images, _AT_ONCE)]
        )

    def _scores_of(self, pixels):
        """Return the scores (n,) of a tensor of images; NaN where the weights do not tell."""
        found = self.cascade.ood_score(pixels)
        return np.full(len(pixels), np.nan) if found is None else found.cpu().numpy()


def _as_list(image):
    """Return images as a list, and whether it was one; what is neither is left to the gate."""
    many = isinstance(image, Iterable) and not isinstance(image, NDData | np.ndarray | str)
    return (list(image), False) if many else ([image], True)


def _parts(items, size):
    """Cut a list into slices of at most `size` items."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _check_draws(n_candidates, seed, default):
    """Return the number of candidates to draw, `default` for None; refuse what is no seed."""
    whole_number("seed", seed, 0)
    return whole_number("n_candidates", default if n_candidates is None else n_candidates, 1)


def _check_survey(image, config):
    """Refuse an image that says that it is of another survey, or lacks a band of the weights.

    Parameters
    ----------
    image : NDData
        What is none is left to the gate.
    config : photospec.weights.WeightsConfig
    """
    meta = getattr(image, "meta", None) or {}
    camera = str(meta.get("camera") or config.camera).lower()
    if config.camera and camera != config.camera.lower():
        raise InputError(
            f"image: expected one of the camera {config.camera}, on which the weights "
            f"({config.survey}) were trained, got {camera}; load the weights of its survey"
        )
    bands = meta.get("bands")
    if bands is None:
        return
    there = band_names(bands, "meta['bands']")
    lacking = [b for b in config.bands if b not in there and b not in config.may_miss]
    if lacking:
        able = f", except {', '.join(config.may_miss)}" if config.may_miss else ""
        raise InputError(
            f"image: expected bands {', '.join(config.bands)}, got {', '.join(there)}: no "
            f"{', '.join(lacking)}; predictions need all bands that the weights "
            f"({config.survey}) were trained on{able}"
        )
    _check_alike(image, config)


def _check_alike(image, config):
    """Refuse an image of other pixels whose bands are others too, unless it says its camera."""
    there = band_names(image.meta["bands"], "meta['bands']")
    if set(there) == set(config.bands) or image.meta.get("camera"):
        return
    wcs = celestial(image.wcs)
    center = target_pixel(np.shape(image.data), wcs, image.meta)
    scale = pixel_scales(wcs, image.meta, center)
    if any(abs(value / config.pixel_scale - 1) > SAME_SCALE for value in scale):
        raise InputError(
            f"image: expected bands {', '.join(config.bands)} and pixels of {config.pixel_scale:g} "
            f"arcsec as in the weights' survey ({config.survey}), got other bands "
            f"({', '.join(there)}) and other pixels; is it of another survey? If its filters are "
            "those of the weights, say so by meta['camera'] = "
            f"{config.camera or 'any'!r} (card CAMERA)"
        )


def _bundled(name):
    """Return the folder of weights in the package."""
    return Path(str(_BUNDLED if name in (None, BUNDLED_WEIGHTS[0]) else _DATA / name))


@lru_cache(maxsize=2)
def _load(path, device, dtype):
    """Read weights once in a process, however many tasks bring them."""
    return PhotoSpectrograph.load(path, device=device, dtype=dtype)


def _reason(error):
    """Flag that tells why an image cannot be used; semicolons separate flags."""
    return f"{UNUSABLE}: {str(error).replace(';', ',')}"


def _spectrum(flux, meta):
    mask = None if np.isfinite(flux).all() else ~np.isfinite(flux)
    flux = (flux * FLUX_UNIT).to(_UNIT)
    axis = WAVELENGTH * u.AA
    return Spectrum(flux=flux, spectral_axis=axis, spectral_axis_index=-1, mask=mask, meta=meta)
