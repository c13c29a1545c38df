"""One job from the file to the results, in this process: which results, how large, in which colours."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pictures
import pytest
from pictures import BLUE, GREEN, RED, WHITE, colour_at, looks_like, opened
from PIL import Image, ImageChops, ImageSequence

from proxy.errors import MirrorError
from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.formats import OUTPUTS, PictureFacts
from proxy.images.jobs import Inspection, Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.transforms.transform import Transform

Inspect = Callable[..., Inspection]


@pytest.fixture(name="look")
def _look(tmp_path: Path) -> Iterator[Inspect]:
    """Inspect a body with wishes written as `options` or `options>format,format`."""
    path = tmp_path / "body"

    def look(body: bytes, *wishes: str, check: bool = False, **settings: Any) -> Inspection:
        path.write_bytes(body)
        told: list[PictureFacts] = []
        limits = Settings(**settings)
        prepare(max_pixels=limits.max_pixels)
        job = Job(str(path), tuple(wish(text) for text in wishes), check=check)
        inspection = inspect(job, limits, decoder=PillowDecoder(), on_facts=told.append)
        assert not told or inspection.facts == told[0]
        return inspection

    yield look
    # Pillow's limit is global.
    prepare(max_pixels=Settings().max_pixels)


def wish(text: str) -> Wish:
    options, _, acceptable = text.partition(">")
    return Wish(Transform.parse(options).resolved({}), tuple((acceptable or "png").split(",")))


def result(inspection: Inspection, number: int = 0) -> Image.Image:
    output = inspection.outputs[number]
    assert isinstance(output, Rendered), output
    picture = opened(output.body)
    assert picture.size == (output.width, output.height)
    return picture


def code(inspection: Inspection, number: int = 0) -> str:
    output = inspection.outputs[number]
    assert isinstance(output, MirrorError)
    return output.code


# Input of every kind


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_undone(look: Inspect, picture_format: str, orientation: int) -> None:
    """Whatever way the camera was held, the result is upright, and so are the facts."""
    inspection = look(pictures.turned(orientation, picture_format), "format=png")
    assert inspection.facts is not None
    assert (inspection.facts.width, inspection.facts.height) == (120, 80)
    picture = result(inspection)
    assert picture.size == (120, 80)
    assert looks_like(colour_at(picture, 0.2, 0.2), RED)
    assert looks_like(colour_at(picture, 0.8, 0.2), GREEN)
    assert looks_like(colour_at(picture, 0.2, 0.8), BLUE)


def test_orientation_and_shrinking_go_together(look: Inspect) -> None:
    """A large turned JPEG is decoded small and is upright all the same."""
    big = pictures.upright_arrow(6).resize((1600, 2400))
    inspection = look(pictures.saved(big, "JPEG", exif=pictures.exif(6)), "width=240")
    assert result(inspection).size == (240, 160)
    assert looks_like(colour_at(result(inspection), 0.2, 0.8), BLUE)


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0"])
def test_broken_exif_leaves_picture_whole(look: Inspect, exif: bytes) -> None:
    """Damaged EXIF data are no damage of the picture, whichever options are used."""
    body = pictures.saved(pictures.quarters(), "JPEG", exif=exif)
    inspection = look(body, "width=50", "width=50,metadata=keep>jpeg", "format=json>json", check=True)
    assert inspection.verdict == "whole"
    assert all(isinstance(output, Rendered) for output in inspection.outputs)


def test_lossless_jpeg_is_decoded_whole_for_a_small_result(look: Inspect) -> None:
    """It has no cosines, so libjpeg cannot give it smaller, and breaks off where that is asked for."""
    body = pictures.lossless_jpeg(160, 120)
    inspection = look(body, "width=10", check=True)
    assert inspection.verdict == "whole"
    assert looks_like(colour_at(result(inspection), 0.1, 0.1), (128, 128, 128), within=2)


def test_sixteen_bits_are_scaled_not_clipped(look: Inspect) -> None:
    """A ramp stays a ramp; clipping would make all but the first column white."""
    picture = result(look(pictures.grey_16_bit(), "format=png")).convert("L")
    ramp = picture.crop((0, 8, 64, 9)).tobytes()
    assert all(abs(value - x * 255 / 63) <= 2 for x, value in enumerate(ramp))


def test_sixteen_bit_transparency_is_kept(look: Inspect) -> None:
    """The one transparent value of a 16-bit grey PNG is transparent, its neighbours are not."""
    plain = pictures.grey_16_bit()
    transparent = (10 * 65535 // 63).to_bytes(2, "big")
    body = plain[:33] + pictures.chunk(b"tRNS", transparent) + plain[33:]
    alpha = result(look(body, "format=png")).convert("RGBA").getchannel("A")
    assert [alpha.getpixel((x, 3)) for x in (9, 10, 11)] == [255, 0, 255]


def test_inverted_cmyk_comes_out_right(look: Inspect) -> None:
    """Photoshop's inverted CMYK is neither a negative nor black."""
    picture = result(look(pictures.adobe_cmyk(), "width=32"))
    assert looks_like(colour_at(picture, 0.8, 0.5), WHITE)
    assert looks_like(colour_at(picture, 0.2, 0.5), (255, 0, 0))


