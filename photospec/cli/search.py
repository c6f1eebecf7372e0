"""``photospec search``: galaxies like another, by the networks' embeddings."""

from pathlib import Path

from photospec.cli.arguments import add_overwrite, add_verb, add_weights, bounded_int, existing_file
from photospec.cli.console import BAD_INPUT, PARTIAL, counted, error, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Find the images or spectra most similar to others.

With --build, the files become an index, a file of embeddings. With --index, each file is a query:
an image or a spectrum, whichever the index holds.
"""
_EPILOG = """\
examples:
  photospec search cutouts/ --build galaxies.safetensors
  photospec search odd.fits --index galaxies.safetensors -n 5
  photospec search spec-*.fits --spectra --index galaxies.safetensors -o similar.ecsv
"""


def add_parser(verbs, parents=()):
    """Declare the verb and its arguments.

    Parameters
    ----------
    verbs : argparse subparsers
        Where to add the verb.
    parents : sequence of argparse.ArgumentParser
        Parsers with the arguments of all verbs.
    """
    parser = add_verb(
        verbs,
        parents,
        "search",
        run,
        summary="find similar galaxies",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILES",
        help="images, or with --spectra spectra; folders of them, or @LIST: a text file with a "
        "name in each line",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--build", type=Path, metavar="INDEX", help="write an index of the files")
    what.add_argument("--index", type=existing_file, metavar="INDEX", help="search in this index")
    parser.add_argument(
        "--spectra", action="store_true", help="the files are spectra (default: images)"
    )
    parser.add_argument(
        "-n", type=bounded_int(1), default=10, metavar="N", help="found for each (default: 10)"
    )
    parser.add_argument(
        "--search-method", choices=("exact", "faiss"), default="exact",
        help="exact: compare with all; faiss: approximately, for millions (default: exact)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="TABLE", help="write what was found")
    add_weights(parser)
    add_overwrite(parser)


def run(args):
    """Build an index or search in one.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.

    Returns
    -------
    int
        0, or 1 if some files failed, or 2 if all did.
    """
    from photospec import PhotoSpectrograph
    from photospec.cli._images import expanded
    from photospec.cli.outputs import check_outputs
    from photospec.cli.tables import TABLE_SUFFIXES, write
    from photospec.errors import InputError
    from photospec.search import EmbeddingIndex, probe_spectrum

    if args.build and args.output:
        raise InputError("-o: expected --index with it, got --build, whose file is its output")
    args.files = expanded(args.files, "files")
    check_outputs(
        {"--build": args.build, "-o": args.output},
        suffixes={"--build": (".safetensors",), "-o": TABLE_SUFFIXES},
        overwrite=args.overwrite,
        inputs=[*args.files, *([args.index] if args.index else [])],
    )
    index = EmbeddingIndex.load(args.index) if args.index else None
    spectrograph = PhotoSpectrograph.load(args.weights, device=args.device, dtype=args.dtype)
    names, vectors, failed = _vectors(args, spectrograph, index)
    if not names:
        return BAD_INPUT
    if args.build:
        kind = "spectrum" if args.spectra else "image"
        probe = spectrograph.embed_spectrum(probe_spectrum())[0]
        EmbeddingIndex(vectors, names, kind, probe=probe).save(args.build)
        say(args, f"{args.build}: {counted(len(names), 'embedding', 'embeddings')}")
    else:
        found = index.query(vectors, args.n, method=args.search_method)
        table = found.to_table(names)
        table.meta["weights"] = spectrograph.name
        if args.output:
            write(args.output, table)
            files = counted(len(names), "file", "files")
            say(args, f"{args.output}: {len(table)} found for {files}")
        else:
            table.pprint(max_lines=-1, max_width=-1)
    if failed:
        error(f"{failed} of {len(args.files)} files failed (named above)")
        return PARTIAL
    return 0


def _vectors(args, spectrograph, index):
    """Embed what can be used; return its names, the embeddings, and how many files failed."""
    from photospec.cli.console import progress
    from photospec.errors import PhotospecError
    from photospec.image import read_image
    from photospec.spectrum import read_spectrum

    if index is not None:
        index.check_weights(spectrograph)
    names, vectors, failed = [], [], 0
    with progress(args, len(args.files), "search") as bar:
        for path in args.files:
            try:
                if args.spectra:
                    found = spectrograph.embed_spectrum(read_spectrum(path))
                else:
                    found = spectrograph.embed_image(read_image(path))
            except PhotospecError as exception:
                failed += 1
                error(f"{path}: {exception}")
            else:
                several = len(found) > 1
                names += [f"{path}[{i}]" if several else str(path) for i in range(len(found))]
                vectors += list(found)
            bar.update(1)
    return names, vectors, failed
