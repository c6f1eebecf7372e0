"""What there is: galaxies with stars, gas and dust, and how they are distributed."""
