"""What a run opens before anything is sent: its input, its output, and its journal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from runware_ws._urls import default_url, recorded_url, socket_url
from runware_ws.batch.money import Forecast, LineCost
from runware_ws.batch.reading import Facts, Source
from runware_ws.batch.run_options import BatchOptions
from runware_ws.batch.run_tries import LineTry
from runware_ws.batch.writing import (
    PriorAnswers,
    Writer,
    is_begun,
    open_output,
    source_name,
)
from runware_ws.cli.exits import Stop
from runware_ws.errors import ConfigurationError, JournalError, OutputError
from runware_ws.journal.opening import JournalPlace, open_store
from runware_ws.journal.outcomes import is_attempt_over
from runware_ws.journal.sqlite import SqliteStore
from runware_ws.journal.sqlite_view import SqliteView
from runware_ws.journal.store import HeadTransaction, Transaction

__all__ = ["JournalSite", "OpenedBatch", "open_batch"]

_OWN = "run"
"""The scope of a journal that belongs to one output: it may be moved together with it."""

_ALL = 1 << 31
"""More entries than a journal has."""


@dataclass(frozen=True, slots=True)
class JournalSite:
    """Where the tasks of a run are recorded.

    ``scope``: what the keys of the run's lines begin with. ``target``: the server's address.
    ``own``: the file, if it is this output's alone, so that it goes when all is done; ``fresh``: it
    was not there before.
    """

    place: JournalPlace
    scope: str
    target: str
    own: Path | None = None
    fresh: bool = False

    @contextmanager
    def transaction(self) -> Generator[Transaction]:
        """One transaction on the journal, which is opened for it alone. Blocks.

        Raises:
            JournalError: the journal cannot be used.
        """
        store = open_store(self.place)
        store.open(self.target, time.time())
        try:
            with store.transaction() as transaction:
                yield transaction
        finally:
            store.close()

    def begun(self, keys: Iterable[str]) -> list[str]:
        """Which of these keys have a task here that was sent, or may be. Blocks.

        Raises:
            JournalError: the journal cannot be used.
        """
        if self.fresh:
            return []
        with self.transaction() as transaction:
            found = [(key, transaction.find(key)) for key in keys]
        return [key for key, entry in found if entry is not None and not is_attempt_over(entry)]

    def lines(self) -> set[int]:
        """The lines that have tasks here; a store of somebody's own may be unable to tell. Blocks.

        Raises:
            JournalError: the journal cannot be used.
        """
        if self.fresh:
            return set()
        if self.own is not None:
            try:
                with closing(_entries_of(self.own)) as entries:
                    keys = [key for target, key in entries if target == self.target]
            except JournalError:
                return set()  # If it is broken, whoever opens it says so.
        else:
            with self.transaction() as work:
                if not isinstance(work, HeadTransaction):
                    return set()
                keys = [head.key for head in work.heads(f"{self.scope}/", _ALL)]
        return {line for key in keys if (line := self._line_of(key)) is not None}

    def _line_of(self, key: str) -> int | None:
        """The line that a key is of; ``None``: it is other work's."""
        scope, _, name = key[: len(self.scope) + 33].rpartition("/")
        try:
            return int(name, 16) if scope == self.scope else None
        except ValueError:
            return None

    def holds_more(self, lines: Set[int]) -> bool:
        """Whether tasks of other lines, or of another server, are in the output's own journal: the
        lines were taken out of the input while they were in flight, or the URL was changed. They
        are paid for, and may be asked for again."""
        if self.own is None or not self.own.exists():
            return False
        try:
            with closing(_entries_of(self.own)) as entries:
                return any(
                    target != self.target or self._line_of(key) not in lines
                    for target, key in entries
                )
        except JournalError:
            return True  # Who cannot look in does not throw it away.

    def remove(self) -> None:
        """Remove the output's own journal. Nobody else uses it: we hold the lock of the output.

        Raises:
            OSError: it cannot be removed.
        """
        if self.own is not None:
            for suffix in ("", "-wal", "-shm"):
                self.own.with_name(self.own.name + suffix).unlink(missing_ok=True)
            rmtree(self.own.with_name(self.own.name + ".owners"), ignore_errors=True)


