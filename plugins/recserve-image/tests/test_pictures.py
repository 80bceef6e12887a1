"""Pictures of items: what is read of a folder and what never is, and vectors of the real network."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recserve_image import picture_encoder
from recserve_image.encoder import PictureEncoder
from recserve_image.parameters import PictureParams
from recserve_image.pictures import SIDE, read_picture

from recserve import Catalogue, ConfigError, DataError, Item
from recserve.testing import check_item_encoder

RED, GREEN = (200, 40, 40), (40, 200, 40)
MANY = 50_000_000


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def noisy(colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, 25, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.png").write_bytes(saved(noisy(RED, 0)))
    (folder / "sub" / "b.jpg").write_bytes(saved(noisy(GREEN, 1), "JPEG"))
    (tmp_path / "secret.png").write_bytes(saved(noisy(RED, 2)))
    return folder


def encoder(folder: Path, **params: object) -> PictureEncoder:
    return picture_encoder(PictureParams(folder=str(folder), **params), Catalogue())  # type: ignore[arg-type]


def test_the_contract_of_item_encoders(folder: Path) -> None:
    items = [Item("a", {"image": "a.png"}), Item("b", {"image": "sub/b.jpg"}), Item("c")]
    vectors = check_item_encoder("picture", items, folder=str(folder))
    assert vectors.shape == (3, 1280)
    assert vectors.any(axis=1).tolist() == [True, True, False]


def test_pictures_of_one_colour_are_more_alike_than_of_two(folder: Path) -> None:
    made = [saved(noisy(colour, seed)) for seed, colour in enumerate((RED, RED, GREEN, GREEN))]
    vectors = encoder(folder).encode(made)
    near = vectors @ vectors.T
    assert min(near[0, 1], near[2, 3]) > max(near[0, 2], near[0, 3], near[1, 2], near[1, 3])


@pytest.mark.parametrize(
    "named", ["../secret.png", "sub/../../secret.png", "/etc/passwd", "link.png", "up/secret.png"]
)
def test_nothing_outside_of_the_folder_is_read(folder: Path, named: str) -> None:
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "up").symlink_to(folder.parent)
    with pytest.raises(DataError, match="outside of the configured folder"):
        encoder(folder).content(Item("x", {"image": named}))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("http://host/a.png", "not named by the path"),
        ("file:///etc/passwd", "not named by the path"),
        (["a.png"], "not named by the path"),
        ("a\x00.png", "not named by the path"),
        ("none.png", "is no file"),
        ("sub", "is no file"),
        ("x" * 300, "cannot be read"),
        ("pipe", "is no file"),
    ],
)
def test_what_is_no_picture_of_the_folder_is_refused_in_one_line(
    folder: Path, named: object, said: str
) -> None:
    os.mkfifo(folder / "pipe")  # nobody writes: opening it would wait for ever
    with pytest.raises(DataError, match=said) as refusal:
        encoder(folder).content(Item("x", {"image": named}))
    assert "\n" not in refusal.value.message


def test_an_item_without_a_picture_has_no_content(folder: Path) -> None:
    made = encoder(folder, attribute="cover")
    assert made.content(Item("x", {"image": "a.png"})) is None
    assert made.content(Item("x", {"cover": ""})) is None
    assert made.content(Item("x", {"cover": "a.png"})) == (folder / "a.png").read_bytes()


def test_files_are_bounded(folder: Path) -> None:
    with pytest.raises(DataError, match="more than 10 bytes"):
        encoder(folder, max_bytes=10).content(Item("x", {"image": "a.png"}))


def test_broken_pictures_have_zero_rows_and_others_are_unharmed(folder: Path) -> None:
    good = saved(noisy(RED, 0))
    bomb = saved(Image.new("1", (9000, 9000)))  # 11 kB that are 81 million pixels
    strip = saved(Image.new("RGB", (60_000, 1)))
    contents = [
        good,
        b"",
        b"no picture",
        good[:200],
        bomb,
        strip,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        good,
    ]
    vectors = encoder(folder).encode(contents)
    assert vectors.any(axis=1).tolist() == [True, *[False] * 6, True]
    np.testing.assert_allclose(vectors[0], vectors[-1], atol=1e-5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("size", [(300, 200), (20, 300), (224, 224), (1, 1)])
def test_pictures_of_every_kind_and_shape_become_squares(kind: str, size: tuple[int, int]) -> None:
    pixels = read_picture(saved(Image.new("RGB", size, RED), kind), MANY)
    assert pixels is not None
    assert pixels.shape == (3, SIDE, SIDE)
    np.testing.assert_allclose(pixels.mean(axis=(1, 2)), RED, atol=6)


def test_a_picture_is_turned_upright() -> None:
    wide = Image.new("RGB", (400, 200), RED)
    wide.paste(GREEN, (0, 0, 200, 200))  # left is green
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter: left comes to the top
    pixels = read_picture(saved(wide, "JPEG", exif=exif, quality=95), MANY)
    assert pixels is not None
    assert pixels[1, :80].mean() > 150 > pixels[1, -80:].mean()


def test_transparent_and_grey_pictures_are_read() -> None:
    for mode in ("RGBA", "LA", "L", "P", "1", "CMYK"):
        kind = "JPEG" if mode == "CMYK" else "PNG"
        assert read_picture(saved(Image.new(mode, (30, 30)), kind), MANY) is not None, mode


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        encoder(tmp_path / "none")
