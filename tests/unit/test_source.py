"""Sources: which are the same picture, which are refused, and the properties of canonical URLs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import source as source_room
from proxy.errors import InvalidSource, RequestError, SourceNotAllowed
from proxy.source import (
    MAX_URL_LENGTH,
    Source,
    base_in_a_labels,
    base_spellings,
    escape_bytes,
    looks_encoded,
    origin_of,
)

SAME = [
    ("http://h/a.png", "http://h/a.png"),
    ("HTTP://H:80/a.png", "http://h/a.png"),
    ("https://h:443/a.png", "https://h/a.png"),
    ("https://h:80/a.png", "https://h:80/a.png"),
    ("http://h:00080/a", "http://h/a"),
    ("http://h:000000080/a", "http://h/a"),
    ("http://h:1/", "http://h:1/"),
    ("http://h:/a", "http://h/a"),
    ("http://h", "http://h/"),
    ("http://h?x=1", "http://h/?x=1"),
    ("http://h/a?", "http://h/a?"),
    ("http://h/a#b", "http://h/a"),
    ("http://h/a?b#c?d", "http://h/a?b"),
    ("http:/h/a", "http://h/a"),
    ("http:h/a", "http://h/a"),
    ("http:////h/a", "http://h/a"),
    ("http:\\\\h\\a", "http://h/a"),
    ("  http://h/a \t\r\n", "http://h/a"),
    ("ht\ntp://h/a\tb\rc", "http://h/abc"),
    ("http://h/a\x0bb\x0c\x0ec", "http://h/a%0Bb%0C%0Ec"),
    ("http://h/a!", "http://h/a!"),
    ("http://h/a b.png", "http://h/a%20b.png"),
    ("http://h/图.png?q=图", "http://h/%E5%9B%BE.png?q=%E5%9B%BE"),
    (b"http://h/\xcd\xbc.png", "http://h/%CD%BC.png"),
    (b"http://h/\xff\x80.png", "http://h/%FF%80.png"),
    ("http://h/\udccd\udcbc.png", "http://h/%CD%BC.png"),
    ("http://h/%CD%BC.png?u=%2F", "http://h/%CD%BC.png?u=%2F"),
    ("http://h/%cd%bc%7e", "http://h/%cd%bc%7e"),
    ("http://h/100%.png", "http://h/100%.png"),
    ("http://h/%zz", "http://h/%zz"),
    ("http://h/|^\"<>{}[]'`,;@:", "http://h/%7C%5E%22%3C%3E%7B%7D[]'%60,;@:"),
    ("http://h/a?b=|^\"<>{}[]'`", "http://h/a?b=%7C%5E%22%3C%3E%7B%7D[]'%60"),
    ("http://h/%7c%7C|", "http://h/%7c%7C%7C"),
    ("http://h/a//b/", "http://h/a//b/"),
    ("http://h/a/../b", "http://h/b"),
    ("http://h/a/%2e%2E/b", "http://h/b"),
    ("http://h/a/.%2E/b/%2e./c", "http://h/c"),
    ("http://h/a/b/c/../d", "http://h/a/b/d"),
    ("http://h/%2E/a/%2e", "http://h/a/"),
    ("http://h/./a/.", "http://h/a/"),
    ("http://h/../../a", "http://h/a"),
    ("http://h/a/..%2Fb", "http://h/a/..%2Fb"),
    ("http://h/a?x=/../y", "http://h/a?x=/../y"),
    ("http://例え.jp/", "http://xn--r8jz45g.jp/"),
    ("http://xn--r8jz45g.jp/", "http://xn--r8jz45g.jp/"),
    ("http://faß.de/", "http://xn--fa-hia.de/"),
    ("http://ＧＯ.com/", "http://go.com/"),
    ("http://h%6Fst/", "http://host/"),
    ("http://h./a", "http://h./a"),
    ("http://a_b.h/", "http://a_b.h/"),
    ("http://2130706433/", "http://127.0.0.1/"),
    ("http://0x7f.1/", "http://127.0.0.1/"),
    ("http://0177.0.0.1/", "http://127.0.0.1/"),
    ("http://127.1/", "http://127.0.0.1/"),
    ("http://１２７.0.0.1/", "http://127.0.0.1/"),
    ("http://[::FFFF:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
    ("http://[0:0:0:0:0:0:0:1]:8080/", "http://[::1]:8080/"),
]

REFUSED = [
    "http://user@h/a",
    "http://user:secret@h/a",
    "http://@h/a",
    "http://a@b@h/",
    "http://",
    "http:///",
    "http://?x",
    "http://:80/",
    "http://h:0/",
    "http://h:65536/",
    "http://h:99999999999999999999/",
    "http://h:8a/",
    "http://h:-1/",
    "http://2001::1/",
    "http://[1::2]:3:4/",
    "http://[::1/",
    "http://::1]/",
    "http://[::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://256.256.256.256/",
    "http://1.2.3.4.5/",
    "http://0x100000000/",
    "http://a b/",
    "http://a%00b/",
    "http://a%2fb/",
    "http://a%40b/",
    "http://a<b/",
    "http://a^b/",
    "http://a|b/",
    "http://\udccd\udcbc/",
    "http://" + "a" * 300 + "/",
    "/a.png",
    "//h/a.png",
    "h/a.png",
    "h:80/a.png",
    "h:8/a.png",
    "example.com:80/a.png",
    "example.com:a.png",
    "",
    "\0",
    "?",
]

OTHER_SCHEMES = [
    "ftp://h/a",
    "file:///etc/passwd",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "gopher://h:70/_x",
    "FILE:/a",
    "blob:http://h/x",
    "httpx://h/",
]

JOINED = [
    ("http://h/a/b.png?q", "http://o/x", "http://o/x"),
    ("http://h/a/b.png?q", "//o/x", "http://o/x"),
    ("https://h/a/b.png", "//o/x", "https://o/x"),
    ("https://h:8443/a/b.png", "/x?y", "https://h:8443/x?y"),
    ("http://h/a/b.png?q", "c.png", "http://h/a/c.png"),
    ("http://h/a/b.png?q=/z/", "c.png", "http://h/a/c.png"),
    ("http://h/a/b.png?q", "?z", "http://h/a/b.png?z"),
    ("http://h/a/b.png?q", "#f", "http://h/a/b.png?q"),
    ("http://h/a/b.png?q", "", "http://h/a/b.png?q"),
    ("http://h/a/b.png", "../../../c", "http://h/c"),
    ("http://h/a/b.png", ".", "http://h/a/"),
    ("http://h/a/b.png", "..", "http://h/"),
    ("http://h/a/b.png", b"\xcd\xbc.png", "http://h/a/%CD%BC.png"),
    ("http://h/a/b.png", "图.png", "http://h/a/%E5%9B%BE.png"),
    ("http://h/a/b.png", " /c d ", "http://h/c%20d"),
    ("http://h/a/b.png", "\\\\o\\x", "http://o/x"),
    ("http://h/a/b.png", "/\\o/x", "http://o/x"),
    ("http://h/a/b.png", "\\/o/x", "http://o/x"),
    ("http://h/a/b.png", "\\x\\y", "http://h/x/y"),
    ("http://h/a", "c/d:e", "http://h/c/d:e"),
    ("http://[::1]:81/a", "/b", "http://[::1]:81/b"),
]


@pytest.mark.parametrize(("text", "url"), SAME)
def test_source_any_spelling_has_one_canonical_url(text: str | bytes, url: str) -> None:
    """Host, port, fragment and slashes have one spelling; escapes are left as they are."""
    source = Source.parse(text)
    assert source.url == url
    assert str(source) == url
    assert Source.parse(url) == source


@pytest.mark.parametrize("text", REFUSED)
def test_source_unreadable_is_invalid(text: str) -> None:
    """Userinfo, bad ports, hosts that are none and missing schemes are `invalid_source`."""
    with pytest.raises(InvalidSource):
        Source.parse(text)


@pytest.mark.parametrize("text", OTHER_SCHEMES)
def test_source_of_another_scheme_is_not_allowed(text: str) -> None:
    """A scheme that is read and is not http(s) is `source_not_allowed`."""
    with pytest.raises(SourceNotAllowed):
        Source.parse(text)


@pytest.mark.parametrize(("base", "reference", "url"), JOINED)
def test_source_joined_with_a_location_is_resolved(base: str, reference: str | bytes, url: str) -> None:
    """RFC 3986 §5.2, with the bytes of the Location kept."""
    assert Source.parse(base).join(reference).url == url


@pytest.mark.parametrize("reference", ["http://u@h/", "http://[::1", "//", "http://", "///"])
def test_source_joined_with_an_unreadable_location_is_invalid(reference: str) -> None:
    """A Location without a host is not an address."""
    with pytest.raises(InvalidSource):
        Source.parse("http://h/a").join(reference)


def test_source_joined_with_another_scheme_is_not_allowed() -> None:
    """The fetcher turns this into `source_unreachable`."""
    with pytest.raises(SourceNotAllowed):
        Source.parse("http://h/a").join("file:///etc/passwd")


def test_source_too_long_is_invalid() -> None:
    """The limit counts the canonical URL, escapes included."""
    start = "http://h/"
    assert Source.parse(start + "a" * (MAX_URL_LENGTH - len(start))).url
    with pytest.raises(InvalidSource):
        Source.parse(start + "a" * (MAX_URL_LENGTH - len(start) + 1))
    with pytest.raises(InvalidSource):
        Source.parse(start + "图" * (MAX_URL_LENGTH // 9))


def test_host_longer_than_a_name_can_be_is_invalid() -> None:
    """RFC 1035 §2.3.4: 255 octets; a label has at most 63."""
    labels = ".".join(["a" * 63] * 3) + "."
    longest = f"{labels}{'b' * 31}.{'c' * 31}"
    assert len(longest) == 255
    assert Source.parse(f"http://{longest}/").host == longest
    with pytest.raises(InvalidSource):
        Source.parse(f"http://{longest}c/")


def test_text_that_only_one_client_would_send_fills_no_memory() -> None:
    """Clients can invent any number of long addresses and hosts. Only texts that are likely to be repeated are
    cached."""
    memories = (source_room._remembered, source_room._host)
    before = [memory.cache_info().currsize for memory in memories]
    Source.parse("http://h/" + "a" * 1100)
    Source.parse("http://" + "%61" * 90 + "/" + "b" * 1100)
    after = [memory.cache_info().currsize for memory in memories]
    assert after[0] == before[0]
    assert after[1] <= before[1] + 1, "the short host may be new"


@pytest.mark.parametrize(
    ("base", "written"),
    [
        ("https://h.example", "https://h.example"),
        ("https://h.example/a/b//", "https://h.example/a/b"),
        ("http://H.example:80/", "http://H.example:80"),
        ("https://例え.jp/", "https://xn--r8jz45g.jp"),
        ("https://例え.jp:8443/图//", "https://xn--r8jz45g.jp:8443/%E5%9B%BE"),
    ],
)
def test_base_url_is_written_with_a_labels_and_without_slashes_at_its_end(base: str, written: str) -> None:
    """Articles get an address that every client reads; one that is ASCII stays as its operator wrote it."""
    assert base_in_a_labels(base) == written


def test_base_urls_are_known_in_both_spellings() -> None:
    """Articles may hold either; each once, as given first, and none that is empty."""
    given = ["https://例え.jp/", "", "https://h.example/", "https://h.example/"]
    assert base_spellings(given) == ("https://例え.jp/", "https://h.example/", "https://xn--r8jz45g.jp")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://h:443/a", "https://h"),
        ("http://h:81/a?b", "http://h:81"),
        ("ftp://h/", ""),
        ("nonsense", ""),
    ],
)
def test_origin_of_an_edited_entry_is_empty_where_it_has_none(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_source_parts_are_those_of_its_url() -> None:
    """Origin and target make the URL; the hostname has neither brackets nor a trailing dot."""
    source = Source.parse("https://[::1]:8443/a/b?c=d")
    assert (source.scheme, source.host, source.port) == ("https", "[::1]", 8443)
    assert (source.origin, source.target) == ("https://[::1]:8443", "/a/b?c=d")
    assert source.hostname == "::1"
    assert Source.parse("http://h.example./").hostname == "h.example"


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("http%3A//h", True),
        ("HTTPS%3a%2F", True),
        ("http%253A%252F", True),
        ("http://h", False),
        ("x", False),
    ],
)
def test_looks_encoded_tells_escaped_sources(text: str, *, encoded: bool) -> None:
    """Only an escaped colon after the scheme identifies a source that was escaped as a whole."""
    assert looks_encoded(text) is encoded


HOSTS = st.sampled_from(["h", "h.example", "例え.jp", "127.1", "[::1]", "h.", "0x7f.1", "%68", "H"])
PORTS = st.sampled_from(["", ":", ":80", ":443", ":8080", ":065", ":65535"])
BYTES = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"])
TAILS = st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]) | BYTES, max_size=40)


@given(scheme=st.sampled_from(["http", "https", "HTTP"]), host=HOSTS, port=PORTS, tail=TAILS)
def test_source_parsed_again_is_the_same(scheme: str, host: str, port: str, tail: str) -> None:
    """parse(str(s)) == s, the URL is printable ASCII, and its parts make it."""
    source = Source.parse(f"{scheme}://{host}{port}/{tail}")
    assert Source.parse(source.url) == source
    assert source.url.isascii()
    assert source.url.isprintable()
    assert not set(' "<>^`{|}') & set(source.url)
    assert source.origin + source.target == source.url
    assert source.target.startswith("/")


def test_source_with_half_a_surrogate_pair_is_refused() -> None:
    """It may come from JSON or YAML. It represents no bytes, unlike the escapes of bytes that are not UTF-8."""
    with pytest.raises(InvalidSource):
        Source.parse("http://h/\ud800.png")


@given(text=st.text(max_size=60))
def test_source_of_any_text_parses_or_is_refused(text: str) -> None:
    """Whatever is asked for ends in a source or in an error of the contract."""
    for candidate in (text, "http:" + text, "http://" + text, "//" + text):
        try:
            source = Source.parse(candidate)
        except RequestError:
            continue
        assert Source.parse(source.url) == source


@given(raw=st.binary(max_size=60))
def test_source_joined_with_any_bytes_parses_or_is_refused(raw: bytes) -> None:
    """A Location is hostile input as well."""
    try:
        source = Source.parse("http://h/a/b?c").join(raw)
    except RequestError:
        return
    assert Source.parse(source.url) == source
    assert source.join(source.url) == source


@given(raw=st.binary(max_size=60))
def test_escaping_twice_equals_escaping_once(raw: bytes) -> None:
    """Escapes are left alone, so that nothing is escaped twice."""
    once = escape_bytes(raw.decode("utf-8", "surrogateescape"))
    assert escape_bytes(once) == once
