# ruff: noqa: E501 - addresses stand here as they are seen
"""Wrappers as they stand in public pages: single services, grammars by host and by form, what each asks."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import WrapperDialect
from proxy.dialects import GRAMMARS, AmbiguousWrapper, Unwrapper
from proxy.dialects.services import shipped
from proxy.errors import InvalidSource, MirrorError, SourceNotAllowed

SRC, ESC = "https://h.org/a.png", "https%3A%2F%2Fh.org%2Fa.png"
CONFIGURED = [
    ("https://images.mysite.org/?url=", "weserv"),
    ("https://imgproxy.mysite.org/", "imgproxy"),
    ("thumbor.mysite.org", "thumbor"),
    ("imagor.mysite.org/x/", "imagor"),
    ("https://ip.mysite.org/", "imageproxy"),
    ("https://camo.mysite.org/", "camo"),
    ("https://rss.mysite.org/proxy/", "miniflux"),
    ("https://flow.mysite.org/remote/", "imageflow"),
    ("https://cl.mysite.org/me/image/fetch/", "cloudinary"),
    ("https://any.mysite.org/get/", "cors-anywhere"),
    ("https://cf.mysite.org/img/", "cloudflare"),
    ("https://photon.mysite.org/", "photon"),
    ("https://ipx.mysite.org/i/", "ipx"),
    ("https://next.mysite.org/", "next"),
]
UNWRAPPER = Unwrapper(CONFIGURED)
B64 = "aHR0cHM6Ly9oLm9yZy9hLnBuZw"
HEX = SRC.encode().hex()

TABLE: list[tuple[str, str, dict[str, object]]] = [
    (f"https://external-content.duckduckgo.com/iu/?u={ESC}&f=1&nofb=1&ipt=abc&ipo=images", SRC, {}),
    (f"https://proxy.duckduckgo.com/iu/?u={SRC}&f=1", SRC, {}),
    (f"https://external-content.duckduckgo.com/iu/?u={ESC}&f=1&unheard=of", SRC, {}),
    ("https://external-content.duckduckgo.com/iu/?u=https:%2F%2Fh.org%2Fa.png%3Fx=1&unheard=of", SRC + "?x=1", {}),
    (f"https://substackcdn.com/image/fetch/$s_!ab!,w_1456,c_limit,f_auto,q_auto:good,fl_progressive:steep/{ESC}", SRC, {"width": 1456}),
    (f"https://cdn.substack.com/image/fetch/w_1456%2Cc_limit%2Cf_auto/{ESC}", SRC, {"width": 1456}),
    (f"https://substackcdn.com/image/fetch/w_40,h_40,c_fill,f_auto,q_auto:good,g_auto/{ESC}", SRC, {"width": 40, "height": 40, "fit": "cover", "gravity": "auto"}),
    (f"https://res.cloudinary.com/x/image/fetch/s--ab_C--/c_fill,g_face,w_300,h_200/v1/{SRC}?x=1", SRC + "?x=1", {"width": 300, "height": 200, "fit": "cover", "gravity": "auto"}),
    (f"https://steemitimages.com/640x0/{SRC}", SRC, {"width": 640}),
    (f"https://steemitimages.com/0x0/{SRC}", SRC, {}),
    (f"https://images.hive.blog/768x0/{SRC}?v=1", SRC + "?v=1", {"width": 768}),
    (f"https://images.ecency.com/640x480/{ESC}", SRC, {"width": 640, "height": 480}),
    ("https://images.hive.blog/p/L87dwHRGadGj8edpEnxyvWDhZx?format=match&mode=fit&width=640", SRC, {"width": 640}),
    ("https://steemitimages.com/p/L87dwHRGadGj8edpEnxyvWDhZx.png", SRC, {}),
    (f"https://pic1.xuehuaimg.com/proxy/csdn/{SRC}", SRC, {}),
    (f"https://pic1.xuehuaimg.com/proxy/{SRC}", SRC, {}),
    (f"https://image.baidu.com/search/down?thumburl={SRC}", SRC, {}),
    (f"https://gimg2.baidu.com/image_search/src={ESC}&refer=http%3A%2F%2Fh.org&app=2002&size=f9999,10000&q=a80&n=0&g=0n&fmt=auto", SRC, {}),
    (f"https://gimg2.baidu.com/image_search/src={SRC}&refer=http://h.org&app=2002", SRC, {}),
    (f"https://github-camo.global.ssl.fastly.net/{'0f' * 20}/{HEX}", SRC, {}),
    (f"https://media2.dev.to/dynamic/image/width=800%2Cheight=%2Cfit=scale-down%2Cgravity=auto%2Cformat=auto/{ESC}", SRC, {"width": 800}),
    (f"https://media.dev.to/dynamic/image/width=1000,height=420,fit=cover,gravity=auto,format=auto/{ESC}", SRC, {"width": 1000, "height": 420, "fit": "cover", "gravity": "auto"}),
    (f"https://any.org/cdn-cgi/image/width=700,height=700/{SRC}?v=1", SRC + "?v=1", {"width": 700, "height": 700}),
    ("https://any.org/cdn-cgi/image/width=600/uploads/x.png?v=1", "https://any.org/uploads/x.png?v=1", {"width": 600}),
    ("//any.org/cdn-cgi/image/w=600,fit=aspect-crop,h=5,q=high/https:/h.org/a.png", SRC, {"width": 600, "height": 5, "fit": "cover", "upscale": "false", "quality": 90}),
    (f"https://any.org/_next/image?url={ESC}&w=640&q=75", SRC, {"width": 640, "quality": 75}),
    (f"https://any.org/blog/_next/image/?url={ESC}&w=640&q=75&dpl=x", SRC, {"width": 640, "quality": 75}),
    ("https://any.org/_next/image?url=%2Fa.png&w=640&q=75", "https://any.org/a.png", {"width": 640, "quality": 75}),
    (f"/_next/image?url={ESC}&w=640&q=75", SRC, {"width": 640, "quality": 75}),
    (f"https://any.org/_vercel/image?url={ESC}&w=640&q=75", SRC, {"width": 640, "quality": 75}),
    (f"https://any.org/.netlify/images?url={ESC}&w=50&h=40&fit=cover&fm=avif", SRC, {"width": 50, "height": 40, "fit": "cover", "format": "avif"}),
    (f"https://any.org/_image?href={ESC}&w=640&f=webp", SRC, {"width": 640, "format": "webp"}),
    (f"https://any.org/_ipx/w_300&f_webp/{SRC}", SRC, {"width": 300, "format": "webp"}),
    ("https://any.org/_ipx/s_300x200,q_80/https:%2F%2Fh.org%2Fa.png%3Fx=1", SRC + "?x=1", {"width": 300, "height": 200, "fit": "cover", "upscale": "false", "quality": 80}),
    ("https://any.org/_ipx/_/img/a.png", "https://any.org/img/a.png", {}),
    (f"https://images1-focus-opensocial.googleusercontent.com/gadgets/proxy?container=focus&refresh=2592000&url={SRC}", SRC, {}),
    (f"https://images1-focus-opensocial.googleusercontent.com/gadgets/proxy?url={ESC}&container=focus&resize_w=600", SRC, {"width": 600}),
    (f"https://www.google.com/imgres?imgurl={ESC}&imgrefurl=https%3A%2F%2Fh.org&h=5&w=7", SRC, {}),
    (f"https://search.pstatic.net/common/?src={ESC}&type=w640", SRC, {"width": 640}),
    (f'https://dthumb-phinf.pstatic.net/?src="{SRC}"&type=ff500_300', SRC, {}),
    (f"https://dthumb-phinf.pstatic.net/?src=%22{ESC}%22&type=w2", SRC, {"width": 2}),
    (f"https://img01.sogoucdn.com/net/a/04/link?appid=100520033&url={SRC}", SRC, {}),
    (f"https://img04.sogoucdn.com/v2/thumb/retype_exclude_gif/ext/auto?appid=122&url={ESC}", SRC, {}),
    (f"https://i.embed.ly/1/image?url={ESC}&key=abc", SRC, {}),
    (f"https://i.embed.ly/1/display/resize?url={ESC}&key=abc&width=300&grow=false", SRC, {"width": 300}),
    (f"https://external-lax3-1.xx.fbcdn.net/safe_image.php?d=AQ&w=130&h=130&url={ESC}&cfs=1&_nc_hash=x", SRC, {"width": 130, "height": 130}),
    (f"https://www.notion.so/image/{ESC}?table=block&id=x&width=600", SRC, {"width": 600}),
    (f"https://ik.imagekit.io/demo/tr:w-300,h-300,f-auto/{SRC}", SRC, {"width": 300, "height": 300, "fit": "cover"}),
    (f"https://ik.imagekit.io/demo/{SRC}?tr=w-300", SRC, {"width": 300}),
    (f"https://x.imgix.net/{ESC}?w=300&h=200&fit=crop&auto=format&s=abc", SRC, {"width": 300, "height": 200, "fit": "cover"}),
    (f"https://ml.i.optimole.com/w:300/h:200/q:auto/{SRC}", SRC, {"width": 300, "height": 200}),
    (f"https://ml.i.optimole.com/abC.xyz~12/w:auto/h:auto/q:mauto/f:best/{SRC}", SRC, {}),
    (f"https://cdn.shortpixel.ai/spai/w_300+q_lossy+ret_img/{SRC}", SRC, {"width": 300}),
    ("https://cdn.shortpixel.ai/spai/w_300+q_lossy+ret_img+to_webp/h.org/a.png", SRC, {"width": 300}),
    (f"https://sp-ao.shortpixel.ai/client/to_webp,q_glossy,ret_img,w_300/{SRC}", SRC, {"width": 300}),
    (f"https://img.gs/myid/300x200/{SRC}", SRC, {"width": 300, "height": 200}),
    ("https://h.org.rsz.io/a.png?width=300", "http://h.org/a.png", {"width": 300}),
    (f"https://i3.wp.com/{SRC}?w=30", SRC, {"width": 30}),
    ("https://i0.wp.com/h.org/a.png?resize=300%2C200&ssl=1&zoom=2&strip=all", SRC, {"width": 300, "height": 200, "fit": "cover", "dpr": 2}),
    ("https://i1.wp.com/h.org/a.png?fit=300,200&quality=80&ssl=1", SRC, {"width": 300, "height": 200, "quality": 80}),
    ("https://cdn.statically.io/img/h.org/f=auto,w=600/a.png", SRC, {"width": 600}),
    (f"https://wsrv.nl/?url={ESC}&w=300&h=200&fit=cover&a=top&output=webp&we&unheard=of", SRC, {"width": 300, "height": 200, "fit": "cover", "gravity": "top", "format": "webp", "upscale": "false"}),
    (f"https://wsrv.nl/?url={ESC}&w=300&h=200&fit=cover&a=focal&fpx=0.25&fpy=0.75", SRC, {"width": 300, "height": 200, "fit": "cover", "gravity": "0.25x0.75"}),
    # a form that cannot mean anything else, at any host
    (f"https://any.org/AbC_9/rs:fill:300:400:0/g:sm/plain/{SRC}@webp", SRC, {"width": 300, "height": 400, "fit": "cover", "upscale": "false", "gravity": "auto", "format": "webp"}),
    ("https://any.org/p/_/w%3A300/plain/https%3A%2F%2Fh.org%2Fa%2520b.png%3Fx=1?cut=1", "https://h.org/a%20b.png?x=1", {"width": 300}),
    (f"https://any.org/unsafe/300x200/smart/{ESC}", SRC, {"width": 300, "height": 200, "fit": "cover", "gravity": "auto"}),
    (f"https://any.org/unsafe/fit-in/300x0/filters:quality(80):format(webp):watermark(http://x/y.png,1,2)/{SRC}", SRC, {"width": 300, "quality": 80, "format": "webp"}),
    # at hosts that the configuration names
    (f"https://images.mysite.org/?url={SRC}&w=300", SRC, {"width": 300}),
    ("https://imgproxy.mysite.org/oKfUtW34Dvo2BGQehJFR4Nr0_rIjOtdtzJ3QFsUcXH8/rs:fill:300:400:0/g:sm/aHR0cDovL2V4YW1w/bGUuY29tL2ltYWdl/cy9jdXJpb3NpdHku/anBn.png", "http://example.com/images/curiosity.jpg", {"width": 300, "height": 400, "fit": "cover", "upscale": "false", "gravity": "auto", "format": "png"}),
    (f"https://imgproxy.mysite.org/_/w:300/{B64}/name-for-people.jpg", SRC, {"width": 300}),
    ("https://thumbor.mysite.org/sXNmdDGKqf_KA8ILvmdxUViKUD4=/300x200/smart/mp.ofweek.com/data/images/x.png", "http://mp.ofweek.com/data/images/x.png", {"width": 300, "height": 200, "fit": "cover", "gravity": "auto"}),
    ("https://imagor.mysite.org/x/cST4Ko5_FqwT3BDn-Wf4gO3RFSk=/500x500/top/raw.githubusercontent.com/cshum/imagor/master/testdata/gopher.png", "https://raw.githubusercontent.com/cshum/imagor/master/testdata/gopher.png", {"width": 500, "height": 500, "fit": "cover", "gravity": "top"}),
    ("https://imagor.mysite.org/x/IGEn3TxngivD0jy4uuiZim2bdUCvhcnVi1Nm0xGy/500x500/top/raw.githubusercontent.com/cshum/imagor/master/testdata/gopher.png", "https://raw.githubusercontent.com/cshum/imagor/master/testdata/gopher.png", {"width": 500, "height": 500, "fit": "cover", "gravity": "top"}),
    (f"https://imagor.mysite.org/x/unsafe/stretch/-50x0/b64:{B64}", SRC, {"width": 50, "flip": "h"}),
    ("https://ip.mysite.org/400x400,q40,s0sR2kjyfiF1RQRj4Jm2fFa3_6SDFqdAaDEmy1oD2U-4=/https://octodex.github.com/images/codercat.jpg", "https://octodex.github.com/images/codercat.jpg", {"width": 400, "height": 400, "fit": "cover", "upscale": "false", "quality": 40}),
    (f"https://ip.mysite.org/{SRC}?v=1", SRC + "?v=1", {}),
    (f"https://ip.mysite.org/200,r90,fv,fit/{B64}?ignored=1", SRC, {"width": 200, "height": 200, "rotate": 270, "flip": "v"}),
    (f"https://ip.mysite.org//{SRC}", SRC, {}),
    ("https://camo.mysite.org/0f6def1cb147b0e84f39cbddc5ea10c80253a6f3/687474703a2f2f676f6c616e672e6f72672f646f632f676f706865722f66726f6e74706167652e706e67", "http://golang.org/doc/gopher/frontpage.png", {}),
    (f"https://camo.mysite.org/{'0f' * 20}?url={ESC}", SRC, {}),
    (f"https://rss.mysite.org/proxy/AAAA=/{B64}==", SRC, {}),
    (f"https://flow.mysite.org/remote/{B64}.AAAAAAAAAAA.jpg?width=300&mode=crop&height=5", SRC, {"width": 300, "height": 5, "fit": "cover"}),
    (f"https://cl.mysite.org/me/image/fetch/w_300/{SRC}", SRC, {"width": 300}),
    ("https://any.mysite.org/get/h.org:443/a.png", "https://h.org:443/a.png".replace(":443", ""), {}),
    (f"https://cf.mysite.org/img/w=5/{SRC}", SRC, {"width": 5}),
    (f"https://ipx.mysite.org/i/w_5/{ESC}", SRC, {"width": 5}),
    (f"https://next.mysite.org/_next/image?url={ESC}&w=5", SRC, {"width": 5}),
    # one in another: the outer size counts
    (f"https://i0.wp.com/images.hive.blog/768x0/{SRC}?ssl=1&w=300", SRC, {"width": 300}),
    ("https://wsrv.nl/?url=https%3A%2F%2Fany.org%2Fcdn-cgi%2Fimage%2Fw=9,q=50%2Fhttps:%2F%2Fh.org%2Fa.png&w=5", SRC, {"width": 5, "quality": 50}),
]  # fmt: skip


@pytest.mark.parametrize(("url", "source", "options"), TABLE)
def test_public_wrapper_gives_its_source_and_what_it_asks(
    url: str, source: str, options: dict[str, object]
) -> None:
    """Each address of the table is opened, and its size, format and focal point are kept."""
    found = UNWRAPPER.unwrap(url)
    assert found is not None
    assert found.source.url == source
    assert found.options == {name: str(value) for name, value in options.items()}


@pytest.mark.parametrize(
    "url",
    [
        "https://s.wordpress.com/mshots/v1/http%3A%2F%2Fh.org%2F?w=400",
        "https://image.thum.io/get/width/400/https://h.org/",
        "https://avatars.mds.yandex.net/get-x/1/2/orig",
        "/_next/image?url=%2Fa.png&w=640&q=75",
        "/_next/image?w=640",
        "/cdn-cgi/image/width=5/a.png",
        "https://any.org/unsafe/about.html",
        "https://any.org/unsafe/300x200",
        "https://any.org/plain/https://h.org/a.png",
        "https://any.org/a/cdn-cgi/images/w=5/https://h.org/a.png",
        f"https://any.org/?url={ESC}",
        f"https://any.org/proxy/{SRC}",
        f"https://images.mysite.org/other?url={ESC}",
        "https://www.notion.so/image/about",
        "https://steemitimages.com/640x0/",
        "https://external-content.duckduckgo.com/iu/?u=",
    ],
)
def test_what_carries_no_picture_of_somebody_is_no_wrapper(url: str) -> None:
    """Screenshots, a site's own pictures without a site, home pages, and forms that may mean anything."""
    assert UNWRAPPER.unwrap(url) is None


