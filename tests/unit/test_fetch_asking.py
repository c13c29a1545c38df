"""Requests to an origin: our own headers, profiles, conditions, and the exact bytes of the address."""

from typing import Any

import pytest
from fetching import INSTANCE, fetch_config
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RequestError
from proxy.fetch.connector import wire_url
from proxy.fetch.exchange.asking import Asking, Validators
from proxy.fetch.profiles import shipped
from proxy.source import Source

HOP = Source.parse("https://img.h.example:8443/a/b.png")


def headers(*, hop: Source = HOP, validators: Validators | None = None, **keys: Any) -> dict[str, str]:
    return dict(Asking(fetch_config(**keys), instance_id=INSTANCE).headers(hop, validators))


def profile(**keys: Any) -> dict[str, Any]:
    return {"profiles": {"p": {"hosts": ["*.h.example"], **keys}}}


def test_headers_without_profile_are_our_own() -> None:
    """Accept by `fetch.types`, no coding, who we are, and the two marks of a loop; nothing else."""
    assert headers(types=["image/*", "text/css"], user_agent="me/1 (+mail)") == {
        "User-Agent": "me/1 (+mail)",
        "Accept": "image/*, text/css, */*;q=0.1",
        "Accept-Encoding": "identity",
        "Via": f"1.1 {INSTANCE}",
        "CDN-Loop": "imgmirror",
    }
    assert headers(types=["*/*"])["Accept"] == "*/*"


def test_profile_sends_what_the_host_wants() -> None:
    """A user agent, a referer and headers, in place of ours where they meet."""
    found = headers(
        **profile(user_agent="browser", referer="https://blog.example/", headers={"accept": "image/webp"})
    )
    assert found["User-Agent"] == "browser"
    assert found["Referer"] == "https://blog.example/"
    assert [value for name, value in found.items() if name.lower() == "accept"] == ["image/webp"]


@pytest.mark.parametrize(
    ("referer", "sent"),
    [("own", "https://img.h.example:8443/"), ("none", None), ("", None), ("http://x/y", "http://x/y")],
)
def test_profile_referer_is_none_own_or_fixed(referer: str, sent: str | None) -> None:
    """`own` is the origin of the hop, as a page on it would send."""
    assert headers(**profile(referer=referer)).get("Referer") == sent


def test_profile_of_other_hosts_is_not_used() -> None:
    """Profiles go by host patterns; the first that matches is taken."""
    keys: dict[str, Any] = {
        "profiles": {
            "other": {"hosts": ["h.example"], "user_agent": "no"},
            "first": {"hosts": ["x.example", "https://img.h.example:8443/a/"], "user_agent": "yes"},
            "second": {"hosts": ["*.h.example"], "user_agent": "late"},
        }
    }
    assert headers(**keys)["User-Agent"] == "yes"
    assert headers(hop=Source.parse("http://img.h.example/"), **keys)["User-Agent"] == "late"
    assert headers(hop=Source.parse("http://elsewhere.example/"), **keys)["User-Agent"].startswith(
        "imgmirror "
    )


def test_conditions_are_sent_as_the_origin_wrote_them() -> None:
    """Entity tag with its quotes and weakness; date as text."""
    found = headers(validators=Validators('W/"x"', "Sat, 01 Jan 2022 00:00:00 GMT"))
    assert found["If-None-Match"] == 'W/"x"'
    assert found["If-Modified-Since"] == "Sat, 01 Jan 2022 00:00:00 GMT"


@pytest.mark.parametrize("bad", ['"\r\nX: y"', '"\xe9"', '"\0"', ""])
def test_conditions_that_cannot_be_sent_are_left_out(bad: str) -> None:
    """A stored validator that is not a header value costs a full answer, and never smuggles a header."""
    found = headers(validators=Validators(bad, bad))
    assert "If-None-Match" not in found
    assert "If-Modified-Since" not in found


@given(tail=st.text(max_size=40))
def test_wire_url_carries_the_target_unchanged(tail: str) -> None:
    """Nothing is requoted, normalised or dropped on the way to the request line."""
    for url in (f"http://h/{tail}", f"http://h:81/a?{tail}", f"https://[2001:db8::1]:8443/?{tail}"):
        try:
            source = Source.parse(url)
        except RequestError:
            continue
        wire = wire_url(source)
        assert wire.raw_path_qs == source.target
        assert wire.port == source.port
        assert wire.scheme == source.scheme
        assert wire.raw_host == source.host.strip("[]")
        assert wire.user is None


@pytest.mark.parametrize(
    ("url", "referer"),
    [
        ("https://wx3.sinaimg.cn/large/a.jpg", "https://weibo.com/"),
        ("https://mmbiz.qpic.cn/mmbiz_png/a/640?wx_fmt=png", None),
        ("https://pic1.zhimg.com/80/a.jpg", "https://www.zhihu.com/"),
        ("https://upload-images.jianshu.io/upload_images/a.png", None),
        ("https://i-blog.csdnimg.cn/a.png", "https://blog.csdn.net/"),
        ("https://i0.hdslb.com/bfs/a.jpg", "https://www.bilibili.com/"),
        ("https://i.pximg.net/img-original/a.png", "https://www.pixiv.net/"),
        ("https://img9.doubanio.com/a.jpg", "https://www.douban.com/"),
        ("http://img3.ph.126.net/a.jpg", "http://img3.ph.126.net/"),
        ("https://evilsinaimg.cn/a.jpg", None),
        ("https://pximg.net.h.example/a.jpg", None),
    ],
)
def test_well_known_hosts_get_the_referer_they_want(url: str, referer: str | None) -> None:
    assert headers(hop=Source.parse(url)).get("Referer") == referer


def test_shipped_profiles_can_be_read_and_name_each_host_once() -> None:
    hosts = [host for profile in shipped().values() for host in profile.hosts]
    assert len(hosts) == len(set(hosts)) >= 20
    assert all(profile.referer for profile in shipped().values())


def test_own_profiles_come_before_the_shipped_ones_and_replace_those_of_their_name() -> None:
    pixiv = Source.parse("https://i.pximg.net/a.png")
    mine = {"mine": {"hosts": ["i.pximg.net"], "referer": "https://mine.example/"}}
    assert headers(hop=pixiv, profiles=mine)["Referer"] == "https://mine.example/"
    assert "Referer" not in headers(hop=pixiv, profiles={"pixiv": {"hosts": []}})
    assert headers(hop=pixiv, profiles={"pixiv": {"hosts": ["*.pximg.net"], "referer": "own"}})[
        "Referer"
    ] == ("https://i.pximg.net/")
