"""What every decoder behind the seam must do, whichever library it is."""

from __future__ import annotations

import warnings
from pathlib import Path

import pictures
import pytest
from pictures import BLUE, GREEN, RED, colour_at, looks_like

from proxy.errors import DecodeFailed, PictureError
from proxy.images.decode import Decoded, Decoder
from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.formats import PictureFacts
from proxy.images.probe import structure_of

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF")


class DecoderContract:
    """Derive a class, give it `decoder`."""

    decoder: Decoder

    def decode(
        self, path: Path, body: bytes, name: str, *, at_least: tuple[int, int] = (1, 1), frames: int = 1
    ) -> tuple[PictureFacts, Decoded]:
        prepare(max_pixels=50_000_000)
        path = path / "body"
        path.write_bytes(body)
        structure = structure_of(path, name, max_frames=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as the pipeline does
            with self.decoder.open(str(path), structure, picture_format=name) as opened:
                return opened.facts, opened.decode(at_least=at_least, frames=frames)

    @pytest.mark.parametrize("name", FORMATS)
    def test_decoded_is_at_least_as_large_as_asked(self, tmp_path: Path, name: str) -> None:
        """Never smaller than asked, never larger than the original, in its shape, in a plain mode."""
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
        """Sizes are upright ones, on the way in and out."""
        facts, decoded = self.decode(
            tmp_path, pictures.turned(orientation, name), name.lower(), at_least=(120, 80)
        )
        picture = decoded.frames[0].picture
        assert (facts.width, facts.height) == picture.size == (120, 80)
        assert looks_like(colour_at(picture, 0.2, 0.2), RED)
        assert looks_like(colour_at(picture, 0.8, 0.2), GREEN)
        assert looks_like(colour_at(picture, 0.2, 0.8), BLUE)

    def test_decoded_is_srgb(self, tmp_path: Path) -> None:
        """The profile is applied, and nothing of the file clings to the picture."""
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
        """A decode is a full one, at whatever size: half a file never passes."""
        body = pictures.cut(pictures.saved(pictures.photo(640, 480), name))
        with pytest.raises(DecodeFailed):
            self.decode(tmp_path, body, name.lower())

    @pytest.mark.parametrize("name", FORMATS)
    def test_garbage_behind_a_signature_is_a_picture_error(self, tmp_path: Path, name: str) -> None:
        """Nothing but an error of the contract leaves the seam."""
        body = pictures.saved(pictures.quarters(), name)
        for size in (0, 4, 12, 40):
            with pytest.raises(PictureError):
                self.decode(tmp_path, body[:size] + b"\xa5\x00\xff" * 50, name.lower())


class TestPillowDecoder(DecoderContract):
    """Pillow, which is always there."""

    decoder = PillowDecoder()
