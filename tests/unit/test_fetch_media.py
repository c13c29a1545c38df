"""Media types: from the first bytes, from the origin's claim, and media ranges."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fetch.media import admitted, decide, essence
from proxy.signatures import BINARY, media_type_of


def iso(*brands: bytes) -> bytes:
    body = brands[0] + b"\0\0\0\0" + b"".join(brands[1:])
    return (len(body) + 8).to_bytes(4, "big") + b"ftyp" + body + b"\0\0\0\x08mdat"


PICTURES = [
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
    (b"GIF87a\1\0\1\0", "image/gif"),
    (b"GIF89a\1\0\1\0", "image/gif"),
    (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
    (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "image/bmp"),
    (b"II*\0\x08\0\0\0", "image/tiff"),
    (b"MM\0*\0\0\0\x08", "image/tiff"),
    (b"II+\0\x08\0\0\0", "image/tiff"),
    (b"MM\0+\0\x08\0\0", "image/tiff"),
    (b"\0\0\1\0\1\0\x10\x10", "image/x-icon"),
    (b"\0\0\2\0\1\0\x10\x10", "image/x-icon"),
    (iso(b"avif", b"mif1", b"miaf"), "image/avif"),
    (iso(b"avis", b"avif", b"msf1"), "image/avif"),
    (iso(b"mif1", b"avif", b"miaf"), "image/avif"),
    (iso(b"avis"), "image/avif"),
    (iso(b"isom", b"mp41", b"avif"), "image/avif"),
    (iso(b"heic", b"mif1"), "image/heic"),
    *((iso(brand), "image/heic") for brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")),
    *((iso(b"isom", brand), "image/heic") for brand in (b"heic", b"mif1", b"msf1")),
    (iso(b"mif1", b"heic"), "image/heif"),
    (iso(b"msf1", b"hevc"), "image/heif"),
    (b"\xff\x0a\xfa\x7f", "image/jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"8BPS\0\1\0\0", "image/vnd.adobe.photoshop"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
    (b"<SVG>", "image/svg+xml"),
    (b"<svg:svg xmlns:svg='x'>", "image/svg+xml"),
    (b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- a --><!DOCTYPE svg PUBLIC 'x' 'y'>\n<svg>", "image/svg+xml"),
    (b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a '>'>]><svg>", "image/svg+xml"),
    ("\ufeff<svg>".encode("utf-16-le"), "image/svg+xml"),
    ("\ufeff<svg>".encode("utf-16-be"), "image/svg+xml"),
]

OTHERS = [
    (iso(b"isom", b"iso2", b"avc1", b"mp41"), "video/mp4"),
    (iso(b"qt  "), "video/quicktime"),
    (iso(b"M4A "), "audio/mp4"),
    (iso(b"M4B "), "audio/mp4"),
    (b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\x82\x84webm", "video/webm"),
    (b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\x82\x88matroska", "video/x-matroska"),
    (b"RIFF\x24\0\0\0AVI LIST", "video/avi"),
    (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wave"),
    (b"FORM\0\0\0\x20AIFFCOMM", "audio/aiff"),
    (b"OggS\0\2", "application/ogg"),
    (b"MThd\0\0\0\6", "audio/midi"),
    (b"fLaC\0\0\0\x22", "audio/flac"),
    (b"ID3\3\0\0\0", "audio/mpeg"),
    (b"\xff\xfb\x90\x44\0", "audio/mpeg"),
    (b"\xff\xf1\x50\x80\0", "audio/aac"),
    (b"\0\1\0\0\0\x0f", "font/ttf"),
    (b"OTTO\0\x0b", "font/otf"),
    (b"ttcf\0\1\0\0", "font/collection"),
    (b"wOFF\0\1\0\0", "font/woff"),
    (b"wOF2OTTO", "font/woff2"),
    *(
        (b"\0" * 8 + version + b"\0" * 23 + b"LP\0\0", "application/vnd.ms-fontobject")
        for version in (b"\0\0\1", b"\1\0\2", b"\2\0\2")
    ),
    (b"%PDF-1.7\n", "application/pdf"),
    (b"%!PS-Adobe-3.0 EPSF-3.0", "application/postscript"),
    (b"\xc5\xd0\xd3\xc6\x20\0\0\0", "application/postscript"),
    (b"PK\3\4\x14\0", "application/zip"),
    (b"PK\5\6\0\0", "application/zip"),
    (b"7z\xbc\xaf\x27\x1c\0\4", "application/x-7z-compressed"),
    (b"CWS\x0a", BINARY),
    (b"\x1f\x8b\x08\0", "application/gzip"),
    (b"Rar!\x1a\x07\0", "application/x-rar-compressed"),
    (b"\0asm\1\0\0\0", "application/wasm"),
]

MP4 = b"ftypisom\0\0\2\0"
NOT_THESE = [
    (b"\0\0\0\x10" + MP4 + b"avif", "image/avif"),  # behind the end of the box
    (b"\0\0\0\x10ftypisomavif", "image/avif"),  # the minor version is no brand
    (b"\0\0\0\x17" + MP4 + b"mp41avif", "image/avif"),  # across the end of the box
    (b"\0\0\0\x1c" + MP4 + b"xxxavifxxxxx", "image/avif"),  # across two brands
    (b"\0\0\0\x1c" + MP4 + b"xxxxxavifxxx", "image/avif"),
    (b"\0\0\0\x18" + MP4 + b"mp41avi", "image/avif"),  # cut short
    (b"\x1aE\xdf\xa3" + b"\0" * 57 + b"webm", "video/webm"),  # too far behind
    (b"\0" * 8 + b"\2\0\2" + b"\0" * 25, "application/vnd.ms-fontobject"),
    (b"\0" * 34 + b"LP", "application/vnd.ms-fontobject"),
    (b"\0" * 8 + b"\2\0\2" + b"\0" * 24 + b"LP", "application/vnd.ms-fontobject"),
    (b"BM, a word and more\0", "image/bmp"),
    (b"BM" + b"x" * 16 + b"\0", "image/bmp"),
    (b"ID3\x09", "audio/mpeg"),
]

PAGES = [
    b"<!DOCTYPE html><html>", b"<!doctype  HTML PUBLIC 'x'>", b"\r\n\t <html>", b"<HTML lang=en>", b"<head>", b"<body>",
    b"\xef\xbb\xbf<html>", b"<!-- hello --><html>", b"<!-- hello", b"<script>alert(1)</script>", b"<p>no</p>",
    b"<a href>", b"<h1>404</h1>", b"<div class=x>", b"<br/>", b"<iframe>", b"<?xml version='1.0'?><html xmlns='x'>",
    b"<?xml version='1.0'?><!DOCTYPE html PUBLIC 'x'><html>", b"<xhtml:html xmlns:xhtml='x'>", b"<title>x",
    b"<!-- svg: <svg> --><html>", b"<img src=x onerror=y>", "\ufeff<html>".encode("utf-16-le"), b"<form><svg>",
]  # fmt: skip

CLAIMS = [
    None,
    "",
    "image/png",
    "text/html",
    "text/plain",
    "image/svg+xml",
    "nonsense",
    "application/octet-stream",
]


@pytest.mark.parametrize("claimed", CLAIMS)
@pytest.mark.parametrize(("head", "media_type"), PICTURES + OTHERS)
def test_type_with_a_signature_is_decided_by_the_bytes(
    head: bytes, media_type: str, claimed: str | None
) -> None:
    """Whatever the origin says."""
    assert decide(head, claimed) == media_type


@pytest.mark.parametrize(("head", "media_type"), NOT_THESE)
def test_bytes_in_another_place_are_no_signature(head: bytes, media_type: str) -> None:
    """ISO/IEC 14496-12 §4.3 counts brands by four; the other formats stand where their headers put them."""
    assert media_type_of(head) != media_type


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\x1aE\xdf\xa3" + b"\0" * 56 + b"webm", "video/webm"),
        (b"BM\0", "image/bmp"),
        (b"BM" + b"x" * 15 + b"\0", "image/bmp"),
        (b"BM, fifteen lett\x0e\x0f", "image/bmp"),
        (b"ID3\x08\xff", "audio/mpeg"),
    ],
)
def test_signature_is_found_to_the_last_byte_that_is_searched(head: bytes, media_type: str) -> None:
    assert media_type_of(head) == media_type


def test_frame_of_mpeg_audio_is_what_its_header_says() -> None:
    """WHATWG MIME Sniffing §6.2.2, ISO/IEC 11172-3 §2.4.2.3: every second and third byte, read as bits."""
    for second in range(0x100):
        for third in range(0x100):
            bits = f"{second:08b}{third:08b}"
            sync, version, layer, rate, frequency = bits[:3], bits[3:5], bits[5:7], bits[8:12], bits[12:14]
            frame = layer != "00" and version != "01" and rate not in {"0000", "1111"} and frequency != "11"
            expected = "audio/mpeg" if sync == "111" and frame else None
            if bits[:4] == "1111" and layer == "00":
                expected = "audio/aac"
            head = bytes((0xFF, second, third, 0))
            if second not in {0x0A, 0xD8, 0xFE}:  # JPEG XL, JPEG, and a byte order mark
                assert media_type_of(head) == expected, head
            assert media_type_of(b"\xfe" + head[1:]) is None
    assert media_type_of(b"\xff\xfe\x90\0") is None


@pytest.mark.parametrize("length", range(4))
def test_beginning_of_a_frame_is_not_known_yet(length: int) -> None:
    assert media_type_of(b"\xff\xfb\x90\x44"[:length]) is None


@pytest.mark.parametrize("claimed", ["image/png", "image/svg+xml", "text/css", None])
@pytest.mark.parametrize("head", PAGES)
def test_type_of_a_page_is_html_under_any_name(head: bytes, claimed: str | None) -> None:
    """An error page that is called a picture is none; nor is one that is called a style sheet."""
    assert decide(head, claimed) == "text/html"


@pytest.mark.parametrize(
    ("head", "claimed", "media_type"),
    [
        (b"a{color:red}", "text/css", "text/css"),
        (b"a{color:red}", "Text/CSS; charset=utf-8", "text/css"),
        (b"var a = 1", "application/javascript", "application/javascript"),
        (b'{"a":1}', "application/ld+json", "application/ld+json"),
        (b"#EXTM3U", "audio/x-mpegurl", "audio/x-mpegurl"),
        (b"<?xml version='1.0'?><rss>", "application/rss+xml", "application/rss+xml"),
        (b"<?xml version='1.0'?><rss>", "image/png", "text/xml"),
        (b"<?xml version='1.0'?><rss>", None, "text/xml"),
        (b"WEBVTT\n", "text/vtt", "text/vtt"),
        (b"hello", None, "text/plain"),
        (b"hello", "nonsense", "text/plain"),
        (b"hello", "image/png", "text/plain"),
        (b"hello", "image/svg+xml", "text/plain"),
        (b"hello", "font/woff2", "text/plain"),
        (b"hello", "application/octet-stream", "text/plain"),
        (b"BMW makes cars", "text/css", "text/css"),
        (b"ID3 is a format", "text/plain", "text/plain"),
        (b"OTTO said", "text/plain", "text/plain"),
        (b"\xcd\xbc\xc6\xac", "text/plain", "text/plain"),
        ("图".encode(), "text/css", "text/css"),
        (b"\xff\xfeh\0i\0", "text/plain", "text/plain"),
        (b"text <html> in it", "text/css", "text/css"),
        (b"\1\2\3\4", "text/css", BINARY),
        (b"a\0b", "text/html", BINARY),
        (b"\1\2\3\4", "image/png", BINARY),
        (b"FWS\x09", "text/plain", BINARY),
        (b"\x89PNG", "image/png", "text/plain"),
        (b"<!--" + b"x" * 5000, "image/svg+xml", "text/html"),
    ],
)
def test_type_without_a_signature_is_the_claimed_one_for_text_only(
    head: bytes, claimed: str | None, media_type: str
) -> None:
    """The origin's word is taken for text that is neither binary nor HTML, and only when it names text."""
    assert decide(head, claimed) == media_type


