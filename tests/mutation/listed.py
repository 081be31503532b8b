"""All mutants."""

from __future__ import annotations

from tests.mutation.answers import ANSWERS
from tests.mutation.connection import CONNECTION
from tests.mutation.edges import EDGES
from tests.mutation.finer import FINER
from tests.mutation.finer_recovery import FINER_RECOVERY
from tests.mutation.inbound import INBOUND
from tests.mutation.recovery import RECOVERY
from tests.mutation.tasks import TASKS

__all__ = ["MUTANTS"]

MUTANTS = [*TASKS, *ANSWERS, *RECOVERY, *INBOUND, *CONNECTION, *EDGES, *FINER, *FINER_RECOVERY]
