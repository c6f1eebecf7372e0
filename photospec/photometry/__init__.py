"""Fluxes in apertures and through filters."""
