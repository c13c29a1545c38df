"""The catalogue agrees with the files, no matter which process changed them or what was killed, damaged or deleted."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import random
import shutil
import sqlite3
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from keeping import NOW, finished, keep, run_program

from cache.across.file_blobs import FileBlobs
from cache.across.seams import Blob
from cache.base.errors import SourceBlocked
from cache.base.keys import source_key
from cache.catalogue import lists, questions, totals
from cache.catalogue.catching_up import AGAIN_SECONDS
from cache.catalogue.changes import has_left_behind
from cache.catalogue.database import NoCatalogueError, TooManyError
from cache.catalogue.failing import forget_oldest
from cache.catalogue.lists import MissingRow
from cache.catalogue.questions import PictureQuestion, PictureRow
from cache.catalogue.schema import row_id
from cache.durable_tier import Originals
from cache.variants.bounded_tier import Variants
from proxy.dialects import Unwrapper
from proxy.services.upkeep.purging import PurgeWish, Purging

A, B, C = "http://a.example/a.png", "http://a.example/b.png", "http://b.example/c.png"


async def rows(store: Originals, question: PictureQuestion | None = None) -> list[PictureRow]:
    await store.catalogue.flush()
    page = await store.catalogue.ask(
        lambda it: questions.pictures(it, question or PictureQuestion(sorting="address"))
    )
    return list(page.rows)


async def sources(store: Originals, question: PictureQuestion | None = None) -> list[str]:
    return [row.source for row in await rows(store, question)]


async def missing(store: Originals) -> dict[str, MissingRow]:
    await store.catalogue.flush()
    page = await store.catalogue.ask(lists.missing)
    return {row.source: row for row in page.rows}


async def lacking(store: Originals) -> dict[str, int]:
    """Return how many pictures each article misses, without those that miss none."""
    await store.catalogue.flush()
    page = await store.catalogue.ask(lambda it: lists.articles(it, only_missing=True))
    assert page.total == len(page.rows)
    for row in page.rows:
        assert await store.catalogue.ask(partial(lists.missing_in, article=row.name)) == row.missing
    return {row.name: row.missing for row in page.rows}


def database_of(folder: Path) -> Path:
    return folder / "catalogue" / (folder / "catalogue" / "current").read_text().strip()


async def test_picture_that_is_kept_changed_and_purged_is_listed_as_the_files_say(store: Originals) -> None:
    entry = await keep(store, A, b"first")
    [row] = await rows(store)
    assert (row.source, row.origin, row.sha256, row.size) == (A, "http://a.example", entry.body_sha256, 5)
    assert (row.key, row.fetched_at, row.versions, row.is_damaged) == (source_key(A), NOW, 0, False)
    second = await keep(store, A, b"second bytes")
    [row] = await rows(store)
    assert (row.sha256, row.size, row.versions) == (second.body_sha256, 12, 1)
    await store.commit(dataclasses.replace(second, damaged=True), None)
    assert await sources(store, PictureQuestion(state="damaged")) == [A]
    await store.purge(A)
    assert await rows(store) == []


async def test_source_that_is_refused_is_found_and_found_no_more_when_the_block_is_lifted(
    store: Originals,
) -> None:
    await keep(store, A, b"a")
    await store.block(A, "by the owner")
    assert await sources(store, PictureQuestion(state="blocked")) == [A]
    await store.unblock(A)
    assert await sources(store, PictureQuestion(state="blocked")) == []


async def test_store_without_a_catalogue_notes_nothing(folder: Path) -> None:
    store = await Originals.open(folder)
    await keep(store, A, b"a")
    assert not await store.catalogue.is_whole()
    with pytest.raises(NoCatalogueError):
        await store.catalogue.ask(totals.sums)
    await store.close()
    assert not (folder / "catalogue").exists()


async def test_catalogue_that_is_made_late_knows_what_was_kept_before(folder: Path) -> None:
    store = await Originals.open(folder)
    for url in (A, B):
        await keep(store, url, url.encode())
    await store.block(C, "no")
    await store.articles.record("post.md", [A, C])
    assert await store.catalogue.catch_up() == 4
    assert await sources(store) == [A, B]
    assert (await missing(store))[C].reason == "given_up"
    assert await store.catalogue.is_whole()
    await store.close()


async def test_article_names_its_missing_pictures_with_lines(store: Originals) -> None:
    await keep(store, A, b"a")
    await store.articles.record("post.md", [A, B], path="/x/post.md", lines={A: [3], B: [9, 7]})
    await store.articles.record("other.md", [B])
    [(source, row)] = (await missing(store)).items()
    assert (source, row.articles, row.reason) == (B, 2, "")
    assert row.uses == (lists.ShownIn("other.md", ()), lists.ShownIn("post.md", (7, 9)))
    page = await store.catalogue.ask(lists.articles)
    assert [(item.name, item.pictures, item.missing, item.bytes) for item in page.rows] == [
        ("other.md", 1, 1, 0),
        ("post.md", 2, 1, 1),
    ]
    await keep(store, B, b"b")
    assert await missing(store) == {}
    assert await lacking(store) == {}
    await store.purge(B)
    assert list(await missing(store)) == [B]
    assert await lacking(store) == {"other.md": 1, "post.md": 1}
    await store.articles.record("post.md", [A, B, C])
    await store.articles.forget("other.md")
    assert await lacking(store) == {"post.md": 2}
    await store.articles.record("post.md", [A])
    assert await missing(store) == {}
    assert await lacking(store) == {}


async def test_article_whose_name_is_not_utf8_is_listed_and_found(store: Originals) -> None:
    name = os.fsdecode(b"posts/\xff\xe9.md")
    await store.articles.record(name, [A])
    await keep(store, A, b"a")
    await store.catalogue.flush()
    page = await store.catalogue.ask(lists.articles)
    assert [row.name for row in page.rows] == [name]
    assert await sources(store, PictureQuestion(article=name)) == [A]


async def test_failure_of_a_missing_picture_keeps_when_it_was_first_seen(store: Originals) -> None:
    await store.articles.record("post.md", [A])
    notes = store.catalogue.notes
    notes.note_failure(A, "not_found", status=404, at=NOW)
    notes.note_failure(A, "gone", status=410, at=NOW + 60)
    row = (await missing(store))[A]
    assert (row.reason, row.status, row.count, row.first_at, row.last_at) == ("gone", 410, 2, NOW, NOW + 60)
    assert await store.catalogue.ask(lists.missing_by_reason) == {"gone": 1}
    notes.note_success(A)
    row = (await missing(store))[A]
    assert (row.reason, row.first_at) == ("", 0.0)


async def test_failure_that_came_before_its_article_is_shown_with_it(store: Originals) -> None:
    store.catalogue.notes.note_failure(A, "timeout", status=0, at=NOW)
    await store.catalogue.flush()
    assert await missing(store) == {}
    await store.articles.record("post.md", [A])
    assert (await missing(store))[A].reason == "timeout"


async def test_missing_pictures_are_counted_by_reason_whatever_happens_to_them(
    store: Originals, folder: Path
) -> None:
    """Two processes change the store. The counts are read from one row for each reason."""
    rng = random.Random(7)  # noqa: S311 - the same changes each time
    urls = [f"http://{number % 3}.example/{number}.png" for number in range(12)]
    other = await Originals.open(folder)
    for _ in range(60):
        each, url = rng.choice((store, other)), rng.choice(urls)
        match rng.randrange(8):
            case 0:
                await each.purge(url)
            case 1:
                await each.block(url, "given up")
            case 2:
                await each.unblock(url)
            case 3:
                await each.articles.forget(f"{rng.randrange(3)}.md")
            case 4:
                with contextlib.suppress(SourceBlocked):
                    await keep(each, url, url.encode())
            case 5:
                each.catalogue.notes.note_failure(url, rng.choice(("gone", "timeout")), status=0, at=NOW)
            case 6:
                await each.forget_failures_of(url.rpartition("/")[0])
            case _:
                await each.articles.record(f"{rng.randrange(3)}.md", rng.sample(urls, 6))
        await other.catalogue.flush()
        found = await missing(store)
        counted = dict(Counter(row.reason for row in found.values()))
        assert await store.catalogue.ask(lists.missing_by_reason) == counted
        in_articles = Counter(use.article for row in found.values() for use in row.uses)
        assert await lacking(store) == dict(in_articles)
    await other.close()


async def test_counts_of_missing_pictures_are_read_without_their_rows(store: Originals) -> None:
    await store.articles.record("post.md", [A, B])
    await store.catalogue.flush()
    with store.catalogue.notes.database.reading() as connection:
        seen: list[str] = []
        connection.set_trace_callback(seen.append)
        assert lists.missing_by_reason(connection) == {"": 2}
        connection.set_trace_callback(None)
        plan = [row[3] for statement in seen for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert plan == ["SCAN lack"]


async def test_failures_that_no_article_shows_are_forgotten_from_the_oldest(store: Originals) -> None:
    await store.articles.record("post.md", ["http://a.example/0.png"])
    for number in range(6):
        store.catalogue.notes.note_failure(
            f"http://a.example/{number}.png", "gone", status=410, at=NOW + number
        )
    await store.catalogue.flush()
    with store.catalogue.notes.database.writing() as connection:
        forget_oldest(connection, most=2)
        left = [row[0] for row in connection.execute("SELECT id FROM failure ORDER BY last_at")]
    assert left == [row_id(source_key(f"http://a.example/{number}.png")) for number in (0, 4, 5)]


async def test_kept_picture_whose_origin_fails_is_found_until_it_is_fetched_again(store: Originals) -> None:
    store.catalogue.notes.note_failure(A, "gone", status=410, at=NOW)
    await store.catalogue.flush()
    await keep(store, A, b"a")
    failing = PictureQuestion(state="failing")
    assert [(row.source, row.failure) for row in await rows(store, failing)] == [(A, "gone")]
    store.catalogue.notes.note_success(A)
    assert await rows(store, failing) == []
    store.catalogue.notes.note_failure(A, "timeout", status=0, at=NOW)
    assert await sources(store, failing) == [A]


async def test_uses_are_added_up_and_outlast_a_change_of_the_picture(store: Originals) -> None:
    await keep(store, A, b"a")
    await keep(store, B, b"b")
    await store.catalogue.flush()
    for url in (A, B, B, C):
        store.catalogue.notes.note_use(url)
    assert [(row.source, row.uses) for row in await rows(store, PictureQuestion(sorting="use"))] == [
        (B, 2),
        (A, 1),
    ]
    await keep(store, B, b"other")
    store.catalogue.notes.note_use(B)
    assert [row.uses for row in await rows(store, PictureQuestion(text="b.png"))] == [3]


_KEEP_AND_DIE = """
import asyncio, os, sys
from pathlib import Path
from keeping import keep
from cache.durable_tier import Originals

