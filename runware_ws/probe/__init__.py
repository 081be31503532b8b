"""Questions to a live server about what its documentation leaves open.

Each :class:`Question` runs an experiment over raw sockets and returns a :class:`Verdict`.
``docs/probe.md`` says what each answer means for the client. ::

    lab = Lab(url, KeySource(None), Config(), Pace())
    await survey(lab, Plan.of(QUESTIONS, lab.pace), lambda question, verdict: ...)
"""

from runware_ws._io.keys import ENV, KeySource
from runware_ws.probe.lab import Pace
from runware_ws.probe.questions import QUESTIONS, Plan, survey
from runware_ws.probe.verdict import UNCLEAR, Experiment, Lab, Question, Ran, Verdict

__all__ = [
    "ENV",
    "QUESTIONS",
    "UNCLEAR",
    "Experiment",
    "KeySource",
    "Lab",
    "Pace",
    "Plan",
    "Question",
    "Ran",
    "Verdict",
    "survey",
]
