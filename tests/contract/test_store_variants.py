"""The promises of a bounded tier: bytes or nothing, whatever happens to its folder."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import diskcache
import pytest
from keeping import finished, run_program

from cache.base.durable import GROUP, PRIVATE
from cache.base.errors import StoreRefused
from cache.base.layout import CACHE_TAG
from cache.base.opening import read_regular
from cache.base.page_cache import KeptFile
from cache.durable_tier import Originals
from cache.sweep import MIN_AGE_SECONDS, sweep
from cache.variants.bounded_tier import LARGEST_SHARE, FoundVariant, VariantNote, Variants
from cache.variants.safe_disk import check_of

BUDGET = 16 << 20
ROW, SMALL, LARGE = b"r" * 500, b"s" * 10_000, b"l" * 100_000
"""A body for the database, and two with their own files."""


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = 1e9

    def __call__(self) -> float:
        return self.time


@pytest.fixture
async def variants(tmp_path: Path) -> AsyncIterator[Variants]:
    """An empty tier."""
    opened = await Variants.open(tmp_path / "variants", max_bytes=BUDGET)
    yield opened
    await opened.close()


@pytest.mark.parametrize("body", [b"", b"x", ROW, SMALL, LARGE])
async def test_variant_put_comes_back(variants: Variants, body: bytes) -> None:
    """The bytes may be in a row or in their own file."""
    assert await variants.put("key", body, tag="t")
    assert await variants.get("key") == body
    assert await variants.get("other") is None
    assert variants.faults == 0


async def test_variants_around_the_size_of_files_come_back_in_every_process(
    variants: Variants, tmp_path: Path
) -> None:
    """With its check, a variant of 1,008 to 1,023 bytes is large enough for a file of diskcache's own."""
    bodies = {f"{size:064x}": bytes([size % 251]) * size for size in range(1000, 1050)}
    for key, body in bodies.items():
        assert await variants.put(key, body, tag="t")
    other = await Variants.open(tmp_path / "variants", max_bytes=BUDGET)
    for opened in (variants, other):
        assert {key: await opened.get(key) for key in bodies} == bodies
        assert opened.faults == 0
    await other.close()


async def test_variant_is_found_by_another_process(variants: Variants, tmp_path: Path) -> None:
    """Other workers need not render what one worker rendered."""
    await variants.put("key", SMALL, tag="t")
    program = (
        "import asyncio, sys; from pathlib import Path; from cache.variants.bounded_tier import Variants\n"
        "async def main():\n"
        "    variants = await Variants.open(Path(sys.argv[1]), max_bytes=1 << 24)\n"
        "    print(len(await variants.get('key')), await variants.put('theirs', b'x', tag='t'))\n"
        "    await variants.close()\n"
        "asyncio.run(main())"
    )
    assert await finished(run_program(program, tmp_path / "variants")) == "10000 True\n"
    assert await variants.get("theirs") == b"x"


