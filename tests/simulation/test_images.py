"""Rendering against GalSim's own drawing, against scipy, and against direct sums."""

import galsim
import numpy as np
import pytest
import scipy.ndimage

from photospec.photometry.apertures import aperture_weights
from photospec.simulation.instrument.images import OTHER, Sources, render_images, spline_kernel
from photospec.simulation.instrument.profiles import POINT, TRUNCATION, moffat_table, spiral_tables
from photospec.simulation.instrument.psf import PsfConfig, PsfSet, draw_psf

SCALE = 0.396


def one_source(**columns):
    row = {
        "image": 0,
        "sersic_index": 1.0,
        "half_light_radius": 1.5,
        "axis_ratio": 1.0,
        "position_angle": 0.0,
        "x": 0.0,
        "y": 0.0,
        "arm_pitch": 0.0,
        "arm_phase": 0.0,
        "component": OTHER,
    } | columns
    flux = np.full((1, 1), row.pop("flux", 100.0))
    return Sources(flux=flux, **{k: np.array([v]) for k, v in row.items()})


def one_psf(fwhm=1.3, beta=3.0, e1=0.0, e2=0.0):
    nodes = np.asarray(moffat_table().parameters)
    beta = nodes[np.abs(nodes - beta).argmin()]
    return PsfSet(*(np.array([[v]]) for v in (fwhm, beta, e1, e2)))


def galsim_profile(index, radius, ratio, angle):
    if index == POINT:
        return galsim.Gaussian(sigma=1e-4)
    trunc = TRUNCATION if index > 2 else 0
    profile = galsim.Sersic(n=index, half_light_radius=1.0, trunc=trunc)
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return profile.transform(*(rotation @ np.diag([radius, radius * ratio])).ravel())


def galsim_image(profile, psf, x=0.0, y=0.0, flux=100.0, scale=SCALE, size=64):
    moffat = galsim.Moffat(beta=psf.beta[0, 0], fwhm=psf.fwhm[0, 0])
    moffat = moffat.shear(e1=psf.e1[0, 0], e2=psf.e2[0, 0])
    params = galsim.GSParams(
        maximum_fft_size=20000, folding_threshold=5e-4, maxk_threshold=1e-4, kvalue_accuracy=1e-6
    )
    # GalSim's centre lies between pixels when their number is even; ours is pixel size // 2.
    half = 0.5 * scale * (size % 2 == 0)
    moved = profile.withFlux(flux).shift(x + half, y + half)
    drawn = galsim.Convolve(moved, moffat, gsparams=params)
    return drawn.drawImage(nx=size, ny=size, scale=scale).array


@pytest.mark.parametrize(
    ("index", "radius", "ratio", "angle", "x", "y"),
    [
        (1.0, 1.0, 0.5, 30.0, 0.1, -0.1),
        (1.0, 6.0, 0.25, 120.0, 0.0, 0.3),
        (4.0, 1.0, 0.8, 75.0, -0.2, 0.1),
        (4.0, 6.0, 0.6, 10.0, 0.0, 0.0),
        (2.5, 0.2, 0.9, 0.0, 5.0, -4.0),
        (POINT, 0.0, 1.0, 0.0, 0.15, 0.05),
    ],
)
def test_matches_galsim(index, radius, ratio, angle, x, y):
    psf = one_psf(1.25, 3.0, -0.1, 0.05)
    source = one_source(
        sersic_index=index,
        half_light_radius=radius,
        axis_ratio=ratio,
        position_angle=angle,
        x=x,
        y=y,
    )
    image, inside = render_images(source, psf, None)
    expected = galsim_image(galsim_profile(index, radius, ratio, angle), psf, x, y)
    assert image.shape == (1, 1, 64, 64)
    assert np.abs(image[0, 0] - expected).max() < 1e-3 * expected.max()
    assert image.sum() == pytest.approx(expected.sum(), rel=2e-4)
    weights = aperture_weights((64, 64), 1.5 / SCALE)
    assert inside[0, 0] == pytest.approx((expected * weights).sum(), rel=1e-3, abs=1e-3)
    assert inside[0, 0] == pytest.approx((image[0, 0] * weights).sum(), rel=1e-5, abs=1e-4)


def test_other_scale_and_size():
    psf = one_psf(1.1)
    image, _ = render_images(one_source(axis_ratio=0.5), psf, None, size=96, pixel_scale=0.262)
    expected = galsim_image(galsim_profile(1.0, 1.5, 0.5, 0.0), psf, scale=0.262, size=96)
    assert np.abs(image[0, 0] - expected).max() < 1e-3 * expected.max()


def test_sources_add_up_in_their_own_image():
    first = one_source(image=0, flux=10.0)
    second = one_source(image=1, flux=20.0, x=3.0, sersic_index=POINT)
    third = one_source(image=1, flux=5.0, y=-2.0)
    psf = one_psf()
    both = PsfSet(*(np.repeat(getattr(psf, k), 2, axis=0) for k in ("fwhm", "beta", "e1", "e2")))
    images, inside = render_images(Sources.concatenate([third, first, second]), both, None)
    alone = [
        render_images(Sources(**{**vars(s), "image": np.array([0])}), psf, None)[0][0, 0]
        for s in (first, second, third)
    ]
    np.testing.assert_allclose(images[0, 0], alone[0], atol=1e-6)
    np.testing.assert_allclose(images[1, 0], alone[1] + alone[2], atol=1e-5)
    assert inside.shape == (3, 1)