@pytest.mark.parametrize(
    "url",
    [
        f"https://external-content.duckduckgo.com/iu/?u={SRC}?x=1&y=2",
        "https://imgproxy.mysite.org/_/w:300/enc/AAAA",
        f"https://wsrv.nl/?url={SRC}?id=1&file=2",
    ],
)
def test_only_what_is_not_encoded_or_is_encrypted_is_ambiguous(url: str) -> None:
    """Encoded as a whole an address ends where its parameter ends; anything else would be a guess."""
    with pytest.raises(AmbiguousWrapper):
        UNWRAPPER.unwrap(url)


@pytest.mark.parametrize(
    "url",
    [
        f"https://any.org/cdn-cgi/image/w=5/{SRC}",
        f"https://any.org/_next/image?url={ESC}&w=640",
        f"https://any.org/_ipx/w_5/{SRC}",
        f"https://any.org/unsafe/5x5/{SRC}",
        f"https://any.org/_/w:5/plain/{SRC}",
        f"/_next/image?url={ESC}&w=640",
    ],
)
def test_form_at_a_host_that_nobody_lists_is_opened_in_articles_only(url: str) -> None:
    """In requests this would break addresses that already work."""
    assert UNWRAPPER.unwrap(url) is not None
    assert Unwrapper(forms=False).unwrap(url) is None