async def test_database_is_opened_by_sqlite_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a descriptor of our own would release SQLite's locks, and another process would delete its log."""
    opened: list[str] = []
    plain = os.open

    def watched(path: str | os.PathLike[str], *args: object, **words: Any) -> int:
        opened.append(os.fspath(path))
        return plain(path, *args, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", watched)
    for _ in range(2):
        variants = await Variants.open(tmp_path / "variants", max_bytes=BUDGET)
        assert await variants.put("key", LARGE, tag="t")
        assert await variants.get("key") == LARGE
        await variants.close()
    assert opened, "the watch sees what is opened"
    assert not [path for path in opened if "cache.db" in path]


async def test_variant_survives_a_restart(variants: Variants, tmp_path: Path) -> None:
    """It is a tier on the disk."""
    await variants.put("key", SMALL, tag="t")
    again = await Variants.open(tmp_path / "variants", max_bytes=BUDGET)
    assert await again.get("key") == SMALL
    await again.close()


async def test_variants_are_forgotten_by_tag(variants: Variants, tmp_path: Path) -> None:
    """A purge of an original deletes all of its variants, including their files."""
    for number in range(150):
        await variants.put(f"a{number}", SMALL if number % 10 else LARGE, tag="a")
    await variants.put("b", LARGE, tag="b")
    assert await variants.evict("a") == 150
    assert await variants.get("a1") is None
    assert await variants.get("b") == LARGE
    assert len(list((tmp_path / "variants").rglob("*.val"))) == 1


async def test_variant_deleted_is_gone(variants: Variants) -> None:
    """One of them is deleted, and the answer says whether it existed."""
    await variants.put("key", SMALL, tag="t")
    assert await variants.delete("key")
    assert not await variants.delete("key")
    assert await variants.get("key") is None


async def test_variants_stay_within_their_budget(variants: Variants) -> None:
    """After four times the budget was stored, no more than the budget remains, including the last variant."""
    for number in range(4 * BUDGET // len(LARGE)):
        await variants.put(f"key{number}", LARGE, tag="t")
    found = await variants.stat()
    assert BUDGET // 2 < found.bytes <= BUDGET + len(LARGE)
    assert await variants.get(f"key{4 * BUDGET // len(LARGE) - 1}") == LARGE
    assert await variants.get("key0") is None


async def test_variant_that_is_asked_for_outlives_those_that_are_not(tmp_path: Path) -> None:
    """The least recently used one is deleted, not the one stored first."""
    clock = Clock()
    variants = await Variants.open(tmp_path / "variants", max_bytes=BUDGET, now=clock)
    await variants.put("wanted", LARGE, tag="t")
    for number in range(2 * BUDGET // len(LARGE)):
        await variants.put(f"key{number}", LARGE, tag="t")
        clock.time += 4000
        assert await variants.get("wanted") == LARGE
    assert await variants.get("key0") is None
    await variants.close()


async def test_variant_larger_than_its_share_is_not_kept(variants: Variants) -> None:
    """One picture must not displace all others."""
    assert not await variants.put("key", b"x" * (BUDGET // LARGEST_SHARE + 1), tag="t")
    assert await variants.get("key") is None


async def test_variant_larger_than_its_share_leaves_its_note(variants: Variants) -> None:
    """A finding made while rendering applies to the next variant and to other formats."""
    note = VariantNote("note", lambda _: b"found")
    assert not await variants.put("key", b"x" * (BUDGET // LARGEST_SHARE + 1), tag="t", note=note)
    assert await variants.get("key") is None
    assert await variants.get("note") == b"found"


async def test_folder_is_ours_alone_and_not_backed_up(variants: Variants, tmp_path: Path) -> None:
    """The folder has mode 0700 and a CACHEDIR.TAG, even if it existed before."""
    folder = tmp_path / "variants"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "CACHEDIR.TAG").read_bytes() == CACHE_TAG
    (tmp_path / "open").mkdir(mode=0o755)
    other = await Variants.open(tmp_path / "open", max_bytes=BUDGET)
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700
    await other.close()


@pytest.mark.parametrize("name", ["__init__.py", "pkg/__init__.py", "thesis.tex"])
async def test_foreign_folder_is_refused(tmp_path: Path, name: str) -> None:
    """A mistake in the configuration does not mix variants into a foreign folder."""
    path = tmp_path / "theirs" / name
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(StoreRefused):
        await Variants.open(tmp_path / "theirs", max_bytes=BUDGET)


# Trouble


def _wiped(folder: Path) -> None:
    shutil.rmtree(folder)


def _emptied(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def _database_deleted(folder: Path) -> None:
    for path in folder.glob("cache.db*"):
        path.unlink()


def _database_replaced_by_rubbish(folder: Path) -> None:
    _database_deleted(folder)
    (folder / "cache.db").write_bytes(b"this is not a database" * 1000)


def _database_overwritten(folder: Path) -> None:
    with (folder / "cache.db").open("r+b") as file:
        file.write(os.urandom(16384))


def _table_dropped(folder: Path) -> None:
    connection = sqlite3.connect(folder / "cache.db")
    connection.execute("DROP TABLE Cache")
    connection.close()


def _settings_planted(folder: Path) -> None:
    connection = sqlite3.connect(folder / "cache.db")
    with connection:
        connection.execute("UPDATE Settings SET value = 'rubbish'")
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        _wiped,
        _emptied,
        _database_deleted,
        _database_replaced_by_rubbish,
        _database_overwritten,
        _table_dropped,
        _settings_planted,
    ],
)
async def test_tier_damaged_while_open_works_again(
    variants: Variants, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """No operation raises, and after a few operations it stores and finds again."""
    for number in range(5):
        await variants.put(f"key{number}", LARGE if number % 2 else SMALL, tag="t")
    damage(tmp_path / "variants")
    for _ in range(3):
        assert await variants.get("key1") in {None, LARGE}
        await variants.put("new", SMALL, tag="t")
        await variants.evict("other")
        await variants.stat()
    assert await variants.put("new", LARGE, tag="t")
    assert await variants.get("new") == LARGE
    again = await Variants.open(tmp_path / "variants", max_bytes=BUDGET)
    assert await again.get("new") == LARGE
    await again.close()


async def test_tier_wiped_while_open_counts_a_fault(
    variants: Variants, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An open connection to a deleted file keeps "succeeding", but the tier notices the deletion."""
    await variants.put("key", SMALL, tag="t")
    shutil.rmtree(tmp_path / "variants")
    assert await variants.get("key") is None
    assert variants.faults > 0
    assert "deleted or replaced" in caplog.text


async def test_folder_replaced_by_a_file_costs_the_storing_only(variants: Variants, tmp_path: Path) -> None:
    """Nothing can be stored and nothing raises. When the obstacle is gone, the tier works again."""
    shutil.rmtree(tmp_path / "variants")
    (tmp_path / "variants").touch()
    assert await variants.get("key") is None
    assert not await variants.put("key", SMALL, tag="t")
    assert await variants.evict("t") == 0
    assert (await variants.stat()).entries == 0
    (tmp_path / "variants").unlink()
    assert await variants.put("key", SMALL, tag="t")
    assert await variants.get("key") == SMALL


@pytest.mark.parametrize("body", [ROW, SMALL, LARGE])
async def test_altered_variant_is_a_miss(variants: Variants, tmp_path: Path, body: bytes) -> None:
    """Bytes that differ from those stored are deleted, not served."""
    await variants.put("key", body, tag="t")
    files = list((tmp_path / "variants").rglob("*.val"))
    if files:
        files[0].write_bytes(files[0].read_bytes()[:-1] + b"?")
    else:
        connection = sqlite3.connect(tmp_path / "variants" / "cache.db")
        with connection:
            connection.execute("UPDATE Cache SET value = ?", (b"?" * 1000,))
        connection.close()
    assert await variants.get("key") is None
    assert variants.faults == 1
    assert (await variants.stat()).entries == 0


@pytest.mark.parametrize("body", [ROW, SMALL])
async def test_variant_moved_to_another_key_is_a_miss(
    variants: Variants, tmp_path: Path, body: bytes
) -> None:
    """The check covers the key, so a swapped row is not taken for another picture."""
    await variants.put("key", body, tag="t")
    connection = sqlite3.connect(tmp_path / "variants" / "cache.db")
    with connection:
        connection.execute("UPDATE Cache SET key = 'other'")
    connection.close()
    assert await variants.get("other") is None


@pytest.mark.parametrize("columns", ["mode = 4", "mode = 4, value = NULL", "value = 5", "value = NULL", "mode = 9",
                                     "mode = 2, filename = '../../x'", "mode = 'x'", "raw = 0"])  # fmt: skip
async def test_planted_row_is_a_miss(variants: Variants, tmp_path: Path, columns: str) -> None:
    """Whatever a row contains, it is a miss, and the next store replaces it."""
    await variants.put("key", ROW, tag="t")
    connection = sqlite3.connect(tmp_path / "variants" / "cache.db")
    with connection:
        connection.execute(f"UPDATE Cache SET {columns}")  # noqa: S608 - columns are named in this file
    connection.close()
    assert await variants.get("key") is None
    assert await variants.put("key", SMALL, tag="t")
    assert await variants.get("key") == SMALL


@pytest.mark.parametrize("body", [SMALL, LARGE])
async def test_full_disk_costs_the_storing_only(
    variants: Variants, tmp_path: Path, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither SQLite's "disk is full" nor the kernel's error leaves the tier."""

    def full(*_: object) -> None:
        raise (
            OSError(28, "No space left on device")
            if body is LARGE
            else sqlite3.OperationalError("disk is full")
        )

    with monkeypatch.context() as patch:
        patch.setattr("cache.variants.safe_disk.SafeDisk.store", full)
        assert not await variants.put("key", body, tag="t")
    assert variants.faults == 2
    assert await variants.get("key") is None
    assert await variants.put("key", body, tag="t")


async def test_tier_that_hangs_is_a_miss_in_time(variants: Variants, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk or a lock that does not answer delays a visitor only for a limited time."""
    go = threading.Event()
    await variants.put("key", SMALL, tag="t")
    with monkeypatch.context() as patch:
        patch.setattr("cache.variants.bounded_tier.PATIENCE_SECONDS", 0)
        patch.setattr("cache.variants.shelf.Shelf.use", lambda *_: go.wait(60))
        assert await variants.get("key") is None
        assert not await variants.put("other", SMALL, tag="t")
        patch.setattr("cache.variants.bounded_tier.MAX_QUEUED", 1)
        assert await variants.get("key") is None
        go.set()
    assert await variants.put("key", SMALL, tag="t")
    assert await variants.get("key") == SMALL


async def test_database_held_by_another_is_a_miss_in_time(variants: Variants, tmp_path: Path) -> None:
    """A long transaction of another process makes us wait a little and then answer without storing. Reads continue."""
    await variants.put("key", SMALL, tag="t")
    connection = sqlite3.connect(tmp_path / "variants" / "cache.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    assert await variants.get("key") == SMALL
    connection.execute("ROLLBACK")
    connection.close()
    assert await variants.put("other", SMALL, tag="t")


# Files


async def stored(variants: Variants, key: str, body: bytes) -> KeptFile:
    """Store a variant and return its file as found. Skip where the filesystem cannot read without waiting."""
    assert await variants.put(key, body, tag="t")
    found = await variants.find(key)
    assert found is not None
    assert found.file is not None
    if variants.read_at_hand(found.file) is None:
        pytest.skip("this kernel or filesystem knows no read that does not wait")
    return found.file


async def test_file_holds_the_bytes_of_a_variant_and_nothing_else(variants: Variants) -> None:
    """A web server in front can send the file unchanged. Small variants are in the database."""
    await variants.put("key", SMALL, tag="t")
    await variants.put("row", ROW, tag="t")
    found, row = await variants.find("key"), await variants.find("row")
    assert found is not None
    assert found.file is not None
    assert read_regular(Path(os.fsdecode(found.file.path))) == SMALL
    assert row == FoundVariant(ROW)


async def test_found_file_is_read_without_the_database(
    variants: Variants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hit needs no change of thread."""
    file = await stored(variants, "key", SMALL)
    with monkeypatch.context() as patch:
        patch.setattr("cache.variants.shelf.Shelf.use", lambda *_: pytest.fail("the database was asked"))
        assert variants.read_at_hand(file) == SMALL
        assert variants.is_at_hand(file)


def _altered(variants: Variants, file: KeptFile) -> None:
    with Path(os.fsdecode(file.path)).open("r+b") as written:
        written.write(b"?")
    os.utime(file.path, ns=(0, file.state.modified_ns + 1))


def _cut_short(variants: Variants, file: KeptFile) -> None:
    os.truncate(file.path, 10)


def _folder_deleted(variants: Variants, file: KeptFile) -> None:
    shutil.rmtree(variants.folder)


def _turned_into_a_link(variants: Variants, file: KeptFile) -> None:
    path = Path(os.fsdecode(file.path))
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


@pytest.mark.parametrize("damage", [_altered, _cut_short, _folder_deleted, _turned_into_a_link])
async def test_file_that_is_not_as_it_was_found_is_not_at_hand(
    variants: Variants, damage: Callable[[Variants, KeptFile], None]
) -> None:
    """A later read through the database finds that the variant is damaged or gone."""
    file = await stored(variants, "key", SMALL)
    damage(variants, file)
    assert variants.read_at_hand(file) is None
    assert not variants.is_at_hand(file)


@pytest.mark.parametrize("again", [SMALL, b"o" * 10_000])
async def test_file_of_a_variant_stored_again_is_another(variants: Variants, again: bytes) -> None:
    """The former file is deleted and the new one stays, even if both hold the same bytes."""
    file = await stored(variants, "key", SMALL)
    other = await stored(variants, "key", again)
    assert other.path != file.path
    assert not variants.is_at_hand(file)
    assert await variants.get("key") == again
    assert len(list(variants.folder.rglob("*.val"))) == 1


@pytest.mark.parametrize("forget", ["delete", "evict", "clear"])
async def test_variant_forgotten_is_not_at_hand(variants: Variants, forget: str) -> None:
    """A purge deletes the file with the row."""
    file = await stored(variants, "key", SMALL)
    await (
        variants.clear()
        if forget == "clear"
        else getattr(variants, forget)("t" if forget == "evict" else "key")
    )
    assert variants.read_at_hand(file) is None


async def test_variant_that_is_read_at_hand_outlives_those_that_are_not(tmp_path: Path) -> None:
    """The use is recorded although the database was not read."""
    clock = Clock()
    variants = await Variants.open(tmp_path / "variants", max_bytes=BUDGET, now=clock)
    file = await stored(variants, "wanted", LARGE)
    for number in range(2 * BUDGET // len(LARGE)):
        await variants.put(f"key{number}", LARGE, tag="t")
        clock.time += 4000
        assert variants.read_at_hand(file) == LARGE
        # The writing lane records the use after the answer.
        assert await variants.put("last", ROW, tag="t")
    assert await variants.get("key0") is None
    await variants.close()


@pytest.mark.parametrize("body", [SMALL, LARGE])
async def test_variant_stored_by_an_earlier_version_is_found(tmp_path: Path, body: bytes) -> None:
    """Its check lies before the bytes, in a row or in a file that diskcache named."""
    with diskcache.Cache(str(tmp_path / "variants"), disk_min_file_size=64 * 1024) as former:
        former.set("key", check_of("key", body) + body, tag="t")
        former.set("damaged", b"?" * 16 + body, tag="t")
    variants = await Variants.open(tmp_path / "variants", max_bytes=BUDGET)
    assert await variants.get("key") == body
    assert await variants.get("damaged") is None
    assert await variants.evict("t") == 1
    assert not list((tmp_path / "variants").rglob("*.val"))
    await variants.close()


async def test_variants_for_a_group_can_be_read_by_it(tmp_path: Path) -> None:
    """Files have mode 0640 and folders 0750, and the database stays private, even if they were private before."""
    for modes in (PRIVATE, GROUP):
        variants = await Variants.open(tmp_path / "variants", max_bytes=BUDGET, modes=modes)
        await variants.put("key", SMALL, tag="t")
        await variants.close()
    (file,) = (tmp_path / "variants").rglob("*.val")
    for path, mode in ((file, 0o640), (file.parent, 0o750), (file.parents[1], 0o750)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "variants" / "cache.db").stat().st_mode) == 0o600


# Sweeping


@pytest.mark.parametrize("name", [f"ab/cd/{'0' * 28}.val", f"ab/{'0' * 32}-{'0' * 8}.val"])
async def test_sweep_removes_files_that_no_row_names(variants: Variants, tmp_path: Path, name: str) -> None:
    """Remains of killed processes are removed, but neither files in use nor files being stored, and none in a dry
    run."""
    originals = await Originals.open(tmp_path / "store")
    await variants.put("key", LARGE, tag="t")
    orphan = tmp_path / "variants" / name
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(LARGE)
    foreign = orphan.with_name("keep.txt")
    foreign.touch()
    written = orphan.stat().st_mtime
    assert (await sweep(originals, variants, now=lambda: written)).orphans == 0
    later = written + MIN_AGE_SECONDS + 1
    dry = await sweep(originals, variants, dry_run=True, now=lambda: later)
    assert (dry.orphans, dry.orphan_bytes, dry.dry_run) == (1, len(LARGE), True)
    assert orphan.exists()
    assert (await sweep(originals, variants, now=lambda: later)).orphans == 1
    assert not orphan.exists()
    assert foreign.exists()
    assert await variants.get("key") == LARGE
    await originals.close()


async def test_sweep_holds_the_budget_when_it_was_made_smaller(variants: Variants, tmp_path: Path) -> None:
    """A smaller budget applies after a sweep."""
    for number in range(100):
        await variants.put(f"key{number}", LARGE, tag="t")
    originals = await Originals.open(tmp_path / "store")
    smaller = await Variants.open(tmp_path / "variants", max_bytes=1 << 20)
    assert (await sweep(originals, smaller, dry_run=True)).over_budget_bytes > 0
    assert (await sweep(originals, smaller)).culled > 0
    assert (await smaller.stat()).bytes <= 1 << 20
    await smaller.close()
    await originals.close()


async def test_note_is_revised_before_its_variant_is_stored(variants: Variants) -> None:
    """The note changes from its former value, and stays if it need not change."""
    seen: list[bytes | None] = []

    def note(text: bytes | None) -> VariantNote:
        def revise(held: bytes | None) -> bytes | None:
            seen.append(held)
            return text

        return VariantNote("note", revise)

    assert await variants.put("a", SMALL, tag="t", note=note(b"one"))
    assert await variants.put("b", LARGE, tag="t", note=note(None))
    assert await variants.put("c", LARGE, tag="t", note=note(b"two"))
    assert seen == [None, b"one", b"one"]
    assert await variants.get("note") == b"two"
    assert await variants.get("b") == LARGE
    await variants.evict("t")
    assert await variants.get("note") is None


async def test_note_of_a_variant_that_the_disk_refuses_is_not_stored(
    variants: Variants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variant and its note are stored together or not at all, in one transaction."""

    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert await variants.put("a", SMALL, tag="t", note=VariantNote("note", lambda _: b"one"))
    with monkeypatch.context() as patch:
        patch.setattr(diskcache.Disk, "_write", full)
        assert not await variants.put("b", LARGE, tag="t", note=VariantNote("note", lambda _: b"two"))
    assert await variants.get("note") == b"one"
    assert await variants.put("b", LARGE, tag="t", note=VariantNote("note", lambda _: b"two"))
    assert await variants.get("note") == b"two"


async def test_row_whose_file_is_gone_is_a_miss_until_it_is_stored_again(
    variants: Variants, tmp_path: Path
) -> None:
    """A crash within the transaction that displaces a variant can leave such a row."""
    assert await variants.put("key", LARGE, tag="t")
    (file,) = (tmp_path / "variants").glob("??/*.val")
    file.unlink()
    assert await variants.get("key") is None
    assert await variants.put("key", LARGE, tag="t")
    assert await variants.get("key") == LARGE
