"""Training pairs of real galaxies of known photometry and redshift, without image and spectrum.

Simulated galaxies scatter about the real relation of colours and redshift: a network that knows
only them is less certain than real photometry allows, and off by what the simulator is off. So
for each real galaxy a simulated one is chosen, near in redshift, brightness and colours and of the
same kind of emission lines; its spectrum is multiplied by a smooth curve until its synthetic
photometry *is* the real one, and an image is rendered with the real fluxes.

The catalogue's fluxes carry photometric noise already. The image therefore gets only the noise
that is missing to the survey's (`MISSING_NOISE`), but for a share of them, which are as noisy as
the survey's images, so that a network meets both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
from astropy.table import Table
from scipy.spatial import cKDTree

from photospec.config import to_dict
from photospec.dust import galactic_transmission
from photospec.errors import InputError
from photospec.pairs import PairsWriter
from photospec.photometry.filters import band_weights
from photospec.simulation.galaxies.cosmology import luminosity_distance
from photospec.simulation.galaxies.gas import halpha_continuum, line_index
from photospec.simulation.galaxies.photometry import LUMINOSITY_TO_FLUX
from photospec.simulation.galaxies.population import draw_galaxies
from photospec.simulation.galaxies.sed import render_spectra
from photospec.simulation.instrument.fibre import band_basis, fibre_spectra, observe
from photospec.simulation.instrument.images import BULGE, DISK, OTHER, render_images
from photospec.simulation.instrument.noise import add_noise, draw_shifts, draw_sky
from photospec.simulation.instrument.psf import draw_psf
from photospec.simulation.instrument.scene import draw_scene
from photospec.simulation.survey import Survey
from photospec.spectrum import WAVELENGTH

__all__ = ["KINDS", "RealGalaxies", "line_kinds", "simulate_real_pairs"]

#: What the SDSS pipeline calls galaxies by their emission lines; "" where there is no spectrum.
KINDS = ("unclassified", "starforming", "starburst", "agn")
#: Noise of an image over the survey's where the catalogue's fluxes hold the rest.
MISSING_NOISE = 0.2

_BANDS = tuple("ugriz")
_BLOCK = 64  # pairs rendered alike, with the seeing and noise of one field
# A match counts as one apart that differs by this much in redshift, r, and u-g to i-z: about the
# catalogue's errors of the colours, and the range over which a galaxy's spectrum stays the same.
_NEAR = np.array([0.006, 0.5, 0.12, 0.03, 0.02, 0.04])
_N_NEAREST = 8  # of which one is drawn: pairs of a galaxy differ in what colours leave open
# Beyond this (mag) warped spectra are no galaxies: the photometry is of something else.
_MAX_WARP = 0.7
# A line of this flux (1e-17 erg/s/cm2) is three times the noise of an SDSS spectrum of a Main
# Sample galaxy: 150 km/s wide, over pixels of 1.5 A with an error of 1 each. As many simulated
# galaxies are then unclassified (0.42) as `assign_kinds` finds of the real sample (0.43).
_DETECTED = 14.0
# Shares of bulge and disk light in a fibre of 3 arcsec, typical of the Main Galaxy Sample.
_IN_FIBRE = 0.7, 0.3
_STARBURST_EW = 50.0  # Angstrom, the pipeline's limit
# How images are rendered, and how often: as the survey's calibrated ones; with other seeing and
# sizes; as one Sersic profile, the same in all bands, without neighbours and with other seeing.
_RENDERINGS = {"calibrated": 0.5, "varied": 0.25, "plain": 0.25}
_SEEING_SCATTER, _SIZE_SCATTER = 0.2, 0.2  # of the natural logarithm, "varied" and "plain"
_PLAIN_SERSIC = np.array([0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0])


@dataclass(frozen=True, eq=False)
class RealGalaxies:
    """Photometry and redshifts of real galaxies.

    Attributes
    ----------
    flux : ndarray (n, 5)
        Total u, g, r, i, z, nanomaggies, corrected for Galactic extinction; all positive.
    redshift : ndarray (n,)
    kind : ndarray of str (n,)
        One of `KINDS`, or "" where it is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.simulation import RealGalaxies
    >>> galaxies = RealGalaxies(np.full((3, 5), 100.0), np.array([0.05, 0.1, 0.2]))
    >>> len(galaxies), galaxies[:2].redshift
    (3, array([0.05, 0.1 ]))
    """

    flux: np.ndarray
    redshift: np.ndarray
    kind: np.ndarray = None

    def __post_init__(self):
        flux, redshift = np.asarray(self.flux, float), np.asarray(self.redshift, float)
        kind = self.kind
        kind = np.full(len(redshift), "", "U12") if kind is None else np.asarray(kind, "U12")
        if flux.shape != (len(redshift), 5) or kind.shape != redshift.shape:
            raise InputError(
                f"flux, redshift, kind: expected shapes (n, 5), (n,) and (n,), got {flux.shape}, "
                f"{redshift.shape} and {kind.shape}"
            )
        if not (flux > 0).all() or not np.isfinite(flux).all():
            raise InputError(
                f"flux: expected positive nanomaggies, got {np.sum(~(flux > 0))} others; leave "
                "out galaxies that a band does not see"
            )
        unknown = sorted(set(kind) - {*KINDS, ""})
        if unknown:
            raise InputError(f"kind: expected one of {', '.join(KINDS)}, got '{unknown[0]}'")
        for name, value in (("flux", flux), ("redshift", redshift), ("kind", kind)):
            object.__setattr__(self, name, value)

    def __len__(self):
        return len(self.redshift)

    def __repr__(self):
        return f"<RealGalaxies: {len(self)}>"

    def __getitem__(self, index):
        return RealGalaxies(self.flux[index], self.redshift[index], self.kind[index])

    @property
    def magnitude(self) -> np.ndarray:
        """AB magnitudes (n, 5)."""
        return 22.5 - 2.5 * np.log10(self.flux)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join tables of galaxies."""
        columns = zip(*((p.flux, p.redshift, p.kind) for p in parts), strict=True)
        return cls(*map(np.concatenate, columns))

    @classmethod
    def read(
        cls,
        path: str | PathLike,
        *,
        rows: slice = slice(None),
        redshift_range: tuple[float, float] = (0.01, 0.5),
        r_range: tuple[float, float] = (13.5, 20.5),
        zero_points: Sequence[float] = (0.0,) * 5,
    ) -> Self:
        """Read a table with ``u_maggies`` to ``z_maggies``, ``redshift``, perhaps ``subclass``.

        Parameters
        ----------
        path : path-like
            Any table that astropy reads; fluxes in nanomaggies, corrected for Galactic extinction.
        rows : slice
            Which rows of the table, such as ``slice(0, None, 2)``, to keep the others for tests.
        redshift_range, r_range : tuple of float
            Galaxies beyond are left out, and those without a positive flux in each band.
        zero_points : tuple of float (5,)
            Mag to add to u, g, r, i and z: what brings the catalogue to the zero points of the
            images that are asked about later.

        Returns
        -------
        RealGalaxies
        """
        if np.shape(zero_points) != (5,) or not np.isfinite(zero_points).all():
            raise InputError(
                f"zero_points: expected magnitudes of u, g, r, i and z, got {zero_points!r}"
            )
        try:
            table = Table.read(path)[rows]
            flux = np.stack([np.asarray(table[f"{b}_maggies"], float) for b in _BANDS], axis=1)
            flux = flux * 10 ** (-0.4 * np.asarray(zero_points, float))
            z = np.asarray(table["redshift"], float)
        except (KeyError, OSError, ValueError, TypeError) as error:
            raise InputError(
                f"catalogue: expected a table with u_maggies to z_maggies and redshift, got {path} "
                f"({type(error).__name__}: {str(error).splitlines()[0][:80]})"
            ) from None
        kind = np.full(len(z), "", "U12")
        if "subclass" in table.colnames:
            kind = np.array([str(name).strip() for name in table["subclass"]], "U12")
            kind[kind == "broadline"] = "agn"  # lines over 200 km/s: nuclei, nearly all
        with np.errstate(invalid="ignore", divide="ignore"):
            r = 22.5 - 2.5 * np.log10(flux[:, 2])
        good = np.isfinite(flux).all(axis=1) & (flux > 0).all(axis=1)
        good &= (z > redshift_range[0]) & (z < redshift_range[1])
        good &= (r > r_range[0]) & (r < r_range[1])
        if not good.any():
            raise InputError(
                f"catalogue: expected galaxies at {redshift_range[0]} < z < {redshift_range[1]}, "
                f"got none in {path}; are the fluxes in nanomaggies?"
            )
        return cls(flux[good], z[good], kind[good])


