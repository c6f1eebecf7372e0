"""SDSS: catalogue, frames, cutouts and spectra, fetched through astroquery."""
