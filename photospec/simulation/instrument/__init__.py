"""What telescope and spectrograph make of it: PSF, images, noise, fibre."""