def line_kinds(galaxies, config):
    """Return what the SDSS pipeline would call simulated galaxies.

    Lines that all stand out of the noise, then log [O III]/H-beta above 0.7 - 1.2 (log
    [N II]/H-alpha + 0.4): agn; else by the equivalent width of H-alpha starburst or starforming
    (https://www.sdss.org/dr16/spectro/catalogs/). In the fibre, of which only typical shares of
    bulge and disk are known here.

    Parameters
    ----------
    galaxies : Galaxies
    config : PopulationConfig
        Gives the cosmology.

    Returns
    -------
    ndarray of str (n,)
        Out of `KINDS`.
    """
    bulge, disk = _IN_FIBRE
    lines = bulge * galaxies.bulge_line_luminosity + disk * galaxies.disk_line_luminosity
    flux = (
        lines * (LUMINOSITY_TO_FLUX / luminosity_distance(config, galaxies.redshift) ** 2)[:, None]
    )
    names = ("oiii_5007", "hbeta", "nii_6584", "halpha")
    oiii, hbeta, nii, halpha = (flux[:, line_index(name)] for name in names)
    law = galaxies.dust_law
    continuum = bulge * halpha_continuum(galaxies.bulge_weights, law, galaxies.bulge_av)
    continuum = continuum + disk * halpha_continuum(galaxies.disk_weights, law, galaxies.disk_av)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.log10(oiii / hbeta) > 0.7 - 1.2 * (np.log10(nii / halpha) + 0.4)
        width = lines[:, line_index("halpha")] / continuum
    kind = np.where(width > _STARBURST_EW, "starburst", "starforming").astype("U12")
    kind[above] = "agn"
    detected = np.minimum.reduce([oiii, hbeta, nii, halpha]) > _DETECTED
    kind[~detected] = "unclassified"
    return kind