def test_same_picture_on_all_hosts_of_photon_is_one_source() -> None:
    """i0 to i3 are one service."""
    found = [UNWRAPPER.unwrap(f"https://i{number}.wp.com/h.org/a.png?ssl=1") for number in range(4)]
    assert {item.source.url for item in found if item} == {SRC}
    assert UNWRAPPER.unwrap("https://i9.wp.com/h.org/a.png") is None


def test_every_grammar_can_be_named_in_the_configuration() -> None:
    """`rewrite.wrappers` takes the names that the grammars have, and no other."""
    assert set(GRAMMARS) == set(WrapperDialect.__args__)  # type: ignore[attr-defined]  # of every Literal


def test_rows_of_services_are_readable() -> None:
    """Their expressions compile, their sources are of a known kind, and each service has hosts."""
    for service in shipped():
        assert re.compile(service.path)
        assert service.hosts
        assert service.source in {"query", "rest", "escaped", "parameters", "host", "subdomain"}


PIECES = st.sampled_from(
    [
        "https://", "//", "/", "?", "&", "=", "%", "%2F", "%3A", ":", ",", "_", "@", "#", "h.org", "a.png", SRC, ESC, B64,
        HEX, "unsafe", "300x200", "plain", "enc", "_next/image", "url=", "cdn-cgi/image", "w=5", "_ipx", "w_5", "smart",
        "filters:", "q(1)", "(", ")", "image/fetch", "iu/", "u=", "tr:", "0x0", "-", ".", "\\", "图", "\ud800", "\x00", " ",
    ]
)  # fmt: skip
HOSTS = st.sampled_from(
    sorted({host.replace("*", "x").replace("?", "1") for service in shipped() for host in service.hosts})
    + ["any.org", "i0.wp.com", "wsrv.nl", "res.cloudinary.com", "camo.githubusercontent.com", "media2.dev.to"]
    + [prefix.split("//")[-1].rstrip("?url=") for prefix, _ in CONFIGURED]
)