def test_colour_profile_is_applied_and_dropped(look: Inspect) -> None:
    """Red under a profile that calls it green comes out green, without a profile of its own."""
    body = pictures.saved(
        Image.new("RGB", (20, 20), (255, 0, 0)), "PNG", icc_profile=pictures.swapped_profile()
    )
    picture = result(look(body, "width=10"))
    assert looks_like(colour_at(picture, 0.5, 0.5), (0, 255, 0))
    assert "icc_profile" not in picture.info


@pytest.mark.parametrize("profile", [b"no profile", b"\0" * 200, b""])
def test_unusable_profile_is_ignored(look: Inspect, profile: bytes) -> None:
    """A broken profile changes nothing; browsers do the same."""
    body = pictures.saved(pictures.quarters(), "PNG", icc_profile=profile)
    assert looks_like(colour_at(result(look(body, "width=60", check=True)), 0.1, 0.1), RED)


def test_profile_of_another_colour_space_is_ignored(look: Inspect) -> None:
    """A LAB profile on an RGB picture cannot be meant."""
    body = pictures.with_profile(pictures.quarters(), "LAB")
    assert looks_like(colour_at(result(look(body, "width=60")), 0.1, 0.1), RED)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_png_mode_is_rendered_everywhere(look: Inspect, mode: str) -> None:
    """Each kind of PNG becomes each output format."""
    source = (
        pictures.quarters().convert("L").convert("I;16")
        if mode == "I;16"
        else pictures.quarters().convert(mode)
    )
    inspection = look(pictures.saved(source, "PNG"), *(f"width=40>{name}" for name in OUTPUTS), check=True)
    assert inspection.verdict == "whole"
    made = [output.output_format for output in inspection.outputs if isinstance(output, Rendered)]
    assert made == list(OUTPUTS)
    assert all(result(inspection, number).size == (40, 27) for number in range(len(OUTPUTS)))


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "ICO"])
def test_every_input_format_is_rendered(look: Inspect, picture_format: str) -> None:
    """The allow-list of formats is met, colours in their places."""
    options = {"ICO": {"sizes": [(120, 80)]}}.get(picture_format, {})
    inspection = look(pictures.saved(pictures.quarters(), picture_format, **options), "width=60", check=True)
    assert inspection.verdict == "whole"
    assert inspection.facts is not None
    assert inspection.facts.format == picture_format.lower()
    assert looks_like(colour_at(result(inspection), 0.2, 0.8), BLUE, within=40)


def test_transparent_edge_gets_no_dark_fringe(look: Inspect) -> None:
    """Half transparent pixels of a shrunken red disc are red, not brown."""
    picture = result(look(pictures.saved(pictures.disc(), "PNG"), "width=33"))
    pixels = [picture.getpixel((x, y)) for x in range(33) for y in range(33)]
    edge = [p for p in pixels if isinstance(p, tuple) and 20 < p[3] < 235]
    assert edge
    assert all(p[0] > 240 and p[1] < 15 and p[2] < 15 for p in edge)