def _place(redshift, magnitude):
    colours = magnitude[:, :-1] - magnitude[:, 1:]
    return np.column_stack([redshift, magnitude[:, 2], colours]) / _NEAR


class _Pool:
    """Simulated galaxies to choose from."""

    def __init__(self, config, redshift, magnitude, rng, n):
        r = magnitude[:, 2]
        wide = replace(
            config,
            redshift_min=max(float(redshift.min()) - 0.003, 0.005),
            redshift_max=min(float(redshift.max()) + 0.003, 0.5),
            r_limit=float(r.max()) + 0.3,
            r_bright=min(float(r.min()) - 0.3, config.r_bright),
        )
        # Of a deep magnitude-limited pool nearly all are faint: half of it is as bright as most
        # real galaxies. Dusty starbursts are four times as frequent as the simulator has them
        # (`assign_kinds`): a part of the pool has many.
        middle = replace(wide, r_limit=float(np.quantile(r, 0.7)))
        bursts = replace(
            middle, burst_fraction=0.5, burst_mass=config.burst_mass + 0.4, dust_scatter=0.35
        )
        parts = [
            draw_galaxies(c, rng, max(1, round(share * n)))
            for c, share in ((middle, 0.45), (wide, 0.4), (bursts, 0.15))
        ]
        self.galaxies = type(parts[0]).concatenate(parts)
        self.kind = line_kinds(self.galaxies, config)
        self.place = _place(self.galaxies.redshift, self.galaxies.magnitude)
        rows = {kind: np.flatnonzero(self.kind == kind) for kind in KINDS}
        rows[""] = np.arange(len(self.kind))
        self.rows = {kind: found for kind, found in rows.items() if len(found) >= _N_NEAREST}
        self.trees = {kind: cKDTree(self.place[found]) for kind, found in self.rows.items()}

    def choose(self, real, rng):
        """Return the row of the pool for each real galaxy (n,): one of the nearest, by their
        distance.
        """
        place, chosen = _place(real.redshift, real.magnitude), np.zeros(len(real), int)
        for kind in np.unique(real.kind):
            known = str(kind) if str(kind) in self.trees else ""
            mine = real.kind == kind
            distance, near = self.trees[known].query(place[mine], _N_NEAREST)
            weight = np.exp(-0.5 * (distance**2 - distance[:, :1] ** 2))
            share = weight.cumsum(axis=1) / weight.sum(axis=1, keepdims=True)
            pick = (rng.random((len(near), 1)) > share).sum(axis=1)
            chosen[mine] = self.rows[known][near[np.arange(len(near)), pick]]
        return chosen


def _like(galaxies, real):
    """Draw simulated galaxies at the redshifts and brightnesses of real ones."""
    # Of the same surface brightness: a brighter one is larger.
    size = np.sqrt(real.flux[:, 2] / 10 ** (0.4 * (22.5 - galaxies.magnitude[:, 2])))
    return replace(
        galaxies,
        redshift=real.redshift,
        magnitude=real.magnitude,
        bulge_radius=galaxies.bulge_radius * size,
        disk_radius=galaxies.disk_radius * size,
    )


