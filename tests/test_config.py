"""Settings: what is written is read back, and wrong settings are named by line."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from photospec.config import from_dict, read_toml, setting, to_dict, validate, write_toml
from photospec.errors import InputError


@dataclass(frozen=True)
class Optimiser:
    """How to step."""

    learning_rate: float = field(default=1e-4, metadata={"help": "per step", "min": 0, "max": 1})
    kind: str = field(default="adam", metadata={"choices": ("adam", "sgd")})
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Settings:
    """All of it."""

    n_steps: int = field(default=3, metadata={"help": "how many\nin words", "min": 1})
    seed: int | None = None
    name: str = 'a "quoted" \\ text\nwith lines and ü'
    bands: tuple[str, ...] = ("u", "g")
    folder: Path = Path("x/y")
    weights: dict[str, float] = field(default_factory=lambda: {"a b": 1.0, "c": 2.0})
    shapes: list[int] = field(default_factory=lambda: [1, 2])
    mode: Literal["fast", "slow"] = "fast"
    verbose: bool = False
    tiny: float = 1e-300
    optimiser: Optimiser = field(default_factory=Optimiser)

    def __post_init__(self):
        if self.verbose and self.seed is None:
            raise InputError("seed: expected a number when verbose, got none")


@dataclass(frozen=True)
class Strict:
    """Nothing has a default."""

    value: int
    other: float


def test_round_trip(tmp_path):
    for settings in (
        Settings(),
        Settings(n_steps=9, seed=4, bands=(), verbose=True, weights={}),
        Settings(optimiser=Optimiser(learning_rate=1.0, kind="sgd"), tiny=float("inf")),
    ):
        write_toml(settings, tmp_path / "a.toml")
        assert read_toml(Settings, tmp_path / "a.toml") == settings
        assert from_dict(Settings, to_dict(settings)) == settings
    assert [path.name for path in tmp_path.iterdir()] == ["a.toml"]


def test_comments_are_the_manual(tmp_path):
    write_toml(Settings(), tmp_path / "a.toml")
    text = (tmp_path / "a.toml").read_text()
    assert text.startswith("# All of it.\n# how many\n# in words (at least 1)\nn_steps = 3\n")
    assert "# seed =\n" in text
    assert "# How to step.\n[optimiser]\n# per step (at least 0; at most 1)\n" in text
    assert "# one of adam, sgd\nkind = " in text
    tomllib.loads(text)


def test_absent_keys_take_defaults(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("n_steps = 7\n[optimiser]\nlearning_rate = 1\n")
    settings = read_toml(Settings, path)
    assert settings == Settings(n_steps=7, optimiser=Optimiser(learning_rate=1.0))
    assert isinstance(settings.optimiser.learning_rate, float)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("n_step = 7", "line 1: expected one of n_steps, .* misspelt"),
        ("\n\nn_steps = 7.5", "line 3: n_steps: expected a whole number, got 7.5"),
        ("n_steps = true", "n_steps: expected a whole number, got true"),
        ('n_steps = "7"', 'n_steps: expected a whole number, got "7"'),
        ("n_steps = 0", "n_steps: expected at least 1, got 0"),
        ("verbose = 1", "verbose: expected true or false, got 1"),
        ("name = 1", "name: expected a text in quotes, got 1"),
        ('bands = "ugriz"', "bands: expected .*tuple"),
        ("bands = [1]", "bands: expected a text"),
        ('mode = "medium"', "mode: expected one of fast, slow"),
        ("# x\n[optimiser]\nlearning_rate = 2", "line 3: optimiser.learning_rate: expected 0 to 1"),
        ("optimiser.learning_rate = -1", "line 1: optimiser.learning_rate: expected 0 to 1"),
        ("optimiser = {kind = 'adm'}", "line 1: optimiser.kind: expected one of adam, sgd"),
        ("[optimiser]\nbetas = [0.9]", r"line 2: optimiser.betas: expected tuple\[float, float\]"),
        ("optimiser = 3", r"line 1: expected the table \[optimiser\], got 3"),
        ("[optimizer]\nkind = 'adam'", "line 1: expected one of .*optimizer"),
        ("weights = {a = 'x'}", "line 1: weights.a: expected a number"),
        ("n_steps = = 3", "expected TOML.*line 1"),
        ("n_steps = 3\nn_steps = 4", "expected TOML"),
        ("verbose = true", "seed: expected a number when verbose"),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, match):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=match) as caught:
        read_toml(Settings, path)
    assert "settings.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_keys_and_files(tmp_path):
    (tmp_path / "a.toml").write_text("value = 1")
    with pytest.raises(InputError, match="expected the keys other, got none"):
        read_toml(Strict, tmp_path / "a.toml")
    with pytest.raises(InputError, match="does not exist"):
        read_toml(Strict, tmp_path / "b.toml")
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="expected a TOML file"):
        read_toml(Strict, tmp_path / "c.toml")
    with pytest.raises(InputError, match="got the key 'x'"):
        from_dict(Strict, {"value": 1, "other": 1.0, "x": 2})


def test_existing_file_is_kept_when_told(tmp_path):
    write_toml(Settings(), tmp_path / "a.toml")
    with pytest.raises(InputError, match="which exists"):
        write_toml(Settings(n_steps=5), tmp_path / "a.toml", overwrite=False)
    assert read_toml(Settings, tmp_path / "a.toml").n_steps == 3


@dataclass(frozen=True)
class Limited:
    fwhm: float = setting(1.3, "Seeing, arcsec.", min=0.1, max=10)
    counts: tuple[int, ...] = setting((1, 2), "How many.", min=1)
    kind: str = setting("moffat", choices=("moffat", "gaussian"))
    optional: float | None = setting(None, max=1)

    def __post_init__(self):
        validate(self)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fwhm": 0.0}, "fwhm: expected 0.1 to 10, got 0.0; Seeing, arcsec."),
        ({"fwhm": float("nan")}, "fwhm: expected 0.1 to 10, got nan; Seeing, arcsec."),
        ({"fwhm": "wide"}, 'fwhm: expected 0.1 to 10, got "wide"; Seeing, arcsec.'),
        ({"counts": (3, 0)}, "counts: expected at least 1, got 0; How many."),
        ({"kind": "airy"}, 'kind: expected one of moffat, gaussian, got "airy"'),
        ({"optional": 2.0}, "optional: expected at most 1, got 2.0"),
    ],
)
def test_limits_are_declared_once_and_hold_in_python_too(changes, message):
    assert Limited() == Limited(1.3, (1, 2), "moffat", None)
    with pytest.raises(InputError) as caught:
        Limited(**changes)
    assert str(caught.value) == message
