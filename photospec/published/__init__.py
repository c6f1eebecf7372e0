"""The published authors' code: their networks, checkpoints, settings and data folders."""