def test_type_of_nothing_is_empty() -> None:
    """An empty body has no type; the caller calls it `not_an_image`."""
    assert decide(b"", "image/png") == ""
    assert not admitted("", ["*/*"])


@given(head=st.binary(max_size=200), claimed=st.none() | st.text(max_size=30))
def test_type_of_any_bytes_is_a_media_type(head: bytes, claimed: str | None) -> None:
    """Two tokens and a slash, fit for a header, whatever came."""
    found = decide(head, claimed)
    assert found == "" if not head else re.fullmatch(r"[a-z0-9.+-]+/[!#$%&'*+.^_`|~0-9a-z-]+", found)


@given(text=st.text(alphabet="<!-?>[] \nadoctypesvghml\"'", min_size=1, max_size=3000))
def test_type_of_markup_soup_is_found_in_linear_time(text: str) -> None:
    """No prolog makes the search explode; a hang fails by the suite's own time limit."""
    assert decide(text.encode() * 2, "image/svg+xml")


@pytest.mark.parametrize(
    "piece", ["[]", "<!--", "<?", " ", "<!doctype x[ ] ", "<!doctype x>", "<!-- -->", "<a:", "a:"]
)
def test_type_of_repeated_prologs_is_found(piece: str) -> None:
    """The pieces that an expression with nested repeats would try in every combination."""
    assert decide(b"<!doctype x " + piece.encode() * 4000, "image/svg+xml")


@pytest.mark.parametrize(
    ("claimed", "found"),
    [
        ("image/PNG", "image/png"),
        (" image/png ;q=1", "image/png"),
        ("image/png, text/html", None),
        ("image", None),
        ("", None),
        (None, None),
        ("image/png\x00", None),
        ("ïmage/png", None),
    ],
)
def test_essence_is_type_and_subtype_or_nothing(claimed: str | None, found: str | None) -> None:
    """RFC 9110 §8.3.1; what cannot be read is nothing."""
    assert essence(claimed) == found


@pytest.mark.parametrize(
    ("media_type", "types", "inside"),
    [
        ("image/png", ["image/*"], True),
        ("image/png", ["image/png"], True),
        ("image/png", ["image/jpeg", "text/*"], False),
        ("imagex/png", ["image/*"], False),
        ("text/css", ["image/*", "text/css"], True),
        ("text/css", ["*/*"], True),
        ("text/css", [], False),
    ],
)
def test_admitted_compares_whole_types(media_type: str, types: list[str], *, inside: bool) -> None:
    """A range covers its type and nothing that begins like it."""
    assert admitted(media_type, types) is inside