class OpenedBatch:
    """A run's input and output, open and looked through. Close it.

    ``prior``: what the output holds of the lines of this input; ``before`` of them need nothing
    more, ``errors_before`` of these with an error. ``stale``: the keys of answers set aside.
    ``first``: lines that an earlier run has paid for, or may have: no other is taken before them.
    ``journal`` is ``None`` where nothing is kept: for an output that cannot be read again, and with
    the emulator. ``note`` is called with what people should know.
    """

    def __init__(
        self,
        source: Source,
        facts: Facts,
        writer: Writer,
        prior: PriorAnswers,
        journal: JournalSite | None,
        close: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        self.source, self.facts, self.writer, self.prior = source, facts, writer, prior
        self.journal = journal
        self.before = self.errors_before = 0
        self.stale: set[int] = set()
        self.first: set[int] = set()
        self.close, self.note = close, note

    def order(self) -> Iterator[tuple[int, int]]:
        """Key and number of all lines, in their order."""
        for line in self.source.lines(self.facts):
            yield line.key, line.number


def open_batch(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: BatchOptions,
    note: Callable[[str], None],
) -> OpenedBatch:
    """Open and check all of it. Blocks. ``note`` is called with what people should know.

    Raises:
        ConfigurationError: the options do not go together.
        InputError: the input cannot be read.
        OutputError: the output cannot be used.
        JournalError: the journal cannot be used.
    """
    name = os.fspath(output)
    with ExitStack() as stack:
        source = stack.enter_context(_open_input(os.fspath(input), options))
        if name != "-" and source.is_file(Path(name)):
            raise OutputError(f"{name}: is the input too: choose another output")
        facts = source.check()
        for field, lines in sorted(facts.dropped.items()):
            note(f"{source.name}: {field} is left out of {lines} lines: Runware cannot take it")
        try:
            writer = open_output(
                name, source=_source_of(options), shape=options.shape, sort=options.sort
            )
            stack.callback(writer.close)
            prior = writer.known(facts.task_uuids)
        except Stop as exc:
            raise OutputError(exc.message) from None
        if prior.torn:
            note(f"{writer.name}: its last line was cut off: this line is done again")
        journal = _journal_of(name, writer, options, note)
        batch = OpenedBatch(source, facts, writer, prior, journal, lambda: None, note)
        _match(batch, options, note)
        _check_own_journal(batch, name, options)
        if options.max_cost is not None:
            batch.first = {key for key, each in prior.errors.items() if each.unsure}
            batch.first |= set() if journal is None else journal.lines()
        batch.close = stack.pop_all().close
        return batch


def forecast(
    input: str | os.PathLike[str], output: str | os.PathLike[str], options: BatchOptions
) -> tuple[int, tuple[str, ...]]:
    """How many lines there are, and what a run would do, for people. Blocks.

    An output that is not there is not made.

    Raises:
        InputError, OutputError: as of :func:`open_batch`.
    """
    told = Forecast(options.prices, emulated=options.emulate, limit=options.limit)
    with _open_input(os.fspath(input), options) as source:
        facts = source.check()
        prior = _looked_at(os.fspath(output), options)
        told.spent = options.prices.of_bill(prior.bill)
        for line in source.lines(facts):
            prior.recall(line.key)
            kind = "without a task" if line.task is None else str(line.task["taskType"])
            done = prior.done(line.key, retry_errors=options.retry_errors)
            told.add(line.task, kind, done=done)
    return facts.count, tuple(told.report())


def _open_input(name: str, options: BatchOptions) -> Source:
    return Source(
        name,
        input_format=options.input_format,
        prompt_column=options.prompt_column,
        unsupported=options.unsupported,
    )


def _source_of(options: BatchOptions) -> str:
    return source_name(options.url or default_url(), emulate=options.emulate)


def _looked_at(name: str, options: BatchOptions) -> PriorAnswers:
    try:
        if not is_begun(name, shape=options.shape):
            return PriorAnswers()
        writer = open_output(name, source=_source_of(options), shape=options.shape)
        try:
            return writer.known()
        finally:
            writer.close()
    except Stop as exc:
        raise OutputError(exc.message) from None


def _journal_of(
    name: str, writer: Writer, options: BatchOptions, note: Callable[[str], None]
) -> JournalSite | None:
    given = options.journal
    if options.emulate:
        if given is not None:
            note("the journal is left alone: the answers of the emulator are not real")
        return None
    path = Path(os.path.realpath(name)) if writer.can_resume else None
    target = recorded_url(socket_url(options.url, allow_insecure=False))
    if given is not None:
        store = open_store(given)
        if path is not None and isinstance(store, SqliteStore) and store.path == path:
            raise ConfigurationError(f"journal: {path} is the output: choose another file")
        # Not the path, so that two machines with the same command share the work.
        job = options.job or (None if path is None else _as_text(path.name))
        if job is None:
            raise ConfigurationError(
                f"job is needed with a journal and {writer.name}: it names the work"
            )
        return JournalSite(given, f"run/{job}", target)
    if options.job is not None:
        raise ConfigurationError("job names the work in a shared journal: give a journal as well")
    if path is None:
        return None
    own = _own_journal(name)
    return JournalSite(own, _OWN, target, own, not own.exists())


def _own_journal(name: str) -> Path:
    return Path(os.path.realpath(name) + ".journal")


def _as_text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _match(batch: OpenedBatch, options: BatchOptions, note: Callable[[str], None]) -> None:
    """Compare what the output holds with the lines of the input."""
    prior, writer, source = batch.prior, batch.writer, batch.source
    stale = prior.keys()
    back: set[int] = set()
    tries: dict[str, int] = {}
    matched = False
    for line in source.lines(batch.facts):
        if prior.recall(line.key):
            back.add(line.key)
        matched = matched or line.key in stale or line.key in back
        stale.discard(line.key)
        error = prior.errors.get(line.key)
        if batch.journal is not None and error is not None:
            work = LineTry(line, LineCost(0, 0), error)
            if work.keyed and prior.done(line.key, retry_errors=options.retry_errors):
                tries[work.key(batch.journal.scope)] = line.key
    known = prior.keys()
    done = {key for key in known if prior.done(key, retry_errors=options.retry_errors)}
    if done and not matched:
        raise OutputError(
            f"{writer.name}: none of its lines belongs to {source.name}: choose another output"
        )
    if back:
        try:
            writer.bring_back(back)
        except Stop as exc:
            raise OutputError(exc.message) from None
        note(f"{writer.name}: {len(back)} lines are back from {writer.name}.stale")
    if stale:
        writer.set_aside(stale)
        # Of what is in doubt only the journal knows the end.
        batch.stale = {key for key in stale if key in prior.results or not prior.errors[key].unsure}
        prior.results -= stale
        for key in stale:
            prior.errors.pop(key, None)
        if done & stale:
            note(
                f"{writer.name}: {len(done & stale)} lines belong to no line of {source.name} "
                f"any more: moved to {writer.name}.stale"
            )
    if tries and batch.journal is not None:
        prior.begun = {tries[key] for key in batch.journal.begun(tries)}
    kept = done - stale - prior.begun
    batch.before, batch.errors_before = len(kept), len(kept - prior.results)


def _check_own_journal(batch: OpenedBatch, name: str, options: BatchOptions) -> None:
    """Refuse to pay again for lines that the output's own journal has in hand, which this run does
    not see there: it has another journal, or another URL of the same server."""
    site, prior, own = batch.journal, batch.prior, _own_journal(name)
    if site is None or site.fresh or not batch.writer.can_resume or not own.exists():
        return
    unseen = {each for each in _targets(own) if source_name(each) == _source_of(options)}
    if site.own is None:
        unseen.add(site.target)
    else:
        unseen.discard(site.target)
    if not unseen:
        return
    left = (
        LineTry(line, LineCost(0, 0), prior.errors.get(line.key))
        for line in batch.source.lines(batch.facts)
        if not prior.done(line.key, retry_errors=options.retry_errors)
    )
    keys = [work.key(_OWN) for work in left if work.keyed]
    begun = {key for each in unseen for key in JournalSite(own, _OWN, each, own).begun(keys)}
    if not begun:
        return
    option, way = "journal", "without this option"
    if site.own is not None:
        option, way = "url", "with the URL of before, which is another one of the same server,"
    raise ConfigurationError(
        f"{option}: {own} has {len(begun)} of these lines in hand: bring them home {way} "
        "first, or remove that file to pay for them again"
    )


def _targets(journal: Path) -> set[str]:
    """The servers of which a journal has tasks; none if it was not yet made when its run died."""
    try:
        with closing(_entries_of(journal)) as entries:
            return {target for target, _ in entries}
    except JournalError:
        return set()  # If it is broken, whoever opens it says so.


def _entries_of(journal: Path) -> Generator[tuple[str, str]]:
    """The servers and the keys of what a journal has.

    Raises:
        JournalError: the journal cannot be used.
    """
    with closing(SqliteView(journal)) as view:
        yield from view.all_keys()