def test_palette_with_transparency_keeps_it(look: Inspect) -> None:
    """A GIF's hole is still a hole in WebP, and white in JPEG."""
    body = pictures.saved(pictures.disc(), "GIF")
    inspection = look(body, "width=50>webp", "width=50>jpeg")
    assert result(inspection).convert("RGBA").getchannel("A").getpixel((0, 0)) == 0
    assert looks_like(colour_at(result(inspection, 1), 0, 0), WHITE)


def test_opaque_alpha_channel_is_left_out(look: Inspect) -> None:
    """An alpha channel that says nothing costs nothing."""
    body = pictures.saved(pictures.photo().convert("RGBA"), "PNG")
    assert result(look(body, "width=50>png")).mode == "RGB"


# Fits, as pixels


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ("width=60", (60, 40)),
        ("width=60,height=60,fit=cover", (60, 60)),
        ("width=60,height=60,fit=pad", (60, 60)),
        ("width=60,height=60,fit=squeeze", (60, 60)),
        ("width=60,height=60,fit=contain", (60, 40)),
        ("width=240,height=240,fit=cover", (240, 240)),
        ("width=240,height=240,fit=crop,upscale=false", (120, 80)),
        ("width=30,dpr=2", (60, 40)),
        ("width=60,rotate=90", (60, 90)),
        ("trim=10;20;10;20", (80, 60)),
        ("trim=500;0;0;500", (1, 1)),
    ],
)
def test_result_has_the_planned_size(look: Inspect, options: str, size: tuple[int, int]) -> None:
    """The encoded size is the one that geometry planned."""
    assert result(look(pictures.saved(pictures.quarters(), "PNG"), options)).size == size


def test_cover_cuts_where_gravity_says(look: Inspect) -> None:
    """The left square of the quarters has no green, the right one no red."""
    body = pictures.saved(pictures.quarters(), "PNG")
    inspection = look(body, "w=40,h=80,fit=cover,g=left", "w=40,h=80,fit=cover,g=right")
    assert looks_like(colour_at(result(inspection), 0.9, 0.1), RED)
    assert looks_like(colour_at(result(inspection, 1), 0.1, 0.1), GREEN)


def test_automatic_gravity_finds_the_detail(look: Inspect) -> None:
    """A plain picture with one busy corner keeps that corner."""
    picture = Image.new("RGB", (400, 100), WHITE)
    picture.paste(pictures.chart().convert("RGB").resize((90, 90)), (305, 5))
    kept = result(look(pictures.saved(picture, "PNG"), "w=100,h=100,fit=cover,g=auto"))
    assert len(kept.convert("L").getcolors(256) or []) > 20


def test_pad_is_white_or_the_background(look: Inspect) -> None:
    """Around a padded picture is white, or the colour asked for, transparent ones included."""
    body = pictures.saved(pictures.quarters(), "PNG")
    inspection = look(
        body,
        "w=60,h=60,fit=pad",
        "w=60,h=60,fit=pad,background=%23ff00ff",
        "w=60,h=60,fit=pad,background=%2300000000",
    )
    assert looks_like(colour_at(result(inspection), 0.5, 0), WHITE)
    assert looks_like(colour_at(result(inspection, 1), 0.5, 0), (255, 0, 255))
    assert result(inspection, 2).getpixel((30, 0)) == (0, 0, 0, 0)


def test_background_lies_under_transparency(look: Inspect) -> None:
    """Holes are filled in every format, JPEG included."""
    body = pictures.saved(pictures.disc(), "PNG")
    inspection = look(body, "width=50,background=blue>png", "width=50,background=blue>jpeg")
    assert all(looks_like(colour_at(result(inspection, number), 0, 0), (0, 0, 255)) for number in (0, 1))


@pytest.mark.parametrize(
    ("options", "corner"),
    [
        ("flip=h", GREEN),
        ("flip=v", BLUE),
        ("flip=hv", WHITE),
        ("rotate=90", BLUE),
        ("rotate=180", WHITE),
        ("rotate=270", GREEN),
    ],
)
def test_flip_and_rotate_move_the_corners(look: Inspect, options: str, corner: tuple[int, ...]) -> None:
    """The colour that comes to stand top left."""
    assert looks_like(
        colour_at(result(look(pictures.saved(pictures.quarters(), "PNG"), options)), 0.1, 0.1), corner
    )


