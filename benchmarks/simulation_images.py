"""Compare simulated images and spectra with real SDSS ones: noise, seeing, neighbours, looks.

    python benchmarks/simulation_images.py path/to/shared/real
        [--n 512] [--seed 0] [--figure sheet.jpg] [--table table.rst]

The folder holds ``images`` (cutouts), ``fields`` (whole frames) and ``spectra``. Real and
simulated images go through the same measurements. The distributions measured on the real ones
are where the numbers in `PsfConfig`, `NoiseConfig` and `InstrumentConfig` come from.
"""

import argparse
import os
import warnings
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from astropy.io import fits
from astropy.stats import mad_std
from astropy.visualization import make_lupton_rgb
from photutils.detection import DAOStarFinder
from photutils.segmentation import detect_sources
from photutils.utils.exceptions import NoDetectionsWarning
from scipy.ndimage import gaussian_filter
from scipy.optimize import least_squares

from photospec.photometry.apertures import aperture_weights
from photospec.simulation import InstrumentConfig, Survey
from photospec.simulation.instrument.fibre import pixel_noise

BANDS = "ugriz"
NEIGHBOURS = "neighbours above 4 sigma in r"
SCALE = 0.396
warnings.simplefilter("ignore", NoDetectionsWarning)
HALF = 8  # half-width of a star's stamp


def distance_map(shape):
    y, x = np.indices(shape)
    return np.hypot(y - shape[0] // 2, x - shape[1] // 2)


def sky_noise(band):
    """Clipped standard deviation and neighbour correlation of the outskirts of a cutout."""
    use = distance_map(band.shape) > 24
    middle, width = np.median(band[use]), mad_std(band[use])
    use &= np.abs(band - middle) < 2.5 * width
    sky = np.where(use, band - np.median(band[use]), 0)
    variance = (sky**2).sum() / use.sum()
    pairs = (use[:, 1:] & use[:, :-1]).sum()
    return np.sqrt(variance), (sky[:, 1:] * sky[:, :-1]).sum() / pairs / variance


def count_neighbours(band):
    """Sources beyond 8 pixels of the centre, 4 sigma over 6 pixels of the smoothed image."""
    distance = distance_map(band.shape)
    smooth = gaussian_filter(band, 1.2)
    outside = smooth[distance > 24]
    segments = detect_sources(smooth - np.median(outside), 4 * mad_std(outside), n_pixels=6)
    if segments is None:
        return 0
    return sum(distance[segments.data == label].min() > 8 for label in segments.labels)


def fit_star(stamp, noise):
    """Moffat with pixel integration: (fwhm in pixels, e1, e2, beta, reduced chi2)."""
    y, x = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1]
    sigma = np.sqrt(noise**2 + (0.02 * np.clip(stamp, 0, None)) ** 2)

    def model(p):
        height, x0, y0, fwhm, e1, e2, beta = p
        radius2 = (fwhm / 2) ** 2 / (2 ** (1 / beta) - 1)
        total = 0.0
        for ox in (-1 / 3, 0, 1 / 3):
            for oy in (-1 / 3, 0, 1 / 3):
                dx, dy = x - x0 + ox, y - y0 + oy
                r2 = (1 - e1) * dx**2 + (1 + e1) * dy**2 - 2 * e2 * dx * dy
                r2 = r2 / np.sqrt(max(1 - e1**2 - e2**2, 0.1))
                total = total + height / 9 * (1 + r2 / radius2) ** -beta
        return ((total - stamp) / sigma).ravel()

    bounds = ([0, -2, -2, 1, -0.6, -0.6, 1.5], [np.inf, 2, 2, 12, 0.6, 0.6, 8])
    fit = least_squares(model, [max(stamp.max(), 1e-3), 0, 0, 3.3, 0, 0, 3], bounds=bounds)
    return (*fit.x[3:7], 2 * fit.cost / stamp.size)


def stars(band, noise, threshold=25.0):
    """Fits of the point-like sources of an image (not the central one), shape (n, 5)."""
    found = DAOStarFinder(threshold=threshold * noise, fwhm=3.2, sharpness_range=(0.45, 0.9))(band)
    distance = distance_map(band.shape)
    fits_ = []
    for row in found if found is not None else ():
        column = "x_centroid" if "x_centroid" in found.colnames else "xcentroid"
        x, y = round(row[column]), round(row[column.replace("x", "y", 1)])
        inside = HALF <= x < band.shape[1] - HALF and HALF <= y < band.shape[0] - HALF
        if not inside or (band.shape[0] < 200 and distance[y, x] < 12):
            continue
        stamp = band[y - HALF : y + HALF + 1, x - HALF : x + HALF + 1]
        fits_.append(fit_star(stamp - np.median(stamp[:3]), noise))
    fits_ = np.array(fits_).reshape(-1, 5)
    return fits_[fits_[:, 4] < 3]


