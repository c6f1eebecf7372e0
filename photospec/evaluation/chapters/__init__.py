"""What a report says, a chapter a file; each makes a `Chapter` of a `Comparison`.

In the order of the page: `redshift`, `densities`, `spectra`, `properties`, `agn`, `calibration`,
`ood`, `ranking`, `subsets`.
"""