def test_trim_finds_the_border(look: Inspect) -> None:
    """A border of nearly one colour goes, what differs stays."""
    picture = Image.new("RGB", (100, 100), (250, 250, 250))
    picture.paste(RED, (30, 40, 70, 60))
    picture.putpixel((5, 5), (246, 250, 250))
    body = pictures.saved(picture, "PNG")
    inspection = look(body, "trim=true", "trim=0", "trim=true,width=20")
    assert result(inspection).size == (40, 20)
    assert result(inspection, 1).size == (65, 55)
    assert result(inspection, 2).size == (20, 10)


def test_trim_of_a_plain_picture_leaves_it(look: Inspect) -> None:
    """Where everything is border nothing is cut."""
    assert result(look(pictures.saved(Image.new("RGB", (30, 20), RED), "PNG"), "trim=true")).size == (30, 20)


@pytest.mark.parametrize(
    ("options", "colour"),
    [
        ("brightness=0.5", (60, 30, 15)),
        ("saturation=0", (72, 72, 72)),
        ("gamma=2", (175, 124, 87)),
        ("contrast=2", (112, 0, 0)),
        ("contrast=0.5", (124, 94, 79)),
        ("brightness=0,contrast=0,gamma=0", (120, 60, 30)),
    ],
)
def test_factors_change_the_tones(look: Inspect, options: str, colour: tuple[int, ...]) -> None:
    """1 changes nothing, and 0 is ignored except for saturation."""
    body = pictures.saved(Image.new("RGB", (8, 8), (120, 60, 30)), "PNG")
    assert looks_like(colour_at(result(look(body, options)), 0.5, 0.5), colour, within=3)


def test_contrast_depends_on_nothing_but_the_colour(look: Inspect) -> None:
    """The same grey gives the same result on dark and light grounds, in frames, and beside hidden colours."""
    grounds: list[tuple[str, tuple[int, ...]]] = [
        ("RGB", (20, 20, 20)),
        ("RGB", (240, 240, 240)),
        ("RGBA", (0, 0, 0, 0)),
        ("RGBA", (255, 255, 255, 0)),
    ]
    for mode, ground in grounds:
        picture = Image.new(mode, (40, 40), ground)
        picture.paste(Image.new(mode, (10, 40), (110, 110, 110, 255)[: len(ground)]))
        shown = (
            result(look(pictures.saved(picture, "PNG"), "contrast=2,format=png"))
            .convert("RGBA")
            .convert("RGB")
        )
        assert looks_like(colour_at(shown, 0.1, 0.5), (93, 93, 93), within=2), (mode, ground)


def test_blur_and_sharpen_work_on_the_result(look: Inspect) -> None:
    """Blurring evens out an edge, sharpening exaggerates it."""
    picture = Image.new("L", (40, 10), 100)
    picture.paste(150, (20, 0, 40, 10))
    inspection = look(pictures.saved(picture, "PNG"), "blur=4", "sharpen=4", "width=40")
    spread = [sorted(result(inspection, number).convert("L").tobytes()) for number in range(3)]
    assert len(set(spread[0])) > 5
    assert (spread[1][0] < 100, spread[1][-1] > 150) == (True, True)
    assert set(spread[2]) == {100, 150}


def test_blur_keeps_hidden_colours_hidden(look: Inspect) -> None:
    """Black under transparent pixels does not darken visible pixels."""
    picture = result(look(pictures.saved(pictures.disc(), "PNG"), "blur=10")).convert("RGBA")
    pixels = picture.tobytes()
    assert min(red for red, alpha in zip(pixels[::4], pixels[3::4], strict=True) if alpha > 60) > 235