def measure_cutouts(images):
    """Dictionary of arrays of measurements over cutouts (n, 5, 64, 64)."""
    noise = np.array([[sky_noise(band) for band in image] for image in images])
    result = {f"sky rms {b} (nanomaggies)": noise[:, i, 0] for i, b in enumerate(BANDS)}
    result |= {f"noise correlation {b}": noise[:, i, 1] for i, b in enumerate(BANDS)}
    inner, outer = (aperture_weights(images.shape[2:], r / SCALE) for r in (1.5, 6.0))
    share = (images[:, 2] * inner).sum((1, 2)) / (images[:, 2] * outer).sum((1, 2))
    result["share of r light within 6 arcsec that is in the fibre"] = share
    result[NEIGHBOURS] = np.array([count_neighbours(image[2]) for image in images])
    fits_ = [stars(image[2], n) for image, n in zip(images, noise[:, 2, 0], strict=True)]
    fits_ = np.concatenate(fits_)
    fits_ = fits_[(fits_[:, 0] > 2) & (fits_[:, 0] < 5)]  # the rest are galaxies or artefacts
    result["star FWHM, r (arcsec)"] = fits_[:, 0] * SCALE
    return result


def measure_field(folder):
    """Noise and seeing of one field of frames, a dictionary of floats."""
    result = {}
    for band in BANDS:
        with fits.open(next(Path(folder).glob(f"frame-{band}-*"))) as hdus:
            image = hdus[0].data.astype(float)
            calibration = np.median(hdus[1].data)
        noise = mad_std(image[::3, ::3])
        star = stars(image[:1400], noise, threshold=60.0)[:80]
        shape = np.median(star[:, :4], axis=0) if len(star) else np.full(4, np.nan)
        result[band] = (noise, calibration, len(star), *shape)
    return result


def measure_spectra(folder):
    """Errors of real spectra over those of simulated ones of the same flux; line spread, km/s."""
    nodes = np.array([4000, 4500, 5000, 5700, 6300, 7000, 7700, 8200, 9000])
    config = replace(InstrumentConfig(), noise_scatter=0.0)
    ratio, width = [], []
    for path in sorted(Path(folder).glob("spec-0*.fits")) + sorted(Path(folder).glob("spec-1*")):
        data = fits.getdata(path, 1)
        wave, good = 10 ** data["loglam"], data["ivar"] > 0
        real = np.where(good, np.clip(data["ivar"], 1e-9, None), np.nan) ** -0.5
        pixel, expected = pixel_noise(wave[good], data["flux"][good].astype(float), config)
        near = [(np.abs(wave - n) < 25, np.abs(pixel - n) < 25) for n in nodes]
        ratio.append([np.nanmedian(real[a]) / np.median(expected[b]) for a, b in near])
        width.append([np.median(data["wdisp"][a]) * 69.03 for a, _ in near])
    return nodes, np.array(ratio), np.nanmedian(width, axis=0)


def sheet(real, simulated, path):
    """Figure of 30 real beside 30 simulated cutouts."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(6, 10, figsize=(12, 7.5))
    for first, images in ((0, real), (5, simulated)):
        for k, image in enumerate(images[:30]):
            axis = axes[k // 5, first + k % 5]
            colours = make_lupton_rgb(
                0.7 * image[3], image[2], 1.5 * image[1], minimum=-0.05, stretch=0.5, Q=8
            )
            axis.imshow(colours, origin="lower")
            axis.set_axis_off()
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.955, 0.03, 0.03)
    figure.text(0.25, 0.965, "SDSS", ha="center", size=13)
    figure.text(0.75, 0.965, "simulated", ha="center", size=13)
    figure.savefig(path, dpi=75, pil_kwargs={"quality": 88} if str(path).endswith("jpg") else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real", type=Path)
    parser.add_argument("--n", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()

    paths = sorted((options.real / "images").glob("*.fits"))
    real = np.stack([fits.getdata(p)[:, 16:80, 16:80].astype(float) for p in paths])
    batch = Survey.sdss_main(seed=options.seed).simulate(options.n)
    first, second = measure_cutouts(real), measure_cutouts(batch.image.astype(float))
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - quantity",
        "     - real: 10, 50, 90 %",
        "     - simulated: 10, 50, 90 %",
    ]
    for name in first:
        lines.append(f"   * - {name}")
        for values in (first[name], second[name]):
            if name == NEIGHBOURS:
                lines.append(f"     - mean {values.mean():.2f}")
            else:
                cells = np.percentile(values, [10, 50, 90])
                lines.append("     - " + ", ".join(f"{v:.3g}" for v in cells))
    print("\n".join(lines))
    n_stars = [len(m["star FWHM, r (arcsec)"]) for m in (first, second)]
    print(f"\nstars measured in cutouts: {n_stars[0]} real, {n_stars[1]} simulated")
    if options.table:
        options.table.write_text("\n".join(lines) + "\n")

    for folder in sorted((options.real / "fields").iterdir()):
        print(f"\n{folder.name}: band, sky rms, nmgy/ADU, stars, FWHM (arcsec), e1, e2, beta")
        for band, row in measure_field(folder).items():
            rms, calibration, n, fwhm, *shape = row
            cells = " ".join(f"{v:7.3f}" for v in (fwhm * SCALE, *shape))
            print(f"  {band} {rms:.4f} {calibration:.5f} {n:4d} {cells}")
    nodes, ratio, width = measure_spectra(options.real / "spectra")
    print("\nspectra: wavelength, real error over simulated (10, 50, 90 %), line spread (km/s)")
    for node, row, spread in zip(nodes, np.nanpercentile(ratio, [10, 50, 90], 0).T, width):
        print(f"  {node:6.0f} " + " ".join(f"{v:5.2f}" for v in row) + f" {spread:6.1f}")
    if options.figure:
        sheet(real, batch.image, options.figure)


if __name__ == "__main__":
    main()
