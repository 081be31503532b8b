"""A deterministic simulation: the real client against a model server, in virtual time, from a seed.

Each seed draws a kind of server (every choice that the protocol's facts leave
open), the client's options, what the program does and what goes wrong; then
faults stop, and everything must come to its end. The invariants are asserted
all the time and at the end. Nothing here shares a line with the client's core
or with the emulator, but for the client that runs.

    python -m tests.simulation --seed 820              replay one seed
    python -m tests.simulation --seed 820 --story      tell the story of a good run, too
    python -m tests.simulation --seeds 100000 --jobs 2 a long run, with the table of coverage
    python -m tests.simulation --without stall         leave a trait, or a kind of fault, out

A failing seed is made smaller (actions, faults and traits are left out while the
same invariant breaks), and the story of the smallest run is printed. How to read a
line: seconds since the start; who; what.

    action   the program around the client: run, submit, iterate, stream, map, cancel, drain, close
    fault    what goes wrong, and for how long
    wire     sockets: opened, left by the client, ended as the client sees it
    http     posts: begun, and how they ended
    server   the model server: received, answers, replays, conflict, refuses
    client   frames as the core hands them out, and the ends of tasks
    event    what ``client.events()`` tells
    BROKEN   an invariant, by its name

Tasks go by the first eight digits of their taskUUID; the plan of each (what
the server does with it) stands above the story.

Where to look: ``loop`` virtual time · ``wire`` sockets, ``http`` posts · ``server``,
``reading``, ``questions``, ``works``, ``streams``, ``streaming``, ``traits`` the model
server · ``scenario`` what a seed draws · ``program``, ``readers``, ``listeners``, ``maps``
what the program does · ``faults`` what goes wrong · ``invariants``, ``posts`` checks at
every input, ``judge`` checks at ends · ``play`` one run · ``batch``, ``shrink``,
``coverage`` many runs.
"""