@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255), (0, 255, 0)])
def test_sharpen_keeps_hidden_colours_hidden(look: Inspect, hidden: tuple[int, int, int]) -> None:
    """A colour stays the same at the edge of a hole, whatever lies below. Without holes nothing changes."""
    seen = (200, 120, 60)
    picture = Image.new("RGBA", (40, 40), (*hidden, 0))
    picture.paste((*seen, 255), (10, 10, 30, 30))
    sharp = result(look(pictures.saved(picture, "PNG"), "sharpen=4,format=png")).convert("RGBA")
    for place in ((10, 20), (29, 20), (20, 10), (20, 29), (10, 10)):
        found = sharp.getpixel(place)
        assert isinstance(found, tuple)
        assert found[3] == 255
        assert looks_like(found[:3], seen, within=6)


def test_sharpen_of_a_picture_with_alpha_is_that_of_one_without(look: Inspect) -> None:
    """Where everything is seen, alpha makes no difference."""
    photo = pictures.photo(60, 40)
    plain, clear = photo.copy(), photo.convert("RGBA")
    clear.putpixel((59, 39), (0, 0, 0, 0))
    sharp = [
        result(look(pictures.saved(picture, "PNG"), "sharpen=3,format=png"))
        .convert("RGB")
        .crop((0, 0, 50, 30))
        for picture in (plain, clear)
    ]
    assert max(ImageChops.difference(*sharp).tobytes()) <= 1


# One job, several wishes


def test_one_decode_serves_all_wishes(look: Inspect) -> None:
    """Sizes and formats of one job come from one decode, in the order of the wishes."""
    body = pictures.saved(pictures.photo(900, 600), "JPEG", quality=92)
    texts = [
        "width=100>webp",
        "width=600>avif,webp",
        "width=300,height=300,fit=cover>fallback",
        "width=100>png",
    ]
    inspection = look(body, *texts, check=True)
    assert [result(inspection, n).size for n in range(4)] == [(100, 67), (600, 400), (300, 300), (100, 67)]
    assert [o.output_format for o in inspection.outputs if isinstance(o, Rendered)] == [
        "webp",
        "avif",
        "jpeg",
        "png",
    ]


def test_refused_wish_leaves_the_others(look: Inspect) -> None:
    """A wish beyond the output limits is refused, its neighbours are rendered."""
    inspection = look(
        pictures.saved(pictures.quarters(), "PNG"), "width=9000", "width=50", max_output_side=8192
    )
    assert code(inspection) == "invalid_transform"
    assert result(inspection, 1).size == (50, 33)
    assert inspection.verdict == "whole"


def test_same_job_gives_same_bytes(look: Inspect) -> None:
    """Rendering is deterministic, so that a variant rebuilt is the variant."""
    body = pictures.saved(pictures.photo(), "JPEG")
    texts = [f"width=90>{name}" for name in OUTPUTS]
    assert look(body, *texts).outputs == look(body, *texts).outputs


def test_quality_decides_the_size(look: Inspect) -> None:
    """Less quality, fewer bytes, in each lossy format."""
    body = pictures.saved(Image.effect_noise((200, 200), 80), "PNG")
    lossy = [name for name, written in OUTPUTS.items() if written.usual_quality is not None]
    assert {*lossy} >= {"avif", "webp", "jpeg"}
    for name in lossy:
        inspection = look(body, f"width=100,q=20>{name}", f"width=100>{name}", f"width=100,q=95>{name}")
        sizes = [len(output.body) for output in inspection.outputs if isinstance(output, Rendered)]
        assert sizes == sorted(set(sizes))


def test_json_describes_result_and_original(look: Inspect) -> None:
    """format=json answers what Cloudflare answers, and what keeps the place of a picture."""
    body = pictures.turned(6, "JPEG")
    output = look(body, "width=60,format=json>json").outputs[0]
    assert isinstance(output, Rendered)
    answer = json.loads(output.body)
    assert answer.pop("dominant_colour") == "#ffffff"
    assert len(base64.b64decode(answer.pop("thumbhash"))) == 21
    assert answer == {
        "width": 60,
        "height": 40,
        "original": {
            "file_size": len(body),
            "width": 120,
            "height": 80,
            "format": "image/jpeg",
            "frames": 1,
            "orientation": 6,
        },
    }