@given(HOSTS, st.lists(PIECES, max_size=12).map("".join))
def test_any_text_behind_a_wrapper_raises_only_errors_of_the_contract(host: str, rest: str) -> None:
    """Whatever an article holds, the answer is a source, nothing, or an error of the contract."""
    try:
        found = UNWRAPPER.unwrap(f"https://{host}/{rest}")
    except (InvalidSource, SourceNotAllowed):
        return
    assert found is None or found.source.url.isascii()


@pytest.mark.parametrize(
    "pattern",
    [
        "https://any.org/unsafe/filters:{}/x", "https://any.org/a/{}plain/x", "https://i0.wp.com/{}",
        "https://res.cloudinary.com/x/image/fetch/{}x", "https://any.org/_ipx/{}/https://h/a", "https://wsrv.nl/?url=x{}",
        "https://ml.i.optimole.com/{}x", "https://any.org/{}cdn-cgi/image/", "https://imgproxy.mysite.org/_/{}",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "piece", ["a:b/", "w_5/", "(", "a(", "a(b):", "&a=b", ",a=b", "/", "%2F", "_", "a", "a.b/", "-"]
)
def test_hostile_length_is_read_once(pattern: str, piece: str) -> None:
    """A third of a megabyte of any piece is answered: an expression that backtracks would not come back."""
    with contextlib.suppress(MirrorError):
        UNWRAPPER.unwrap(pattern.format(piece * (300_000 // len(piece))))