def _warped(spectra, flux, responses):
    """Warp spectra by smooth curves to band fluxes (n, 5); return them and the largest warp, mag.

    The warp is what it takes beside a common factor, g to z.
    """
    wavelength = np.ascontiguousarray(spectra.wavelength, float)
    weights = band_weights(wavelength, responses)[0]
    basis = band_basis(wavelength.tobytes(), responses)
    total = (spectra.bulge + spectra.disk).astype(float)
    log_factor = np.zeros(flux.shape)
    for _ in range(6):
        log_factor += np.log(flux / ((total * np.exp(log_factor @ basis)) @ weights))
    warp = np.abs(log_factor[:, 1:] - log_factor[:, 2:3]).max(axis=1) * 2.5 / np.log(10)
    factor = np.exp(log_factor @ basis).astype(np.float32)
    return replace(spectra, bulge=spectra.bulge * factor, disk=spectra.disk * factor), warp


def _plain(galaxies, spectra, rng):
    """Return the same light as single Sersic profiles with one spectrum each."""
    n = len(galaxies)
    bulge = galaxies.bulge_light_fraction[:, 2]
    index = np.exp(np.log(4.0) * bulge + 0.3 * rng.standard_normal(n))
    nearest = np.abs(np.log(index)[:, None] - np.log(_PLAIN_SERSIC)).argmin(axis=1)
    size = bulge * galaxies.bulge_radius + (1 - bulge) * galaxies.disk_radius
    galaxies = replace(
        galaxies,
        disk_sersic=_PLAIN_SERSIC[nearest],
        disk_radius=size,
        quiescent=np.ones(n, bool),  # no arms
    )
    whole = spectra.bulge + spectra.disk
    return galaxies, replace(spectra, bulge=np.zeros_like(whole), disk=whole)


def _render(real, galaxies, survey, rng, rendering, noise):
    """Render pairs of one block, without those whose warp is too large."""
    n, size = len(real), survey.size
    responses, fibre = tuple(survey.responses), survey.spectrograph
    galaxies = _like(galaxies, real)
    spectra, warp = _warped(
        render_spectra(galaxies, config=survey.population), real.flux, responses
    )
    psf_config, scene = survey.psf, survey.scene
    if rendering != "calibrated":
        seeing = np.exp(0.1 + _SEEING_SCATTER * rng.standard_normal())
        psf_config = replace(psf_config, fwhm=tuple(seeing * np.asarray(psf_config.fwhm)))
        grown = np.exp(_SIZE_SCATTER * rng.standard_normal(n))
        galaxies = replace(
            galaxies,
            bulge_radius=galaxies.bulge_radius * grown,
            disk_radius=galaxies.disk_radius * grown,
        )
    if rendering == "plain":
        galaxies, spectra = _plain(galaxies, spectra, rng)
        scene = replace(scene, galaxy_density=0.0, star_density=0.0, merger_fraction=0.0)
    wavelength = np.ascontiguousarray(spectra.wavelength, float)
    if survey.galactic_extinction:
        through = galactic_transmission(wavelength, galaxies.galactic_ebv)
        through = through.astype(np.float32)
        spectra = replace(spectra, bulge=spectra.bulge * through, disk=spectra.disk * through)
    weights = band_weights(wavelength, responses)[0].astype(np.float32)
    totals = np.stack([spectra.bulge @ weights, spectra.disk @ weights])
    sources, scene_truth = draw_scene(
        scene,
        rng,
        galaxies,
        *totals,
        bands=survey.bands,
        half_width=0.5 * size * survey.pixel_scale,
    )
    shifts = draw_shifts(survey.noise, rng, n, survey.bands)
    clean, inside = render_images(
        sources,
        draw_psf(psf_config, rng, n),
        shifts,
        size=size,
        pixel_scale=survey.pixel_scale,
        fibre_radius=fibre.fibre_radius,
    )
    # Variances of sky and source both fall with the square.
    quiet = replace(survey.noise, electron=tuple(noise**2 * np.asarray(survey.noise.electron)))
    clean *= survey.band_factor[:, None, None]
    image = add_noise(clean, noise * draw_sky(survey.noise, rng, n), shifts, quiet, rng)
    apertures = np.zeros((3, n, len(survey.bands)))
    np.add.at(apertures, (sources.component, sources.image), inside)
    light = fibre_spectra(spectra, totals, apertures[[BULGE, DISK]], apertures[OTHER], responses)
    truth_flux, flux, ivar, _ = observe(wavelength, light, fibre, rng)
    good = warp < _MAX_WARP
    ebv = np.asarray(galaxies.galactic_ebv, float) * survey.galactic_extinction
    packed = {
        "image": image,
        "flux": flux,
        "ivar": ivar,
        "truth_flux": truth_flux,
        "object": {"redshift": real.redshift, "galactic_ebv": ebv},
        "truth": {
            "warp": warp,
            "noise": np.full(n, noise),
            "n_neighbours": scene_truth["n_neighbours"],
            "agn_type": galaxies.agn_type,
        },
    }
    return {
        key: {k: v[good] for k, v in value.items()} if isinstance(value, dict) else value[good]
        for key, value in packed.items()
    }