def test_json_counts_the_frames_of_an_animation(look: Inspect) -> None:
    output = look(pictures.moving("GIF", 4), "format=json>json").outputs[0]
    assert isinstance(output, Rendered)
    assert json.loads(output.body)["original"]["frames"] == 4


# Metadata

WITHOUT_EXIF = {"gif"}
"""Output formats that have no place for Exif data."""


@pytest.mark.parametrize("name", tuple(OUTPUTS))
def test_metadata_is_dropped_kept_or_reduced(look: Inspect, name: str) -> None:
    """none keeps nothing, copyright the author's rights, keep all but the orientation."""
    exif = pictures.exif(6, Artist="A. Uthor", Copyright="(c) A", Make="Cam")
    body = pictures.saved(pictures.upright_arrow(6), "JPEG", exif=exif)
    texts = [f"width=50,metadata={kept}>{name}" for kept in ("none", "copyright", "keep")]
    inspection = look(body, *texts)
    found = [dict(result(inspection, number).getexif()) for number in range(3)]
    rights = {315: "A. Uthor", 33432: "(c) A"}
    wanted = [{}, {}, {}] if name in WITHOUT_EXIF else [{}, rights, rights | {271: "Cam"}]
    assert found == wanted, f"Exif data are written in every format that has a place for them: is {name} one?"
    assert result(inspection, 2).size == (50, 33)


# Animation


@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("output", [name for name, written in OUTPUTS.items() if written.moves])
def test_animation_stays_one(look: Inspect, source: str, output: str) -> None:
    """Frames, delays and the endless loop come through, smaller."""
    inspection = look(pictures.moving(source, 4), f"width=30>{output}", check=True)
    assert inspection.verdict == "whole"
    assert inspection.facts is not None
    assert inspection.facts.frames == 4
    picture = result(inspection)
    assert picture.size == (30, 20)
    delays = [frame.info["duration"] for frame in ImageSequence.Iterator(picture) if frame.load()]
    assert delays == [50, 60, 70, 80]
    assert picture.info["loop"] == 0
    picture.seek(2)
    assert looks_like(colour_at(picture, 25 / 60, 0.5), WHITE, within=40)
    assert looks_like(colour_at(picture, 0.05, 0.5), RED, within=40)


def test_number_of_plays_is_kept(look: Inspect) -> None:
    """A GIF that repeats twice plays three times; without the extension it plays once."""
    thrice = result(look(pictures.moving("GIF", 3, loop=2), "width=30>webp"))
    assert thrice.info["loop"] == 3
    again = result(look(pictures.moving("GIF", 3, loop=2), "width=30>gif"))
    assert again.info["loop"] == 2
    once = result(look(pictures.moving("GIF", 3, loop=None), "width=30>gif"))
    assert "loop" not in once.info


def test_holes_of_animation_stay_holes(look: Inspect) -> None:
    """Where a later frame is transparent the earlier one does not shine through."""
    frames = []
    for x in (0, 30):
        frame = Image.new("RGBA", (60, 20), (0, 0, 0, 0))
        frame.paste((255, 0, 0, 255), (x, 0, x + 30, 20))
        frames.append(frame)
    body = pictures.saved(
        frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100, lossless=True
    )
    for output in ("gif", "webp"):
        picture = result(look(body, f"width=30>{output}"))
        picture.seek(1)
        alpha = picture.convert("RGBA").getchannel("A")
        assert (alpha.getpixel((3, 5)), alpha.getpixel((25, 5))) == (0, 255), output


@pytest.mark.parametrize(
    "text", ["width=30,anim=false>webp", "width=30>jpeg", "width=30>avif", "width=30,anim=false>fallback"]
)
def test_still_of_an_animation_is_its_first_frame(look: Inspect, text: str) -> None:
    """anim=false, and formats that stand still, show the first frame."""
    picture = result(look(pictures.moving("GIF", 4), text))
    assert getattr(picture, "n_frames", 1) == 1
    assert looks_like(colour_at(picture, 0.05, 0.5), WHITE, within=40)


# What is no good


