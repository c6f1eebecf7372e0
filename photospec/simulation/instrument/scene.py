"""What stands in an image: the target's bulge and disk, companions, neighbours, stars."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from photospec.config import setting, validate
from photospec.photometry.filters import effective_wavelength
from photospec.simulation.instrument.images import BULGE, DISK, OTHER, Sources
from photospec.simulation.instrument.profiles import PITCH_ANGLES, POINT

__all__ = ["SceneConfig", "draw_scene", "target_sources"]


@dataclass(frozen=True)
class SceneConfig:
    """Surroundings and texture of the target.

    `Survey.write` writes each field with its meaning and source.
    """

    pointing: float = setting(
        0.198,
        "half-width of the offset between target and image centre, arcsec, each axis",
        min=0,
        max=10,
    )
    galaxy_density: float = setting(
        5.0,
        "field galaxies with 15.5 < r < faint_limit per square arcminute; counts grow as "
        "10^(0.4 r) (Yasuda 2001)",
        min=0,
        max=200,
    )
    star_density: float = setting(
        1.7,
        "stars with 15 < r < faint_limit per square arcminute, growing as 10^(0.12 r)",
        min=0,
        max=200,
    )
    faint_limit: float = setting(
        22.5, "r magnitude of the faintest neighbours drawn", min=18, max=28
    )
    merger_fraction: float = setting(
        0.03,
        "share of targets with a companion of the same redshift within 9 arcsec (close pairs: "
        "Patton 2000)",
        min=0,
        max=1,
    )
    arm_contrast: float = setting(
        0.35,
        "median amplitude in r of two-armed spirals over star-forming disks, scatter a factor "
        "1.6, more in bluer bands (Kendall 2011)",
        min=0,
        max=0.75,
    )
    n_clumps: float = setting(
        2.5,
        "mean number of clumps of 0.5 to 3.5 % of the light of a star-forming disk",
        min=0,
        max=20,
    )

    def __post_init__(self):
        validate(self)


# Contrast of arms and clumps over r: they are bluer than the disk.
_ARM_COLOUR = np.array([1.25, 1.12, 1.0, 0.93, 0.88])  # u, g, r, i, z

# Mean colours of faint neighbours: u-g, g-r, r-i, i-z and their scatter.
_GALAXY_COLOURS = np.array([1.2, 0.75, 0.38, 0.25]), np.array([0.45, 0.32, 0.14, 0.14])
# Stellar locus against g-r, roughly (Covey et al. 2007, AJ 134, 2398).
_LOCUS_GR = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.35, 1.5])
_LOCUS_UG = np.array([0.9, 1.1, 1.5, 1.9, 2.2, 2.5, 2.6, 2.6])
_LOCUS_RI = np.array([0.05, 0.13, 0.22, 0.32, 0.42, 0.55, 0.85, 1.5])
_LOCUS_IZ = np.array([0.0, 0.04, 0.1, 0.17, 0.24, 0.32, 0.5, 0.85])


def _sources(image, component, flux, **columns):
    """Make sources with the columns given broadcast to the number of sources."""
    columns = {"arm_pitch": 0.0, "arm_phase": 0.0} | columns
    columns = {k: np.broadcast_to(np.asarray(v, float), len(image)) for k, v in columns.items()}
    return Sources(image=image, component=np.full(len(image), component), flux=flux, **columns)


def target_sources(galaxies, bulge_flux, disk_flux, x=0.0, y=0.0):
    """Return the bulges and disks of galaxies as sources.

    Parameters
    ----------
    galaxies : Galaxies
    bulge_flux, disk_flux : ndarray
        Shape (n, n_bands), nanomaggies.
    x, y : ndarray
        Offsets from the image centres, arcsec.

    Returns
    -------
    list of Sources
    """
    image = np.arange(len(galaxies.redshift))
    return [
        _sources(
            image,
            component,
            flux,
            sersic_index=getattr(galaxies, f"{part}_sersic"),
            half_light_radius=getattr(galaxies, f"{part}_radius"),
            axis_ratio=getattr(galaxies, f"{part}_axis_ratio"),
            # from north (up) through east (left) to counter-clockwise from x
            position_angle=(getattr(galaxies, f"{part}_position_angle") + 90) % 180,
            x=x,
            y=y,
        )
        for part, component, flux in (("bulge", BULGE, bulge_flux), ("disk", DISK, disk_flux))
    ]


def _magnitudes(rng, n, faint, bright, slope):
    """Draw n magnitudes from counts that grow as 10^(slope m)."""
    low, high = 10 ** (slope * bright), 10 ** (slope * faint)
    return np.log10(rng.uniform(low, high, n)) / slope


def _fluxes(r_magnitude, colours, bands):
    """Return nanomaggies (n, n_bands) from r and the four colours (n, 4)."""
    ug, gr, ri, iz = colours.T
    ugriz = (
        r_magnitude + gr + ug,
        r_magnitude + gr,
        r_magnitude,
        r_magnitude - ri,
        r_magnitude - ri - iz,
    )
    return 10 ** (0.4 * (22.5 - np.stack(ugriz, axis=1) @ _between_bands(tuple(bands))))


@lru_cache(maxsize=16)
def _between_bands(bands):
    """Return a matrix (5, n_bands) from u, g, r, i, z to other bands.

    Linear in the logarithm of the effective wavelength, constant beyond u and z; a band of the
    SDSS gets its own value.
    """
    nodes, at = (
        np.log([effective_wavelength(band) for band in names]) for names in ("ugriz", bands)
    )
    return np.stack([np.interp(at, nodes, row) for row in np.eye(5)])


def _field(config, rng, n, half_width, bands):
    """Draw unrelated galaxies and stars over n images."""
    area = (2 * half_width / 60) ** 2
    parts = []
    for density, is_star in ((config.galaxy_density, False), (config.star_density, True)):
        image = np.repeat(np.arange(n), rng.poisson(density * area, n))
        m = len(image)
        x, y = rng.uniform(-half_width, half_width, (2, m))
        if is_star:
            magnitude = _magnitudes(rng, m, config.faint_limit, 15.0, 0.12)
            gr = np.where(rng.random(m) < 0.6, rng.normal(0.55, 0.15, m), rng.normal(1.36, 0.08, m))
            gr = np.clip(gr, 0.2, 1.5)
            locus = (_LOCUS_UG, _LOCUS_RI, _LOCUS_IZ)
            ug, ri, iz = (np.interp(gr, _LOCUS_GR, c) for c in locus)
            colours = np.stack([ug, gr, ri, iz], axis=1) + 0.03 * rng.standard_normal((m, 4))
            shape = {"sersic_index": POINT, "half_light_radius": 0.0, "axis_ratio": 1.0}
        else:
            magnitude = _magnitudes(rng, m, config.faint_limit, 15.5, 0.4)
            mean, scatter = _GALAXY_COLOURS
            # one temperature-like variable makes galaxies red or blue in all colours at once
            common = rng.standard_normal((m, 1))
            own = rng.standard_normal((m, 4))
            colours = mean + scatter * (0.9 * common + 0.45 * own)
            radius = 0.7 * 10 ** (-0.1 * (magnitude - 21)) * np.exp(0.35 * rng.standard_normal(m))
            shape = {
                "sersic_index": np.where(common[:, 0] > rng.normal(0.7, 0.5, m), 4.0, 1.0),
                "half_light_radius": np.clip(radius, 0.2, 6.0),
                "axis_ratio": rng.uniform(0.3, 1.0, m),
            }
        parts.append(
            _sources(
                image,
                OTHER,
                _fluxes(magnitude, colours, bands),
                x=x,
                y=y,
                position_angle=rng.uniform(0, 180, m),
                **shape,
            )
        )
    return parts


def _texture(config, rng, disks, star_forming, bands):
    """Draw spiral arms and clumps in the disks of star-forming galaxies.

    Returns the disks with the clumps' light taken out, arms, and clumps.
    """
    n = len(disks.image)
    blue = _ARM_COLOUR @ _between_bands(tuple(bands))
    contrast = config.arm_contrast * np.exp(0.5 * rng.standard_normal(n))
    contrast = np.clip(contrast, 0, 0.75)[:, None] * star_forming[:, None] * blue
    pitch = rng.choice(PITCH_ANGLES, n) * rng.choice([-1.0, 1.0], n)
    columns = {name: getattr(disks, name) for name in disks.__dataclass_fields__}
    arms = Sources(
        **columns
        | {
            "flux": disks.flux * np.clip(contrast, 0, 0.9),
            "arm_pitch": pitch,
            "arm_phase": rng.uniform(0, 2 * np.pi, n),
        }
    )[star_forming & (contrast[:, 0] > 0.02)]

    owner = np.repeat(np.arange(n), rng.poisson(config.n_clumps * star_forming))
    m = len(owner)
    share = rng.uniform(0.005, 0.035, m)
    # Radii follow the disk's light: a gamma distribution of order two.
    radius = np.minimum(rng.gamma(2.0, 1 / 1.678, m), 3.0) * disks.half_light_radius[owner]
    turn, angle = rng.uniform(0, 2 * np.pi, m), np.deg2rad(disks.position_angle[owner])
    u, v = radius * np.cos(turn), radius * np.sin(turn) * disks.axis_ratio[owner]
    flux = disks.flux[owner] * share[:, None] * blue**2
    clumps = _sources(
        owner,
        DISK,
        flux,
        sersic_index=1.0,
        half_light_radius=rng.uniform(0.04, 0.15, m) * disks.half_light_radius[owner],
        axis_ratio=1.0,
        position_angle=0.0,
        x=disks.x[owner] + u * np.cos(angle) - v * np.sin(angle),
        y=disks.y[owner] + u * np.sin(angle) + v * np.cos(angle),
    )
    taken = np.zeros_like(disks.flux)
    np.add.at(taken, owner, flux)
    columns["flux"] = disks.flux - taken
    return [Sources(**columns), arms, clumps]


def _companions(config, rng, targets, n):
    """Draw merging companions: the target's components again, smaller and a few kpc away."""
    chosen = rng.random(n) < config.merger_fraction
    ratio = 10 ** rng.uniform(-1.0, 0.0, n)
    distance = rng.uniform(2.0, 9.0, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    turn = rng.uniform(0, 180, n)
    parts = []
    for part in targets:
        keep = part.image[chosen]
        columns = {name: getattr(part, name)[keep] for name in part.__dataclass_fields__}
        columns["flux"] = columns["flux"] * ratio[keep, None]
        columns["half_light_radius"] = columns["half_light_radius"] * ratio[keep] ** 0.4
        columns["x"] = columns["x"] + (distance * np.cos(angle))[keep]
        columns["y"] = columns["y"] + (distance * np.sin(angle))[keep]
        columns["position_angle"] = (columns["position_angle"] + turn[keep]) % 180
        parts.append(Sources(**columns))
    truth = {
        "companion_flux_ratio": np.where(chosen, ratio, 0.0),
        "companion_distance": np.where(chosen, distance, np.nan),
    }
    return parts, truth


def draw_scene(config, rng, galaxies, bulge_flux, disk_flux, *, bands, half_width):
    """Draw everything that stands in the images of n target galaxies.

    Parameters
    ----------
    config : SceneConfig
    rng : numpy.random.Generator
    galaxies : Galaxies
    bulge_flux, disk_flux : ndarray
        Shape (n, n_bands), nanomaggies.
    bands : sequence of str
        Response curves of the bands, see `photospec.photometry.filters.load_band`.
    half_width : float
        Half the image's side, arcsec; neighbours may stand up to 3 arcsec outside.

    Returns
    -------
    sources : Sources
    truth : dict of ndarray
        Columns x_offset, y_offset (arcsec), companion_flux_ratio, companion_distance, n_neighbours.
    """
    n = len(galaxies.redshift)
    x, y = rng.uniform(-config.pointing, config.pointing, (2, n))
    targets = target_sources(galaxies, bulge_flux, disk_flux, x, y)
    companions, truth = _companions(config, rng, targets, n)
    star_forming = ~np.asarray(galaxies.quiescent, bool)
    targets = [targets[0], *_texture(config, rng, targets[1], star_forming, bands)]
    field = _field(config, rng, n, half_width + 3.0, bands)
    truth["x_offset"], truth["y_offset"] = x, y
    truth["n_neighbours"] = sum(np.bincount(part.image, minlength=n) for part in field)
    return Sources.concatenate([*targets, *companions, *field]), truth
