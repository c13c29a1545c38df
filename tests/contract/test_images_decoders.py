"""The contract of every decoder, whichever library it uses: Pillow, libvips, or `auto`, which uses both."""

from __future__ import annotations

import random
import warnings
import zlib
from pathlib import Path

import damage
import pictures
import pytest
from pictures import BLUE, GREEN, RED, WHITE, colour_at, distance, looks_like
from PIL import Image

from proxy.errors import DecodeFailed, PictureError
from proxy.images.decode import Decoded, Decoder
from proxy.images.decode import decode as decode_opened
from proxy.images.decode.choice import decoder_for
from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.formats import PictureFacts
from proxy.images.formats.probe import looked_at, structure_of
from proxy.images.pixels.libvips import has_libvips

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF")
needs_libvips = pytest.mark.skipif(not has_libvips(), reason="libvips is not installed (imgmirror[vips])")


def opened_and_decoded(
    decoder: Decoder, folder: Path, body: bytes, name: str, *, at_least: tuple[int, int], frames: int = 1
) -> tuple[PictureFacts, Decoded]:
    prepare(max_pixels=50_000_000)
    path = folder / "body"
    path.write_bytes(body)
    looked = looked_at(path, name, max_frames=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the pipeline does
        with decoder.open(looked.source, looked.structure, picture_format=name) as opened:
            return opened.facts, decode_opened(
                opened, at_least=at_least, frames=frames or opened.facts.frames, before=lambda _: None
            )


def on_chequers(picture: Image.Image) -> Image.Image:
    """Return the picture on two colours, side by side, so that transparency is compared as people see it."""
    both = Image.new("RGB", (picture.width * 2, picture.height), WHITE)
    both.paste((0, 0, 0), (picture.width, 0, picture.width * 2, picture.height))
    for left in (0, picture.width):
        both.paste(picture.convert("RGB"), (left, 0), picture.convert("RGBA").getchannel("A"))
    return both


def _half(left: tuple[int, ...], right: tuple[int, ...], size: tuple[int, int] = (64, 64)) -> Image.Image:
    made = Image.new("RGBA" if len(left) == 4 else "RGB", size, right)
    made.paste(left, (0, 0, size[0] // 2, size[1]))
    return made


def _grey_4_bit() -> bytes:
    """A picture whose left half is black and right half white; white is the transparent value."""
    rows = (b"\0" + b"\0" * 16 + b"\xff" * 16) * 64
    return pictures.png(
        64, 64, zlib.compress(rows), bits=4, colour=0, extra=pictures.chunk(b"tRNS", b"\0\x0f")
    )


_RAMP = Image.new("L", (64, 16))
_RAMP.putdata([round(x * 255 / 63) for _ in range(16) for x in range(64)])
_SEE_THROUGH = _half((200, 40, 40, 255), (40, 40, 200, 90))
HARD: dict[str, tuple[str, bytes, Image.Image]] = {
    "16-bit grey": ("png", pictures.grey_16_bit(), _RAMP),
    "4-bit grey with a transparent value": ("png", _grey_4_bit(), _half((0, 0, 0, 255), (0, 0, 0, 0))),
    "inverted CMYK": ("jpeg", pictures.adobe_cmyk(), _half((255, 0, 0), WHITE)),
    "palette": ("png", pictures.saved(pictures.chart(), "PNG"), pictures.chart().convert("RGB")),
    "two tones": (
        "png",
        pictures.saved(_half((0, 0, 0), WHITE).convert("1"), "PNG"),
        _half((0, 0, 0), WHITE),
    ),
    "straight alpha": ("png", pictures.saved(_SEE_THROUGH, "PNG"), _SEE_THROUGH),
    "grey with alpha": (
        "png",
        pictures.saved(_SEE_THROUGH.convert("LA"), "PNG"),
        _SEE_THROUGH.convert("LA").convert("RGBA"),
    ),
    "palette with alpha": ("png", pictures.saved(_SEE_THROUGH.quantize(8), "PNG"), _SEE_THROUGH),
    "WebP with alpha": (
        "webp",
        pictures.saved(_SEE_THROUGH, "WEBP", lossless=True, exact=True),
        _SEE_THROUGH,
    ),
    "AVIF with alpha": ("avif", pictures.saved(_SEE_THROUGH, "AVIF", quality=95), _SEE_THROUGH),
    "progressive": (
        "jpeg",
        pictures.saved(pictures.photo(), "JPEG", quality=95, progressive=True),
        pictures.photo(),
    ),
    "grey JPEG": ("jpeg", pictures.saved(_RAMP, "JPEG", quality=95), _RAMP),
}


def _keyed(bits: int, left: tuple[int, ...], right: tuple[int, ...], key: tuple[int, ...]) -> bytes:
    """A PNG of two colours; `key` is the transparent one."""
    rows = b""
    for _ in range(16):
        digits = "".join(format(number, f"0{bits}b") for number in left * 8 + right * 8)
        rows += b"\0" + int(digits, 2).to_bytes(len(digits) // 8, "big")
    named = pictures.chunk(b"tRNS", b"".join(number.to_bytes(2, "big") for number in key))
    return pictures.png(16, 16, zlib.compress(rows), bits=bits, colour=2 if len(key) == 3 else 0, extra=named)


KEYED: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "grey 16, black": (_keyed(16, (0,), (40_000,), (0,)), (156, 156, 156, 255)),
    "grey 16, next to each other": (_keyed(16, (51_000,), (51_001,), (51_000,)), (199, 199, 199, 255)),
    "RGB 16": (_keyed(16, (65_535,) * 3, (65_535, 65_535, 65_280), (65_535,) * 3), (255, 255, 255, 255)),
    "RGB 16, next to each other": (_keyed(16, (300, 2, 3), (301, 2, 3), (300, 2, 3)), (1, 0, 0, 255)),
    "RGB 8": (_keyed(8, (1, 2, 3), (1, 2, 4), (1, 2, 3)), (1, 2, 4, 255)),
    "RGB 8 with bits that do not count": (_keyed(8, (1, 2, 3), (1, 2, 4), (257, 2, 515)), (1, 2, 4, 255)),
    "grey 8": (_keyed(8, (7,), (8,), (7,)), (8, 8, 8, 255)),
    "grey 4": (_keyed(4, (7,), (8,), (7,)), (136, 136, 136, 255)),
    "grey 2": (_keyed(2, (1,), (2,), (1,)), (170, 170, 170, 255)),
    "grey 1": (_keyed(1, (1,), (0,), (1,)), (0, 0, 0, 255)),
    "grey 1 with bits that do not count": (_keyed(1, (0,), (1,), (2,)), (255, 255, 255, 255)),
}


class DecoderContract:
    """Derive a class and set its `decoder` to a value of `render.decoder`."""

    name: str

    def decode(
        self, path: Path, body: bytes, name: str, *, at_least: tuple[int, int] = (1, 1), frames: int = 1
    ) -> tuple[PictureFacts, Decoded]:
        return opened_and_decoded(decoder_for(self.name), path, body, name, at_least=at_least, frames=frames)

    @pytest.mark.parametrize("name", FORMATS)
    def test_decoded_is_at_least_as_large_as_asked(self, tmp_path: Path, name: str) -> None:
        """The result is never smaller than asked, never larger than the original, and has its shape and a plain
        mode."""
        body = pictures.saved(pictures.photo(640, 480), name)
        for wanted in ((640, 480), (300, 225), (33, 25), (1, 1)):
            facts, decoded = self.decode(tmp_path, body, name.lower(), at_least=wanted)
            picture = decoded.frames[0].picture
            assert (facts.width, facts.height) == (640, 480)
            assert wanted[0] <= picture.width <= 640
            assert wanted[1] <= picture.height <= 480
            assert abs(picture.width / picture.height - 4 / 3) < 0.4
            assert picture.mode in {"L", "RGB", "RGBA"}

    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
    @pytest.mark.parametrize("orientation", [3, 5, 6, 7, 8])
    def test_decoded_is_upright(self, tmp_path: Path, name: str, orientation: int) -> None:
        """Sizes are upright, in arguments and in results."""
        facts, decoded = self.decode(
            tmp_path, pictures.turned(orientation, name), name.lower(), at_least=(120, 80)
        )
        picture = decoded.frames[0].picture
        assert (facts.width, facts.height) == picture.size == (120, 80)
        assert looks_like(colour_at(picture, 0.2, 0.2), RED)
        assert looks_like(colour_at(picture, 0.8, 0.2), GREEN)
        assert looks_like(colour_at(picture, 0.2, 0.8), BLUE)

    def test_decoded_is_srgb(self, tmp_path: Path) -> None:
        """The profile is applied, and the result carries no metadata of the file."""
        body = pictures.saved(pictures.quarters(), "PNG", icc_profile=pictures.swapped_profile())
        _, decoded = self.decode(tmp_path, body, "png", at_least=(120, 80))
        picture = decoded.frames[0].picture
        assert looks_like(colour_at(picture, 0.2, 0.2), GREEN, within=40)
        assert not picture.info

    @pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG"])
    def test_all_frames_are_decoded_alike(self, tmp_path: Path, name: str) -> None:
        """Frames are complete pictures of one size and mode, with their delays."""
        facts, decoded = self.decode(
            tmp_path, pictures.moving(name, 4), name.lower(), at_least=(60, 40), frames=4
        )
        assert facts.frames == len(decoded.frames) == 4
        assert len({(frame.picture.mode, frame.picture.size) for frame in decoded.frames}) == 1
        assert [frame.duration_ms for frame in decoded.frames] == [50, 60, 70, 80]
        assert decoded.plays == 0

    @pytest.mark.parametrize("name", FORMATS)
    def test_cut_body_is_damaged_even_when_decoded_small(self, tmp_path: Path, name: str) -> None:
        """Decoding at any size reads the whole file, so half a file is never accepted."""
        body = pictures.cut(pictures.saved(pictures.photo(640, 480), name))
        with pytest.raises(DecodeFailed):
            self.decode(tmp_path, body, name.lower())

    @pytest.mark.parametrize("name", FORMATS)
    def test_garbage_behind_a_signature_is_a_picture_error(self, tmp_path: Path, name: str) -> None:
        """The decoder raises only errors of the contract."""
        body = pictures.saved(pictures.quarters(), name)
        for size in (0, 4, 12, 40):
            with pytest.raises(PictureError):
                self.decode(tmp_path, body[:size] + b"\xa5\x00\xff" * 50, name.lower())

    @pytest.mark.parametrize("name", HARD)
    def test_hard_picture_has_its_colours(self, tmp_path: Path, name: str) -> None:
        """Grey of 16 and 4 bits, inverted ink, palettes, transparency, interlacing: within a perceptual distance."""
        picture_format, body, right = HARD[name]
        facts, decoded = self.decode(tmp_path, body, picture_format, at_least=right.size)
        picture = decoded.frames[0].picture
        assert (facts.width, facts.height) == picture.size == right.size
        assert distance(on_chequers(picture), on_chequers(right)) < 3
        assert facts.has_alpha or picture.mode in {"L", "RGB"}

    def test_small_transparent_edges_are_not_dark(self, tmp_path: Path) -> None:
        """Transparent pixels contribute no colour: the disc stays pure red when it is reduced."""
        _, decoded = self.decode(tmp_path, pictures.disc_png(203, 201), "png", at_least=(20, 20))
        picture = decoded.frames[0].picture
        assert picture.mode == "RGBA"
        assert picture.width < 203
        seen = [pixel for pixel in picture.get_flattened_data() if isinstance(pixel, tuple) and pixel[3] > 8]
        assert seen
        assert min(pixel[0] for pixel in seen) > 240

    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF"])
    def test_damage_in_the_last_rows_is_seen_however_small(self, tmp_path: Path, name: str) -> None:
        """The last bytes matter even if an end mark is added: reducing while loading reads them all."""
        body = pictures.saved(pictures.photo(641, 479), name)
        for missing in (40, 200, 900):
            cut = body[:-missing] + (b"\xff\xd9" if name == "JPEG" else b"")
            expected = verdict(PillowDecoder(), tmp_path, cut, name.lower())
            found = verdict(decoder_for(self.name), tmp_path, cut, name.lower())
            assert found == expected
            assert name == "JPEG" or found == "decode_failed"

    @pytest.mark.parametrize("name", damage.HARMLESS)
    def test_damage_outside_of_the_pixels_changes_nothing(self, tmp_path: Path, name: str) -> None:
        """Faulty metadata, checksums and end marks do not change the picture, and neither does a cursor's format."""
        picture_format, damaged, good = damage.HARMLESS[name]
        facts, decoded = self.decode(tmp_path, damaged, picture_format, at_least=(97, 61))
        right_facts, right = self.decode(tmp_path, good, picture_format, at_least=(97, 61))
        assert (facts.width, facts.height, facts.frames) == (right_facts.width, right_facts.height, 1)
        assert distance(decoded.frames[0].picture, right.frames[0].picture) < 0.5

    @pytest.mark.parametrize("name", damage.FATAL)
    def test_area_without_data_is_damage(self, tmp_path: Path, name: str) -> None:
        """A file that lacks part of its area is damaged, whatever its end looks like and however small the result
        is."""
        picture_format, body = damage.FATAL[name]
        for at_least in ((97, 61), (5, 5)):
            with pytest.raises(DecodeFailed):
                self.decode(tmp_path, body, picture_format, at_least=at_least)

    @pytest.mark.parametrize("passes", [1, 1.5, 2, 3, 4, 5.2, 6, 6.9])
    def test_missing_passes_are_filled_from_their_neighbours(self, tmp_path: Path, passes: float) -> None:
        """An interlaced PNG is complete with its first pass, and more passes make it sharper."""
        _, decoded = self.decode(tmp_path, damage.interlaced(passes), "png", at_least=(97, 61))
        _, fewer = self.decode(tmp_path, damage.interlaced(1), "png", at_least=(97, 61))
        found = distance(decoded.frames[0].picture, damage.PHOTO)
        assert found <= distance(fewer.frames[0].picture, damage.PHOTO) < 16
        assert passes < 6 or found < 4

    @pytest.mark.parametrize("ended", [True, False])
    @pytest.mark.parametrize("count", [1, 2.5, 4, 6, 8.7])
    def test_missing_refinements_are_no_damage(self, tmp_path: Path, count: float, ended: bool) -> None:
        """A progressive JPEG is complete with its first scan, wherever it breaks off after that."""
        _, decoded = self.decode(tmp_path, damage.scans(count, ended=ended), "jpeg", at_least=(97, 61))
        assert distance(decoded.frames[0].picture, damage.PHOTO) < 12

    @pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG"])
    def test_missing_last_frames_are_no_damage(self, tmp_path: Path, name: str) -> None:
        """A truncated animation shows the frames that are there."""
        body = pictures.moving(name, 6, size=(120, 80))
        shown = set()
        for share in (0.5, 0.8, 0.97):
            _, decoded = self.decode(tmp_path, pictures.cut(body, share), name.lower(), frames=0)
            shown.add(len(decoded.frames))
            assert looks_like(colour_at(decoded.frames[0].picture, 0.9, 0.5), RED)
        assert min(shown) < max(shown) <= 6

    @pytest.mark.parametrize("kept", range(13, 38))
    def test_pixel_without_data_is_transparent(self, tmp_path: Path, kept: int) -> None:
        """A GIF that counts visits may end anywhere after its screen descriptor."""
        head = b"GIF89a\1\0\1\0\0\0\0"
        frame = b"\x21\xf9\4\1\0\0\0\0" + b"\x2c\0\0\0\0\1\0\1\0\0" + b"\2\2\x44\1\0;"
        _, decoded = self.decode(tmp_path, (head + frame)[:kept], "gif")
        assert decoded.frames[0].picture.convert("RGBA").getchannel("A").getpixel((0, 0)) == 0

    @pytest.mark.parametrize("table", [True, False])
    def test_grey_gif_keeps_its_transparency(self, tmp_path: Path, *, table: bool) -> None:
        """Greys without a colour table, or with one that repeats them, keep their transparency."""
        picture = Image.new("L", (2, 1), 200)
        picture.putpixel((0, 0), 5)
        body = pictures.saved(picture, "GIF", transparency=5, optimize=False)
        assert body[10] & 0x87 == 0x87
        if not table:
            body = body[:10] + b"\0" + body[11:13] + body[13 + 768 :]
        _, decoded = self.decode(tmp_path, body, "gif", at_least=(2, 1))
        found = decoded.frames[0].picture.convert("RGBA")
        assert found.getchannel("A").getpixel((0, 0)) == 0
        assert found.getpixel((1, 0)) == (200, 200, 200, 255)

    def test_cursor_has_the_transparency_of_its_mask(self, tmp_path: Path) -> None:
        """A cursor of one bit is drawn like an icon of one bit."""
        _, decoded = self.decode(tmp_path, damage.two_tone_cursor(), "ico", at_least=(32, 32))
        picture = decoded.frames[0].picture.convert("RGBA")
        assert picture.getpixel((4, 16)) == (255, 255, 255, 255)
        assert picture.getchannel("A").getpixel((28, 16)) == 0

    @pytest.mark.parametrize("name", KEYED)
    def test_only_the_colour_that_the_file_names_is_transparent(self, tmp_path: Path, name: str) -> None:
        """All bits of a number are compared, and opaque pixels keep their tone."""
        body, opaque = KEYED[name]
        facts, decoded = self.decode(tmp_path, body, "png", at_least=(16, 16))
        picture = decoded.frames[0].picture.convert("RGBA")
        assert facts.has_alpha
        assert picture.getchannel("A").getpixel((2, 2)) == 0
        assert picture.getpixel((13, 13)) == opaque

    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "GIF"])
    def test_verdict_and_facts_are_those_of_pillow(self, tmp_path: Path, name: str) -> None:
        """Whatever is changed or cut in a file, all decoders agree on the verdict."""
        body = pictures.saved(pictures.photo(90, 70), name)
        rng = random.Random(7)  # noqa: S311 - damage, not a secret
        for _ in range(120):
            changed = bytearray(body)
            for _ in range(rng.choice((1, 1, 3))):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            damaged = bytes(changed[: rng.choice((len(changed), rng.randrange(len(changed))))])
            found = verdict(decoder_for(self.name), tmp_path, damaged, name.lower())
            assert found == verdict(PillowDecoder(), tmp_path, damaged, name.lower())


def verdict(decoder: Decoder, folder: Path, body: bytes, name: str) -> str | PictureFacts:
    try:
        return opened_and_decoded(decoder, folder, body, name, at_least=(9, 9))[0]
    except PictureError as error:
        return error.code


class TestPillow(DecoderContract):
    """Pillow, which is always available."""

    name = "pillow"


@needs_libvips
class TestLibvips(DecoderContract):
    """libvips wherever it may be used, and Pillow for the rest."""

    name = "libvips"


@needs_libvips
class TestAuto(DecoderContract):
    """The faster library for each format."""

    name = "auto"


@needs_libvips
@pytest.mark.parametrize("at_least", [(1021, 679), (510, 339), (100, 66)])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_decoders_show_the_same_picture(tmp_path: Path, name: str, at_least: tuple[int, int]) -> None:
    """Results that each library resized itself look the same, and a PNG at full size has equal bytes."""
    body = pictures.saved(pictures.photo(1021, 679), name)
    made = []
    for decoder in map(decoder_for, ("pillow", "libvips")):
        _, decoded = opened_and_decoded(decoder, tmp_path, body, name.lower(), at_least=at_least)
        picture = decoded.frames[0].picture
        made.append(decoder.resample(picture, at_least, (0, 0, *picture.size)))
    assert distance(*made) < 1.5
    assert name != "PNG" or at_least[0] < 1021 or made[0].tobytes() == made[1].tobytes()


@pytest.mark.parametrize("name", ["pillow", "libvips"])
def test_transparent_picture_asks_for_the_copies_that_resampling_makes(tmp_path: Path, name: str) -> None:
    """Both libraries premultiply alpha, in a copy of four bytes for each pixel."""
    prepare(max_pixels=50_000_000)
    size, asked = (600, 400), []
    path = tmp_path / "body"
    for mode in ("RGB", "RGBA"):
        path.write_bytes(pictures.saved(pictures.photo(*size).convert(mode), "PNG"))
        structure = structure_of(path, "png", max_frames=1)
        with decoder_for(name).open(str(path), structure, picture_format="png") as opened:
            asked.append(opened.memory(at_least=size, frames=1))
    assert asked[1] - asked[0] >= 8 * size[0] * size[1]


@needs_libvips
def test_libvips_really_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libvips does the work: as Pillow is the fallback, an idle libvips would go unnoticed."""
    monkeypatch.setattr(
        "proxy.images.decode.pillow.PillowOpened.decode", lambda *_, **__: pytest.fail("Pillow decoded")
    )
    for name in ("JPEG", "PNG", "WEBP", "AVIF"):
        body = pictures.saved(pictures.photo(64, 48), name)
        opened_and_decoded(decoder_for("libvips"), tmp_path, body, name.lower(), at_least=(64, 48))
    body = pictures.saved(pictures.photo(64, 48), "PNG")
    opened_and_decoded(decoder_for("auto"), tmp_path, body, "png", at_least=(64, 48))


@needs_libvips
def test_libvips_has_no_other_loaders(tmp_path: Path) -> None:
    """The loaders for SVG, PDF, matrices and libvips' own format cannot be reached."""
    decoder_for("libvips")
    pyvips = pytest.importorskip("pyvips")
    for name, body in {
        "a.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>',
        "a.mat": b"2 1\n1 2\n",
        "a.ppm": b"P6 1 1 255 abc",
        "a.gif": pictures.saved(pictures.quarters(), "GIF"),
        "a.tif": pictures.saved(pictures.quarters(), "TIFF"),
    }.items():
        (tmp_path / name).write_bytes(body)
        with pytest.raises(pyvips.Error):
            pyvips.Image.new_from_file(str(tmp_path / name)).avg()