def test_bytes_that_are_no_picture_are_told(look: Inspect) -> None:
    """HTML, text and nothing at all are `not_an_image`."""
    for body in (b"", b"<!DOCTYPE html><html></html>", b"plain text", b"\0" * 100):
        inspection = look(body, "width=10", check=True)
        assert (inspection.verdict, code(inspection)) == ("not_an_image", "not_an_image")


@pytest.mark.parametrize("head", [b"\xff\x0a\xff\xff", b"\0\0\0\x18ftypheic\0\0\0\0heic", b"8BPS\0\1"])
def test_formats_never_decoded_are_told(look: Inspect, head: bytes) -> None:
    """They are pictures, but none that is opened here."""
    inspection = look(head, "width=10", check=True)
    assert (inspection.verdict, code(inspection)) == ("unsupported", "unsupported_format")


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "ICO"])
@pytest.mark.parametrize("share", [0.3, 0.66, 0.97])
def test_cut_picture_is_damaged(look: Inspect, picture_format: str, share: float) -> None:
    """A third, two thirds or nearly all of a file: the full decode of a check finds out."""
    inspection = look(
        pictures.cut(pictures.saved(pictures.photo(), picture_format), share), "width=10", check=True
    )
    assert (inspection.verdict, code(inspection)) == ("damaged", "decode_failed")


@pytest.mark.parametrize(("missing", "verdict"), [(1, "whole"), (20, "whole"), (200, "damaged")])
def test_png_is_damaged_when_rows_are_missing_and_not_before(
    look: Inspect, missing: int, verdict: str
) -> None:
    """Its last twenty bytes are checksums and the end mark."""
    inspection = look(pictures.saved(pictures.photo(), "PNG")[:-missing], "width=10", check=True)
    assert inspection.verdict == verdict
    assert inspection.facts is not None


@pytest.mark.parametrize("picture_format", ["GIF", "WEBP", "PNG"])
def test_animation_without_its_last_frames_shows_the_others(look: Inspect, picture_format: str) -> None:
    """The answer has as many frames as the file has data for; the first must be there."""
    body = pictures.moving(picture_format, 6, size=(200, 150))
    inspection = look(pictures.cut(body, 0.8), "width=20>webp", check=True)
    assert inspection.verdict == "whole"
    assert 1 < getattr(result(inspection), "n_frames", 1) < 6
    assert look(pictures.cut(body, 0.1), "width=20>webp", check=True).verdict == "damaged"


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_original_without_an_end_is_answered_with_one(look: Inspect, form: str) -> None:
    """The original's own bytes are smaller than the rendered result. They are answered as they were mended."""
    body = pictures.saved(pictures.photo(60, 40), form.upper(), **({"quality": 20} if form == "jpeg" else {}))
    inspection = look(body[: -2 if form == "jpeg" else -12], f"quality=100>{form}", check=True)
    (output,) = inspection.outputs
    assert isinstance(output, Rendered)
    assert len(output.body) <= len(body)
    assert result(inspection).size == (60, 40)


def test_pixel_bomb_is_refused_by_its_header(look: Inspect) -> None:
    """The limit is compared before anything is decoded, and the facts are known."""
    inspection = look(pictures.png(40_000, 40_000, b""), "width=10", check=True)
    assert (inspection.verdict, code(inspection)) == ("beyond_limits", "too_many_pixels")
    assert inspection.facts is not None
    assert inspection.facts.width == 40_000


def test_long_animation_is_refused_but_for_its_first_frame(look: Inspect) -> None:
    """5,000 frames are too many, unless only the first is wished for."""
    inspection = look(
        pictures.long_gif(5000), "width=10>webp", "width=10>jpeg", "width=10,anim=false>webp", check=True
    )
    assert inspection.verdict == "beyond_limits"
    assert (code(inspection, 0), code(inspection, 1)) == ("too_many_frames", "too_many_frames")
    assert result(inspection, 2).size == (1, 1)


def test_pixels_of_all_frames_count(look: Inspect) -> None:
    """Few frames of a small picture may be too many pixels together."""
    body = pictures.moving("GIF", 4)
    inspection = look(body, "width=10>webp", "width=10>jpeg", check=True, max_pixels=60 * 40 * 3)
    assert (inspection.verdict, code(inspection)) == ("beyond_limits", "too_many_pixels")
    assert result(inspection, 1).size == (10, 7)


