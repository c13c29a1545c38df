"""Holds the parts that handlers need. `application` fills it. It holds no state of a single request. Event loop."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cache.durable_tier import Originals
from cache.variants.bounded_tier import Variants
from cache.variants.memory import MemoryTier
from proxy.config import Config
from proxy.images.pool.shared_decodes import Batches
from proxy.images.pool.workers import RenderPool
from proxy.observe.metrics import Metrics
from proxy.policy import Policy
from proxy.services.articles.keptpictures import KeptPictures
from proxy.services.articles.rewritepool import RewritePool
from proxy.services.desk.history import FigureHistory
from proxy.services.desk.sessions import Sessions
from proxy.services.jobs.running import JobRunner
from proxy.services.serving.kept import KeptOriginals
from proxy.services.serving.way import PictureWay
from proxy.services.troubles.overloads import Overloads
from proxy.services.upkeep.archived import ArchiveSearch
from proxy.services.upkeep.byhand import ByHand
from proxy.services.upkeep.purging import Purging
from proxy.signing import Signer
from proxy.web.accounts import Accounts
from proxy.web.answering.accel import HandOver
from proxy.web.connections.clients import Clients, clients_of
from proxy.web.connections.job_streams import JobStreams
from proxy.web.connections.streams import Streams
from proxy.web.targets.plans import Plans


@dataclass(slots=True)
class Context:
    """The parts of a running service. `config`, `policy`, `signer`, `plans` and `clients` change at a reload."""

    config: Config
    policy: Policy
    signer: Signer | None
    plans: Plans
    originals: KeptOriginals
    variants: PictureWay
    purging: Purging
    rewriting: RewritePool
    pictures: KeptPictures
    kept: Originals
    variant_store: Variants
    memory: MemoryTier
    pool: RenderPool
    batches: Batches
    overloads: Overloads
    metrics: Metrics
    instance_id: str
    accounts: Accounts
    streams: Streams
    hand_over: HandOver
    sessions: Sessions
    history: FigureHistory
    archive: ArchiveSearch
    by_hand: ByHand
    jobs: JobRunner
    job_streams: JobStreams
    wants_pauses: Callable[[str], bool]
    note_use: Callable[[str], None]
    clients: Clients | None = None
    now: Callable[[], float] = time.time
    shutting_down: bool = False
    _ids: itertools.count[int] = field(default_factory=itertools.count)
    _id_prefix: str = field(default_factory=lambda: secrets.token_hex(5))

    def reconfigure(self, config: Config, policy: Policy, signer: Signer | None) -> None:
        """Use a new configuration for requests that arrive from now on."""
        self.clients = clients_of(config.server, self.clients)
        self.accounts.reconfigure(config)
        self.streams.reconfigure(config.server)
        self.hand_over.reconfigure(config.server)
        self.archive.reconfigure(config.fetch)
        self.config, self.policy, self.signer = config, policy, signer
        self.plans = Plans(config, policy, signer)

    def next_request_id(self) -> str:
        """Return an identifier that the log and the answer of one request share."""
        return f"{self._id_prefix}{next(self._ids):06x}"
