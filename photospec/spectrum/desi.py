"""DESI coadds: three spectrographs (b, r, z) whose spectra overlap, joined into one.

All are sampled every 0.8 Angstrom on one common grid, so they are joined by the weighted mean of
the samples that overlap. Wavelengths are in vacuum. The width of the line-spread function is the
second moment of the columns of the resolution matrix.
"""

import numpy as np

from photospec.spectrum.arrays import from_arrays

__all__ = ["ARMS", "DesiArm", "is_desi", "join_arms", "read_arms", "read_desi_spectra"]

#: Names of the spectrographs.
ARMS = ("B", "R", "Z")
STEP = 0.8  # Angstrom


def is_desi(hdus):
    """Tell a DESI coadd (``coadd-*.fits``) by its extensions.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList

    Returns
    -------
    bool
    """
    names = {hdu.name for hdu in hdus}
    return "FIBERMAP" in names and any(f"{arm}_WAVELENGTH" in names for arm in ARMS)


class DesiArm:
    """Spectra of one spectrograph, on the common grid from sample `first` on.

    Parameters
    ----------
    wavelength : ndarray, shape (n_wave,)
        Angstrom.
    flux, ivar : ndarray, shape (n, n_wave)
        1e-17 erg/s/cm2/A and its inverse square, 0 where bad.
    resolution : ndarray, shape (n, n_diagonals, n_wave), or None
        Diagonals of the resolution matrix.
    """

    def __init__(self, wavelength, flux, ivar, resolution):
        self.first = round(wavelength[0] / STEP)
        self.flux, self.ivar, self.resolution = flux, ivar, resolution

    def row(self, i):
        """Return first sample, flux, ivar and line-spread sigma (Angstrom, NaN where unknown)."""
        if self.resolution is None:
            return self.first, self.flux[i], self.ivar[i], np.full(self.flux.shape[1], np.nan)
        matrix = np.clip(self.resolution[i].astype(float), 0, None)  # (n_diagonals, n_wave)
        half = matrix.shape[0] // 2
        offset = np.arange(half, half - matrix.shape[0], -1)[:, None]
        total = matrix.sum(axis=0)
        known = total > 0  # a dead spectrograph has a matrix of zeros
        norm = np.where(known, total, 1.0)
        mean = (matrix * offset).sum(axis=0) / norm
        variance = (matrix * (offset - mean) ** 2).sum(axis=0) / norm
        return self.first, self.flux[i], self.ivar[i], np.where(
            known, np.sqrt(variance) * STEP, np.nan
        )  # fmt: skip


def read_arms(hdus):
    """Read the spectrographs that a coadd file holds.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList

    Returns
    -------
    list of DesiArm
    """
    names = {hdu.name for hdu in hdus}
    arms = []
    for arm in ARMS:
        if f"{arm}_WAVELENGTH" not in names:
            continue
        ivar = hdus[f"{arm}_IVAR"].data.astype(float)
        if f"{arm}_MASK" in names:
            ivar[hdus[f"{arm}_MASK"].data != 0] = 0.0
        resolution = hdus[f"{arm}_RESOLUTION"].data if f"{arm}_RESOLUTION" in names else None
        flux = hdus[f"{arm}_FLUX"].data.astype(float)
        arms.append(DesiArm(hdus[f"{arm}_WAVELENGTH"].data, flux, ivar, resolution))
    return arms


def join_arms(rows, meta):
    """Join what the spectrographs saw of one object.

    Samples without information (inverse variance zero: a dead spectrograph) have no part in the
    mean, neither of the flux nor of the line-spread function.

    Parameters
    ----------
    rows : list of tuple
        As `DesiArm.row` returns them.
    meta : dict
        Goes into the spectrum.

    Returns
    -------
    specutils.Spectrum
    """
    start = min(first for first, *_ in rows)
    stop = max(first + len(flux) for first, flux, *_ in rows)
    weight, total, plain, count = (np.zeros(stop - start) for _ in range(4))
    # Line-spread functions: averaged over live samples, over dead ones where there are no others.
    lsf, n_lsf = np.zeros((2, stop - start)), np.zeros((2, stop - start))
    for first, flux, ivar, sigma in rows:
        place = np.s_[first - start : first - start + len(flux)]
        live = (ivar > 0) & np.isfinite(flux)
        weight[place] += np.where(live, ivar, 0)
        total[place] += np.where(live, flux * ivar, 0)
        plain[place] += np.where(np.isfinite(flux), flux, 0)
        count[place] += 1
        for kind, use in enumerate((live & (sigma > 0), ~live & (sigma > 0))):
            lsf[kind, place] += np.where(use, sigma, 0)
            n_lsf[kind, place] += use
    covered, good = count > 0, weight > 0
    flux = np.where(good, total / np.where(good, weight, 1), plain / np.maximum(count, 1))
    sigma = np.where(good, 1 / np.sqrt(np.where(good, weight, 1)), np.inf)
    mean = lsf / np.maximum(n_lsf, 1)
    mean = np.where(n_lsf[0] > 0, mean[0], mean[1])
    known = mean > 0
    index = np.arange(mean.size)
    width = np.interp(index, index[known], mean[known])[covered] if known.any() else None
    return from_arrays(
        STEP * np.arange(start, stop)[covered],
        flux[covered],
        sigma=sigma[covered],
        mask=~good[covered],
        lsf=width,
        meta=meta,
    )


def read_desi_spectra(hdus):
    """Read all spectra of a DESI coadd file.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList

    Returns
    -------
    list of specutils.Spectrum
        One per target, with its TARGETID in ``meta["identifier"]``, and its position.
    """
    arms, fibermap = read_arms(hdus), hdus["FIBERMAP"].data
    spectra = []
    for i, target in enumerate(fibermap["TARGETID"]):
        meta = {"identifier": str(target), "source": "DESI", "spectral_frame": "barycentric"}
        for key in ("ra", "dec"):
            if f"TARGET_{key.upper()}" in fibermap.names:
                meta[key] = float(fibermap[f"TARGET_{key.upper()}"][i])
        spectra.append(join_arms([arm.row(i) for arm in arms], meta))
    return spectra