def test_webp_beyond_the_limit_is_refused(look: Inspect) -> None:
    """libwebp allocates its canvas while the header is read; that counts too."""
    assert (
        code(look(pictures.saved(pictures.photo(400, 300), "WEBP"), "width=10", max_pixels=10_000))
        == "too_many_pixels"
    )


def _scans(count: int, *, size: tuple[int, int] = (64, 48)) -> bytes:
    """A progressive JPEG whose last scan stands there `count` times more."""
    body = pictures.saved(pictures.photo(*size), "JPEG", progressive=True)
    last = body[body.rindex(b"\xff\xda") : -2]
    return body[:-2] + last * count + b"\xff\xd9"


def _gif(*frames: tuple[int, int, int, int]) -> bytes:
    """A GIF with a screen of one pixel and frames (left, top, width, height) that do not keep to it."""
    parts = (
        b"\x2c" + struct.pack("<HHHHB", *frame, 0) + b"\x02\x02\x44\x01\x00"
        for frame in ((0, 0, 1, 1), *frames)
    )
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + b"".join(parts) + b";"


def _many_strips(count: int) -> bytes:
    """A TIFF of one byte with this many strips."""
    start = 8 + 2 + 12 * 8 + 4
    data = start + 8 * count
    tags = [(256, 1), (257, count), (258, 8), (259, 1), (262, 1), (278, 1)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = directory[: 12 * 5] + struct.pack("<HHII", 273, 4, count, start) + directory[12 * 5 :]
    directory += struct.pack("<HHII", 279, 4, count, start + 4 * count)
    places = struct.pack("<I", data) * count + struct.pack("<I", 1) * count
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 8) + directory + b"\0\0\0\0" + places + b"\0"


_JPEG = pictures.saved(pictures.photo(64, 48), "JPEG")
_PNG = pictures.saved(pictures.photo(64, 48), "PNG")
HEAVY: dict[str, tuple[bytes, str]] = {
    "JPEG of 600 scans": (_scans(600), "too_many_pixels"),
    "large JPEG of 100 scans": (_scans(100, size=(600, 500)), "too_many_pixels"),
    "GIF with a frame far out": (_gif((9000, 9000, 1, 1)), "too_many_pixels"),
    "GIF with a frame larger than its screen": (_gif((0, 0, 9000, 9000)), "too_many_pixels"),
    "JPEG of 200,000 comments": (_JPEG[:2] + b"\xff\xfe\0\2" * 200_000 + _JPEG[2:], "unsupported_format"),
    "JPEG of 200,000 tables": (_JPEG[:2] + b"\xff\xc4\0\2" * 200_000 + _JPEG[2:], "unsupported_format"),
    "PNG of 200,000 texts": (
        _PNG[:33] + pictures.chunk(b"tEXt", b"a\0b") * 200_000 + _PNG[33:],
        "unsupported_format",
    ),
    "PNG of 200,000 empty data chunks": (
        _PNG[:33] + pictures.chunk(b"IDAT", b"") * 200_000 + _PNG[33:],
        "unsupported_format",
    ),
    "TIFF of 200,000 strips": (_many_strips(200_000), "unsupported_format"),
}


@pytest.mark.parametrize("name", HEAVY)
def test_heavy_file_is_refused_before_it_is_decoded(
    look: Inspect, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expensive parts are counted in the blocks of the file. Nothing is decoded, and nothing counts as damaged."""
    body, expected = HEAVY[name]
    monkeypatch.setattr("proxy.images.pipeline.decode", lambda *_, **__: pytest.fail("decoded"))
    inspection = look(body, "width=10>webp", check=True, max_pixels=1_000_000)
    assert code(inspection) == expected
    assert inspection.verdict != "damaged"


def test_jpeg_of_a_hundred_scans_is_rendered(look: Inspect) -> None:
    """A small picture may have many scans."""
    assert result(look(_scans(100), "width=10>png", check=True)).size == (10, 8)