def test_angle_turns_counter_clockwise_from_x_and_offsets_point_right_and_up():
    source = one_source(
        half_light_radius=3.0, axis_ratio=0.3, position_angle=30.0, x=2 * SCALE, y=-3 * SCALE
    )
    image = render_images(source, one_psf(), None)[0][0, 0].astype(float)
    y, x = np.mgrid[:64, :64] - 32
    mean_x, mean_y = (image * x).sum() / image.sum(), (image * y).sum() / image.sum()
    assert (mean_x, mean_y) == (pytest.approx(2, abs=0.05), pytest.approx(-3, abs=0.05))
    dx, dy = x - mean_x, y - mean_y
    xx, yy, xy = ((image * m).sum() for m in (dx * dx, dy * dy, dx * dy))
    assert np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)) == pytest.approx(30, abs=0.5)


def test_psf_has_its_width_and_elongation():
    source = one_source(sersic_index=POINT, half_light_radius=0.0)
    psf = one_psf(1.2, 2.9, e1=0.2)
    image = render_images(source, psf, None, size=63, pixel_scale=0.05)[0][0, 0]
    # Fine pixels: read the half-maximum widths off the central row and column.
    half = image.max() / 2
    widths = []
    for cut in (image[31], image[:, 31]):
        right = 31 + np.interp(-half, -cut[31:], np.arange(len(cut[31:])))
        widths.append(2 * (right - 31) * 0.05)
    assert np.sqrt(widths[0] * widths[1]) == pytest.approx(1.2, rel=0.01)
    ratio2 = (widths[0] / widths[1]) ** 2
    assert (ratio2 - 1) / (ratio2 + 1) == pytest.approx(0.2, abs=0.01)


def test_drawn_psf_follows_the_configuration():
    config = PsfConfig(fwhm=(1.4, 1.2), fwhm_scatter=0.1, band_scatter=0.03)
    psf = draw_psf(config, np.random.default_rng(0), 4000)
    assert np.median(psf.fwhm, axis=0) == pytest.approx([1.4, 1.2], rel=0.01)
    assert np.log(psf.fwhm).std(axis=0) == pytest.approx(np.hypot(0.1, 0.03), rel=0.05)
    assert np.corrcoef(np.log(psf.fwhm).T)[0, 1] == pytest.approx(0.01 / 0.0109, abs=0.02)
    assert np.hypot(psf.e1, psf.e2).max() <= 0.4


@pytest.mark.parametrize("shift", [-0.5, -0.2, 0.0, 0.37])
def test_spline_kernel_is_scipys_cubic_interpolation(shift):
    rng = np.random.default_rng(3)
    values = rng.standard_normal(80)
    expected = scipy.ndimage.map_coordinates(values, [[40 + shift]], order=3, mode="mirror")
    offset, taps = spline_kernel(shift)
    # 13 taps: what is left of the infinite filter is below one part in a thousand.
    assert taps @ values[40 + offset] == pytest.approx(expected[0], abs=2e-3)


def test_shifted_band_is_interpolated_back():
    psf, shift = one_psf(1.0), (0.4, -0.3)
    shifts = np.array([[shift]])
    image = render_images(one_source(axis_ratio=0.5), psf, shifts)[0][0, 0]
    profile = galsim_profile(1.0, 1.5, 0.5, 0.0)
    # The detector's pixel m of a band with shift f lies at m - f of the common grid.
    native = galsim_image(profile, psf, shift[0] * SCALE, shift[1] * SCALE).astype(float)
    y, x = np.mgrid[:64, :64]
    grid = [y + shift[1], x + shift[0]]
    expected = scipy.ndimage.map_coordinates(native, grid, order=3, mode="nearest")
    inner = slice(8, -8)
    difference = np.abs(image - expected)[inner, inner].max()
    assert difference < 1e-3 * expected.max()
    unshifted = galsim_image(profile, psf)
    assert np.abs(unshifted - expected)[inner, inner].max() > 3 * difference


def test_spiral_transform_is_that_of_the_pattern():
    """Brute force: sum the pattern over a fine grid times the Fourier kernel."""
    pitch, phase = 20.0, 0.7
    step = 0.02
    y, x = np.mgrid[-6:6:step, -6:6:step] + step / 2
    radius, theta = np.hypot(x, y), np.arctan2(y, x)
    scale = 1 / 1.67835
    pattern = np.exp(-radius / scale) / (2 * np.pi * scale**2) * radius**2 / (radius**2 + 0.25)
    winding = 2 / np.tan(np.deg2rad(pitch)) * np.log(radius)
    pattern *= np.cos(2 * theta - phase - winding)
    cosine, sine = spiral_tables()
    row = cosine.rows(np.array([pitch]))
    for kx, ky in ((1.0, 0.5), (-2.0, 3.0), (0.3, -4.0), (6.0, 1.0)):
        expected = (pattern * np.exp(-1j * (kx * x + ky * y))).sum() * step**2
        angle = 2 * np.arctan2(ky, kx) - phase
        k2 = np.array([[kx**2 + ky**2]], np.float32)
        c, s = (t.look_up(row, k2.copy())[0, 0] for t in (cosine, sine))
        assert -(c * np.cos(angle) + s * np.sin(angle)) == pytest.approx(expected.real, abs=2e-4)
        assert expected.imag == pytest.approx(0, abs=1e-6)


def test_spiral_arms_shine_as_much_as_they_shade():
    arms = one_source(arm_pitch=-16.0, arm_phase=0.3, half_light_radius=3.0, axis_ratio=0.7)
    image = render_images(arms, one_psf(), None)[0][0, 0]
    assert abs(image.sum()) < 0.05
    assert image.max() > 0.03
    assert image.min() < -0.03
    disk = render_images(one_source(half_light_radius=3.0, axis_ratio=0.7), one_psf(), None)[0]
    assert (disk[0, 0] + 0.9 * image).min() > -1e-3
