"""What ``photospec download`` does."""

import argparse

import pytest

from photospec.cli.download import add_arguments, run


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser


def arguments(server, *more):
    urls = ["--skyserver-url", server.url, "--sas-url", server.url + "/sas"]
    return [*urls, "--requests-per-second", "1000", *more]


@pytest.fixture(autouse=True)
def fast_queries(monkeypatch):
    # The command has no option to ask faster than SkyServer allows.
    from photospec.archive.sdss import catalogue

    original = catalogue.SkyServer.__init__

    def init(self, config, sleep=None):
        original(self, config.replace(queries_per_minute=1e6), sleep or (lambda seconds: None))

    monkeypatch.setattr(catalogue.SkyServer, "__init__", init)


def test_download(small_sky, serve, parser, tmp_path, capsys):
    server, _ = serve(small_sky)
    folder = tmp_path / "out"
    args = parser.parse_args([str(folder), *arguments(server, "--limit", "5", "--size", "32")])
    args.quiet = False
    assert run(args) == 0
    captured = capsys.readouterr()
    assert captured.out == f"5 of 5 galaxies in {folder / 'pairs.h5'}\n"
    assert "5 of 5 galaxies (100.0 %), 0 failed" in captured.err


def test_dry_run(small_sky, serve, parser, tmp_path, capsys):
    server, _ = serve(small_sky)
    args = parser.parse_args([str(tmp_path / "out"), "--dry-run", *arguments(server)])
    args.quiet = True
    assert run(args) == 0
    out = capsys.readouterr().out
    assert "galaxies          12\n" in out
    assert "disk  " in out
    assert not (tmp_path / "out").exists()


def test_status_says_that_some_failed(small_sky, serve, parser, tmp_path, capsys):
    server, _ = serve(small_sky)
    path = next(path for path in small_sky.makers if "/spec-" in path)
    body = small_sky.makers.pop(path)
    try:
        args = parser.parse_args([str(tmp_path), "--size", "32", *arguments(server)])
        args.quiet = False
        assert run(args) == 1
    finally:
        small_sky.makers[path] = body
    out = capsys.readouterr().out
    assert "11 of 12 galaxies in" in out
    assert "1 failed: " in out
    assert "not on the server (HTTP 404)" in out


def test_settings_from_a_file(small_sky, serve, parser, tmp_path, capsys):
    from photospec.archive import DownloadConfig
    from photospec.config import read_toml, write_toml

    _, settings = serve(small_sky)
    settings = {k: v for k, v in settings.items() if k != "progress"}
    path = tmp_path / "download.toml"
    write_toml(DownloadConfig(**settings | {"limit": 4}), path)
    assert read_toml(DownloadConfig, path) == DownloadConfig(**settings | {"limit": 4})
    args = parser.parse_args([str(tmp_path / "out"), "--config", str(path), "--limit", "3"])
    args.quiet = True
    assert run(args) == 0
    assert (tmp_path / "out/pairs.h5").exists()
    assert capsys.readouterr().out == ""


def test_help_explains_every_setting(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    out = capsys.readouterr().out
    for option in ("--where", "--dry-run", "--catalogue", "--limit", "--sas-url"):
        assert option in out
