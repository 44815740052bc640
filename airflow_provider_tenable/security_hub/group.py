"""The import of several accounts and Regions by one task, a few at a time: each with a hook, receipts and a rate of its
own.

A failure of one of them does not stop the delivery to the others. Free of Airflow: the caller opens the hooks.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_provider_tenable.exceptions import (
    DestinationRefusedError,
    TemporaryError,
    TenableProviderError,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.security_hub.batches import product_of
from airflow_provider_tenable.security_hub.failures import kind_of, listed, words_of
from airflow_provider_tenable.security_hub.importer import FindingsImport
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.security_hub.refusals import forget_refusal, note_refusal
from airflow_provider_tenable.security_hub.responses import SUBSCRIBED_SECONDS
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines

log = logging.getLogger(__name__)


class Choice(Protocol):
    """Which findings of a target are sent (:class:`airflow_provider_tenable.state.choice.Choice`)."""

    @property
    def to_send(self) -> int:
        """How many findings are sent."""

    @property
    def counts(self) -> dict[str, int]:
        """What becomes of the findings -> how many."""

    def lines(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """(name, lines) of each part of which something is sent; lines that are not sent are empty."""

    def record(self, receipts: Receipts) -> None:
        """Remember what was acknowledged. May be repeated."""


class SendAll:
    """Everything that is staged is sent, and nothing remembered."""

    def __init__(self, run: RunFolder, target: Target) -> None:
        self._folder = run.destination(target.account, target.region)
        self._parts = target.parts
        self.to_send = target.findings
        self.counts: dict[str, int] = {}

    def lines(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        for name, _ in self._parts:
            yield name, read_lines(self._folder / name)

    def record(self, receipts: Receipts) -> None:
        pass


@dataclass
class Progress:
    """The progress of one target.

    :ivar counts: as in the ledger: ``accepted``, ``rejected``, ``calls``.
    :ivar refused: the target refuses us for good, which is on record in the run's folder; nothing is left to do.
    :ivar compared: what becomes of its findings -> how many; empty where everything is sent.
    :ivar to_send: how many of its findings are sent; all of them until that is known.
    """

    counts: dict[str, Any] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    to_send: int = 0
    finished: bool = False
    refused: bool = False
    error: Exception | None = None


class GroupImport:
    """Imports targets until each of them has finished or failed, or the time is up.

    :param open_hook: target -> its hook (:class:`~airflow_provider_tenable.hooks.security_hub.SecurityHubHook`), called
        in the calling thread.
    :param product: as in ``[tenable] product``, for findings that do not name one.
    :param enable_product: subscribe accounts to the product if they are not subscribed.
    :param together: concurrent targets; each holds at most ``in_flight + 1`` batches in memory.
    :param note_refusals: record a target that permanently refuses its findings (:mod:`~.refusals`) instead of failing:
        the task that settles the run decides about it.
    :param seconds: no batch is started after this many seconds; None: no limit.
    :param choose: (target, since when its hub is on) -> which of its findings are sent; default: all. The latter is a
        function that asks the hub, in unix milliseconds, 0 if it does not say.
    :param settle: called with a target and its hook once its findings are imported, also after a dry run, and again by
        each retry; returns whether it is done. If not, another piece continues with it.
    :param on_finished: called when the import of a target ends, even if it failed: with the target, its counts before
        and after, and the seconds between.
    """

    def __init__(
        self,
        run: RunFolder,
        targets: list[Target],
        *,
        open_hook: Callable[[Target], Any],
        product: str,
        enable_product: bool = False,
        batch_size: int = 100,
        in_flight: int = 4,
        together: int = 4,
        dry_run: bool = False,
        note_refusals: bool = False,
        seconds: float | None = None,
        choose: Callable[[Target, Callable[[], int]], Choice] | None = None,
        settle: Callable[[Target, Any], bool] = lambda target, hook: True,
        on_finished: Callable[
            [Target, dict[str, Any], dict[str, Any], float], None
        ] = lambda target, before, after, seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run_folder = run
        self.targets = targets
        self.progress = {str(target): Progress(to_send=target.findings) for target in targets}
        self._open_hook = open_hook
        self._product = product
        self._enable_product = enable_product
        self._batch_size = batch_size
        self._in_flight = in_flight
        self._together = together
        self._dry_run = dry_run
        self._note_refusals = note_refusals
        self._seconds = seconds
        self._choose = choose or (lambda target, enabled_at: SendAll(run, target))
        self._settle = settle
        self._on_finished = on_finished
        self._clock = clock
        self._until: float | None = None
        self._stopped = False
        self._sending = 0
        self._active: set[FindingsImport] = set()

    @property
    def findings(self) -> int:
        """The number of findings for all targets."""
        return sum(target.findings for target in self.targets)

    def counts(self) -> dict[str, Any]:
        """``accepted``, ``rejected``, ``calls`` of all targets together, and ``compared``: verdict -> findings."""
        known = [progress.counts for progress in self.progress.values() if progress.counts]
        rejected: Counter[str] = sum((Counter(counts["rejected"]) for counts in known), Counter())
        compared: Counter[str] = sum((Counter(progress.compared) for progress in self.progress.values()), Counter())
        return {
            "accepted": sum(counts["accepted"] for counts in known),
            "rejected": dict(sorted(rejected.items())),
            "calls": sum(counts["calls"] for counts in known),
            **({"compared": dict(sorted(compared.items()))} if compared else {}),
        }

    @property
    def to_send(self) -> int:
        """How many findings are sent; of targets that were not looked at yet, all."""
        return sum(each.to_send for each in self.progress.values())

    def run(self) -> bool:
        """Import until everything is done, or until the time is up.

        :return: whether everything is done; if not, another piece resumes after the last receipts.
        :raises ConfigurationError: the only target failed, or all failures are permanent; the others were delivered.
        :raises TemporaryError: some targets failed, at least one of them temporarily; a retry resumes.
        """
        self._until = None if self._seconds is None else self._clock() + self._seconds
        if len(self.targets) == 1:
            (only,) = self.targets
            hook = self._open_hook(only)
            return self._import(only, hook, *self._read_state(only, hook))
        with ThreadPoolExecutor(max_workers=self._together, thread_name_prefix="securityhub-target") as pool:
            try:
                wait([pool.submit(self._try, target, hook) for target, hook in self._hooks()])
            except BaseException:
                self._stopped = True
                for importer in list(self._active):
                    importer.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        # Failures end the task only after all others are delivered, even if that takes more pieces.
        if any(not progress.finished and not progress.error for progress in self.progress.values()):
            return False
        self._raise_failures()
        return True

    def _hooks(self) -> Iterator[tuple[Target, Any]]:
        for target in self.targets:
            try:
                hook = self._open_hook(target)
            except Exception as error:  # noqa: BLE001 - no failure may prevent the delivery of the other targets
                self._failed(target, error)
            else:
                yield target, hook

    def _try(self, target: Target, hook: Any) -> None:
        try:
            choice, receipts = self._read_state(target, hook)
            # Every piece sends something, so that the pieces come to an end.
            if self._stopped or (self._until is not None and self._sending and self._clock() >= self._until):
                return
            self._import(target, hook, choice, receipts)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(target, error)

    def _failed(self, target: Target, error: Exception) -> None:
        self.progress[str(target)].error = error
        # Our own errors are complete without a traceback.
        log.error(
            "%s: %s", target, words_of(error), exc_info=None if isinstance(error, TenableProviderError) else error
        )

    def _read_state(self, target: Target, hook: Any) -> tuple[Choice, Receipts]:
        """What is sent of a target, and its recorded receipts; updates its progress."""
        choice = self._choose(target, hook.enabled_at)
        receipts = Receipts(self.run_folder, target.account, target.region, [name for name, _ in target.parts])
        progress = self.progress[str(target)]
        progress.counts, progress.compared, progress.to_send = receipts.counts(), choice.counts, choice.to_send
        progress.finished = 0 < _accounted_for(receipts) == choice.to_send and not self._dry_run
        if progress.finished:
            # Whoever finished it may have been killed before that.
            choice.record(receipts)
        return choice, receipts

    def _import(self, target: Target, hook: Any, choice: Choice, receipts: Receipts) -> bool:
        """Import one target. :return: whether it is finished."""
        progress = self.progress[str(target)]
        if progress.finished:
            with closing(hook):
                progress.finished = self._settle(target, hook)
            return progress.finished
        if _accounted_for(receipts):
            log.info(
                "%s: resuming: %d of %d findings are acknowledged, %d rejected.",
                target,
                receipts.accepted,
                choice.to_send,
                receipts.rejected.total(),
            )
        before, began = progress.counts, self._clock()
        try:
            if self._note_refusals:
                forget_refusal(self.run_folder, target.account, target.region)
            with closing(hook):
                # A list, not a generator in any(): every product must be checked.
                subscribed = [
                    hook.preflight(product, enable_product=self._enable_product and not self._dry_run)
                    for product in self._products(target)
                ]
                if self._dry_run:
                    self._log_dry_run(target, choice)
                    progress.finished = True
                elif not choice.to_send:
                    choice.record(receipts)
                    progress.finished = True
                else:
                    denied_seconds = SUBSCRIBED_SECONDS if any(subscribed) else 0.0
                    self._send_and_record(target, hook, choice, receipts, denied_seconds=denied_seconds)
                progress.finished = progress.finished and self._settle(target, hook)
        except DestinationRefusedError as error:
            if not self._note_refusals:
                raise
            log.warning("%s refuses its findings: %s", target, error)
            note_refusal(self.run_folder, target.account, target.region, str(error))
            progress.finished = progress.refused = True
        finally:
            # Also after a failed attempt: the next one will not send again what this one has delivered.
            progress.counts = receipts.counts()
            self._on_finished(target, before, progress.counts, self._clock() - began)
        return progress.finished

    @staticmethod
    def _log_dry_run(target: Target, choice: Choice) -> None:
        log.info("dry_run: %d findings for %s are staged and were not sent.", target.findings, target)
        if choice.counts:
            would = ", ".join(f"{count} {name}" for name, count in choice.counts.items())
            log.info("%s: against what the hub holds, these findings are: %s.", target, would)

    def _send_and_record(
        self, target: Target, hook: Any, choice: Choice, receipts: Receipts, *, denied_seconds: float
    ) -> None:
        try:
            finished = self._send(hook, choice, receipts, denied_seconds=denied_seconds)
        except BaseException:
            # The error counts, whatever becomes of this: the next run looks for receipts that were not recorded.
            try:
                choice.record(receipts)
            except Exception as error:  # noqa: BLE001 - as above
                log.warning("%s: what was acknowledged is not in the finding index yet: %s", target, safe(error))
            raise
        choice.record(receipts)
        self.progress[str(target)].finished = finished

    def _products(self, target: Target) -> list[str]:
        """The products that the staged findings name, by ARN. The options may have changed since the findings were
        mapped.

        All findings of a part were mapped by one task, so the first one is enough.
        """
        firsts = (next(iter(lines), None) for _, lines in self._lines(target))
        arns = dict.fromkeys(product_of(first) for first in firsts if first is not None)
        return [arn or self._product for arn in arns] or [self._product]

    def _send(self, hook: Any, choice: Choice, receipts: Receipts, *, denied_seconds: float) -> bool:
        # A resumed import does not know when the last call was made, so the bucket starts empty.
        bucket = TokenBucket(filled=0 if receipts.calls else None)
        work = FindingsImport(
            sender=hook,
            receipts=receipts,
            batch_size=self._batch_size,
            in_flight=self._in_flight,
            bucket=bucket,
            denied_seconds=denied_seconds,
            clock=self._clock,
        )
        self._sending += 1
        self._active.add(work)
        try:
            if self._stopped:
                raise TemporaryError("The import was stopped.")
            finished = work.run(choice.lines(), choice.to_send, until=self._until)
            # The time may be up exactly with the last batch.
            return finished or _accounted_for(receipts) == choice.to_send
        finally:
            self._active.discard(work)

    def _lines(self, target: Target) -> Iterator[tuple[str, Iterator[bytes]]]:
        folder = self.run_folder.destination(target.account, target.region)
        for name, _ in target.parts:
            yield name, read_lines(folder / name)

    def _raise_failures(self) -> None:
        failed = {name: progress.error for name, progress in self.progress.items() if progress.error}
        if not failed:
            return
        finished = sum(progress.finished for progress in self.progress.values())
        raise kind_of(failed)(
            f"{len(failed)} of {len(self.targets)} destinations failed, {finished} were delivered. {listed(failed)}"
        )


def _accounted_for(receipts: Receipts) -> int:
    return receipts.accepted + receipts.rejected.total()
