"""Small tools that every room uses: files, processes, constants, statistics."""
