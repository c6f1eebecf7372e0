"""Galaxies: their stars, gas and dust, and how they are distributed."""