async def main():
    store = await Originals.open(Path(sys.argv[1]))
    # Nothing is written to the catalogue any more, as if this were killed before.
    store.catalogue.notes._stopping.set()
    store.catalogue.notes._write = lambda *, uses: None
    await keep(store, sys.argv[2], b"kept")
    await store.purge(sys.argv[3])
    await store.articles.record("late.md", [sys.argv[4]])
    os._exit(0)

asyncio.run(main())
"""


async def test_changes_of_a_process_that_was_killed_are_caught_up(store: Originals, folder: Path) -> None:
    await keep(store, B, b"b")
    await store.catalogue.flush()
    await finished(run_program(_KEEP_AND_DIE, folder, A, B, C))
    assert await sources(store) == [B]
    assert not await store.catalogue.is_whole()
    assert await store.catalogue.catch_up() == 0
    assert await sources(store) == [A]
    assert list(await missing(store)) == [C]
    assert await store.catalogue.is_whole()
    assert not has_left_behind(folder / "catalogue" / "pending")


async def test_changes_of_a_process_that_lives_are_left_to_it(store: Originals, folder: Path) -> None:
    other = await Originals.open(folder)
    with other.catalogue.notes.changing("entry", source_key(A)):
        assert not has_left_behind(folder / "catalogue" / "pending")
        await store.catalogue.catch_up()
        await keep(store, A, b"a")
    await other.close()
    assert await sources(store) == [A]


async def test_process_that_ends_leaves_no_file_of_changes(folder: Path) -> None:
    store = await Originals.open(folder)
    await store.catalogue.catch_up()
    await keep(store, A, b"a")
    await store.close()
    assert list((folder / "catalogue" / "pending").iterdir()) == []


@pytest.mark.parametrize("damage", ["deleted", "emptied", "overwritten", "cut"])
async def test_catalogue_that_is_damaged_is_made_again(store: Originals, folder: Path, damage: str) -> None:
    for number in range(40):
        await keep(store, f"http://a.example/{number}.png", b"%d" % number)
    await store.catalogue.flush()
    path = database_of(folder)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    if damage == "deleted":
        shutil.rmtree(folder / "catalogue")
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "overwritten":
        path.write_bytes(b"no database at all" * 1000)
    else:
        os.truncate(path, path.stat().st_size // 2)
    for _ in range(3):
        try:
            await store.catalogue.catch_up()
            break
        except NoCatalogueError:
            continue
    await keep(store, A, b"a")
    assert len(await rows(store)) == 41
    assert await store.catalogue.is_whole()


async def test_look_at_a_store_reads_its_catalogue_and_changes_no_file(
    store: Originals, folder: Path
) -> None:
    await keep(store, A, b"a")
    await store.close()

    def everything() -> dict[Path, int]:
        return {
            path: path.stat().st_mtime_ns
            for path in (folder / "catalogue", *(folder / "catalogue").rglob("*"))
        }

    before = everything()
    look = await Originals.open(folder, look=True)
    assert await look.catalogue.is_whole()
    assert await sources(look) == [A]
    database_of(folder).write_bytes(b"damaged" * 4096)
    damaged = {**before, database_of(folder): database_of(folder).stat().st_mtime_ns}
    again = await Originals.open(folder, look=True)
    assert not await again.catalogue.is_whole()
    assert await again.stat_from_catalogue() is None
    for each in (look, again):
        await each.close()
    assert everything() == damaged


async def test_files_changed_by_hand_are_found_by_the_next_comparison(
    store: Originals, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await keep(store, A, b"a")
    await keep(store, B, b"b")
    await store.catalogue.flush()
    await store.catalogue.catch_up()
    path = folder / "entries" / source_key(B)[:2] / f"{source_key(B)}.json"
    path.unlink()
    other = folder / "entries" / kept.key[:2] / f"{kept.key}.json"
    other.write_bytes(dataclasses.replace(kept, media_type="image/webp").to_json())
    assert await store.catalogue.catch_up() == 0
    monkeypatch.setattr("cache.catalogue.catching_up.AGAIN_SECONDS", -1.0)
    assert AGAIN_SECONDS > 0
    assert await store.catalogue.catch_up() == 2
    assert [(row.source, row.media_type) for row in await rows(store)] == [(A, "image/webp")]


async def test_restart_of_the_machine_makes_everything_be_compared(
    store: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(store, A, b"a")
    await store.catalogue.flush()
    monkeypatch.setattr("cache.catalogue.catching_up.boot_number", lambda: 7)
    assert not await store.catalogue.is_whole()
    assert await store.catalogue.catch_up() == 0
    assert await store.catalogue.is_whole()
    assert await sources(store) == [A]


async def test_copy_of_a_store_is_compared_with_its_own_files(store: Originals, folder: Path) -> None:
    await keep(store, A, b"a")
    await store.catalogue.flush()
    copied = shutil.copytree(folder, folder.parent / "copy")
    (copied / "entries" / source_key(A)[:2] / f"{source_key(A)}.json").unlink()
    copy = await Originals.open(copied)
    assert not await copy.catalogue.is_whole()
    await copy.catalogue.catch_up()
    assert await rows(copy) == []
    await copy.close()
    assert await sources(store) == [A]


async def test_comparison_that_was_interrupted_goes_on_where_it_was(folder: Path) -> None:
    store = await Originals.open(folder)
    for number in range(30):
        await keep(store, f"http://a.example/{number}.png", b"%d" % number)
    catalogue = store.catalogue.notes
    catalogue.create()
    steps = catalogue.compare()
    read = 0
    while read < 10:
        read += next(steps)[0]
    del steps
    assert not await store.catalogue.is_whole()
    assert read + await store.catalogue.catch_up() == 30
    assert len(await rows(store)) == 30
    await store.close()


async def test_entry_that_cannot_be_read_is_listed_as_unreadable(store: Originals, folder: Path) -> None:
    await keep(store, A, b"a")
    await store.articles.record("post.md", [A])
    path = folder / "entries" / source_key(A)[:2] / f"{source_key(A)}.json"
    path.write_bytes(b"{")
    await store.catalogue.catch_up(again=True)
    assert await sources(store) == []
    assert [row.key for row in await rows(store, PictureQuestion(state="unreadable"))] == [source_key(A)]
    assert list(await missing(store)) == [A]
    await keep(store, A, b"anew")
    assert await sources(store) == [A]


async def test_entry_that_the_disk_does_not_give_keeps_nothing_else_from_the_catalogue(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Originals.open(folder)
    for url in (A, B, C):
        await keep(store, url, b"x")
    read = FileBlobs.read

    def refused(self: FileBlobs, name: str, max_bytes: int = -1) -> Blob:
        if name == source_key(B):
            raise OSError(errno.EIO, "the disk refused")
        return read(self, name, max_bytes)

    monkeypatch.setattr(FileBlobs, "read", refused)
    await store.catalogue.catch_up()
    assert await store.catalogue.is_whole()
    assert await sources(store) == [A, C]
    monkeypatch.undo()
    await store.catalogue.catch_up(again=True)
    assert await sources(store) == [A, B, C]
    await store.close()


async def test_notes_never_wait_for_the_file_of_changes(store: Originals) -> None:
    notes = store.catalogue.notes
    with notes._changes._lock:
        notes.note_failure(A, "gone", status=410, at=NOW)
        notes.note_success(B)
        notes.note_use(A)


@pytest.fixture
def many() -> list[tuple[str, bytes]]:
    return [
        (f"http://{'even' if number % 2 == 0 else 'odd'}.example/50%25_{number:03}.PNG", bytes(number + 1))
        for number in range(60)
    ]


@pytest.mark.parametrize("few", [0, 10, 1000])
async def test_search_finds_the_same_by_either_plan(
    store: Originals, many: list[tuple[str, bytes]], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "FEW", few)
    for url, body in many:
        await keep(store, url, body)
    odd = [url for url, _ in many if "odd" in url]
    asked = PictureQuestion(text=".png", origin="http://odd.example", sorting="address")
    assert await sources(store, asked) == odd
    assert await sources(store, dataclasses.replace(asked, text="%25_00")) == odd[:5]
    assert await sources(store, dataclasses.replace(asked, text="%%%")) == []
    assert await sources(store, dataclasses.replace(asked, text="'\"\\*")) == []
    with pytest.raises(ValueError, match="at least 3"):
        await sources(store, dataclasses.replace(asked, text="%"))
    sizes = [row.size for row in await rows(store, dataclasses.replace(asked, sorting="size"))]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 30
    [row] = await rows(store, PictureQuestion(text="_007."))
    assert await sources(store, PictureQuestion(sha256=row.sha256[:9])) == [row.source]
    assert await sources(store, PictureQuestion(since=NOW, until=NOW + 1, text="_007.")) == [row.source]
    assert await sources(store, PictureQuestion(since=NOW + 1)) == []


@pytest.mark.parametrize("sorting", ["age", "size", "use", "address"])
@pytest.mark.parametrize("few", [0, 1000])
async def test_pages_show_everything_once_and_in_order(
    store: Originals,
    many: list[tuple[str, bytes]],
    sorting: questions.Sorting,
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(questions, "FEW", few)
    for url, body in many:
        await keep(store, url, body)
    whole = await sources(store, PictureQuestion(text="example", sorting=sorting, most=100))
    assert sorted(whole) == sorted(url for url, _ in many)
    await store.purge(many[0][0])
    await keep(store, many[1][0], b"changed")
    await store.catalogue.flush()
    everything = await store.catalogue.ask(lambda it: questions.pictures(it, PictureQuestion(most=1)))
    assert everything.total == len(many) - 1
    await keep(store, *many[0])
    await keep(store, *many[1])
    whole = await sources(store, PictureQuestion(text="example", sorting=sorting, most=100))
    paged: list[str] = []
    question = PictureQuestion(text="example", sorting=sorting, most=7)
    while True:
        page = await store.catalogue.ask(lambda it: questions.pictures(it, question))  # noqa: B023 - called at once
        paged += [row.source for row in page.rows]
        if page.after is None:
            break
        question = dataclasses.replace(question, after=page.after)
    assert paged == whole


async def test_question_that_takes_too_long_is_given_up(store: Originals) -> None:
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(TooManyError):
        store.catalogue.notes.ask(lambda it: it.execute(endless).fetchone(), seconds=0.0)
    assert await sources(store) == []


async def test_figures_of_the_catalogue_are_those_of_the_census(store: Originals, folder: Path) -> None:
    for url, body in ((A, b"same"), (B, b"same"), (C, b"one"), (C, b"another")):
        await keep(store, url, body)
    await store.block(A, "no")
    async with store.receive() as orphan:
        await orphan.write(b"nobody names this")
        await orphan.finish()
        place = folder / "bodies" / orphan.sha256[:2] / orphan.sha256
        place.parent.mkdir(exist_ok=True)
        shutil.copy(orphan.path, place)
    known = await store.stat_from_catalogue()
    assert known == await store.stat()
    assert known is not None
    assert (known.orphans, known.former, known.blocked) == (1, 1, 1)
    shares = await store.catalogue.ask(totals.by_origin)
    assert [(share.name, share.originals, share.bytes, share.former_bytes) for share in shares] == [
        ("http://a.example", 2, 8, 0),
        ("http://b.example", 1, 7, 3),
    ]


async def test_figures_are_not_taken_from_a_catalogue_that_does_not_know_all(
    store: Originals, folder: Path
) -> None:
    kept = await keep(store, A, b"a")
    (folder / "entries" / kept.key[:2] / f"{kept.key}.json").write_bytes(b"{")
    await store.catalogue.catch_up(again=True)
    assert await store.stat_from_catalogue() is None
    await store.purge(A)
    assert await store.stat_from_catalogue() is not None
    with store.catalogue.notes.changing("entry", source_key(A)):
        assert await store.stat_from_catalogue() is None


async def test_articles_of_a_picture_are_found_without_reading_the_others(
    store: Originals, folder: Path
) -> None:
    await store.articles.record("a.md", [A, B], date=50.0)
    await store.articles.record("b.md", [B, C], date=40.0)
    await store.catalogue.flush()
    keys = {path.stem for path in (folder / "articles").rglob("*.json")}
    assert set(await store.catalogue.showing([B]) or ()) == keys
    assert len(await store.catalogue.showing([A]) or ()) == 1
    assert await store.articles.articles_of(B) == ["a.md", "b.md"]
    assert await store.articles.date_of(B) == 40.0
    assert await store.articles.sources_only_in("a.md") == ([A], [B])
    shutil.rmtree(folder / "catalogue")
    assert await store.catalogue.showing([B]) is None
    assert await store.articles.articles_of(A) == ["a.md"]
    assert await store.articles.sources_only_in("b.md") == ([C], [B])


async def test_purge_by_origin_takes_what_the_catalogue_lists(store: Originals, tmp_path: Path) -> None:
    for url in (A, B, C):
        await keep(store, url, url.encode())
    variants = await Variants.open(tmp_path / "variants", max_bytes=1 << 20)
    purging = Purging(store, variants, store.articles, unwrapper=Unwrapper((), own=()), now=lambda: NOW)
    report = await purging.purge(PurgeWish(origin="http://a.example"))
    assert report.purged == [A, B]
    assert await sources(store) == [C]
    await variants.close()
