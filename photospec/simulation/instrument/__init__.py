"""The telescope and the spectrograph: PSF, images, noise, fibre."""
