"""The input of ``run``: lines of tasks, in every form that people have them in.

:class:`Source` reads a file, or standard input, as often as is needed, and holds no more of it in
memory than a line. A :class:`Line` is one task of it, known by its content. ``docs/batch.md``
tells the forms.
"""

from runware_ws.batch.reading.errors import InputError
from runware_ws.batch.reading.forms import INPUT_FORMATS
from runware_ws.batch.reading.identity import LineId, LineKey
from runware_ws.batch.reading.source import Facts, Line, Source

__all__ = ["INPUT_FORMATS", "Facts", "InputError", "Line", "LineId", "LineKey", "Source"]