def simulate_real_pairs(
    galaxies: RealGalaxies,
    path: str | PathLike,
    survey: Survey | None = None,
    *,
    n_last: int = 0,
    full_noise: float = 0.5,
    renderings: Mapping[str, float] | None = None,
    n_pool: int = 60_000,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write pairs of real galaxies: their photometry and redshifts, simulated spectra and shapes.

    Parameters
    ----------
    galaxies : RealGalaxies
        One pair of each; repeat those of which there shall be several, with other spectra, shapes
        and noise.
    path : path-like
        Pairs file to write, see `photospec.pairs`. ``truth`` holds what each pair was made of:
        ``warp`` (mag, largest change of a colour from r), ``noise`` (over the survey's).
    survey : Survey, optional
        Default `Survey.sdss_main()`; with the bands ugriz. Fluxes of the galaxies have its
        ``zero_points``; spectra are chosen and warped at AB magnitudes.
    n_last : int
        Galaxies at the end of the table that come at the end of the file too; the others are
        shuffled. Training holds out the end of a file.
    full_noise : float
        Share of images with all of the survey's noise, though the catalogue's fluxes have theirs;
        the others have `MISSING_NOISE` of it.
    renderings : dict of str to float, optional
        Shares of ``"calibrated"``, ``"varied"`` and ``"plain"`` images.
    n_pool : int
        Simulated galaxies to choose from.
    seed : int
        Same seed, same pairs.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(n_done, n)``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        Other bands, shares that are none, an existing file.

    Examples
    --------
    >>> from photospec.simulation import RealGalaxies, simulate_real_pairs
    >>> galaxies = RealGalaxies.read("catalogue.fits", rows=slice(0, None, 2))  # doctest: +SKIP
    >>> simulate_real_pairs(galaxies, "real.h5")  # doctest: +SKIP
    """
    survey = survey or Survey.sdss_main()
    shares = dict(renderings or _RENDERINGS)
    if tuple(survey.bands) != _BANDS:
        raise InputError(f"survey: expected bands u,g,r,i,z, got {','.join(survey.bands)}")
    if set(shares) - set(_RENDERINGS) or not sum(shares.values()) > 0 or min(shares.values()) < 0:
        raise InputError(f"renderings: expected shares of {', '.join(_RENDERINGS)}, got {shares!r}")
    if not 0 <= full_noise <= 1:
        raise InputError(f"full_noise: expected a share from 0 to 1, got {full_noise!r}")
    rng = np.random.default_rng(seed)
    galaxies = RealGalaxies(galaxies.flux / survey.band_factor, galaxies.redshift, galaxies.kind)
    pool = _Pool(survey.population, galaxies.redshift, galaxies.magnitude, rng, n_pool)
    n_first = len(galaxies) - n_last
    order = np.concatenate([rng.permutation(n_first), np.arange(n_first, len(galaxies))])
    # All of a block is rendered alike, so that seeing and noise are those of a field.
    blocks = np.array_split(order, max(1, -(-len(order) // _BLOCK)))
    names = list(shares)
    probability = np.array([shares[name] for name in names]) / sum(shares.values())
    provenance = {
        "program": "photospec.simulation.real_galaxies",
        "survey": to_dict(survey),
        "galaxies": len(galaxies),
        "seed": int(seed),
    }
    path = Path(path)
    with PairsWriter(
        path, survey.bands, survey.pixel_scale, WAVELENGTH, provenance, overwrite=overwrite
    ) as writer:
        for number, rows in enumerate(blocks):
            real = galaxies[rows]
            chosen = pool.galaxies[pool.choose(real, rng)]
            rendering = names[rng.choice(len(names), p=probability)]
            noise = 1.0 if rng.random() < full_noise else MISSING_NOISE
            writer.append(**_render(real, chosen, survey, rng, rendering, noise))
            if progress is not None:
                progress(min((number + 1) * _BLOCK, len(order)), len(order))
    return path
