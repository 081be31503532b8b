"""The bare core under *all* orders of its inputs, for a few tasks and one cut.

Two tasks, two sockets, and a server that keeps *delivered*, *read* and *registered* apart:
``world.py`` has it, ``explore.py`` goes every way that it can go, and nothing is drawn by lot.

In every state must hold:

* I1: an accepted task ends exactly once, and each has ended where a way ends;
* I2: a task has its own results, and no other's;
* I3: each result is there once;
* I5: no task is executed twice;
* no copy is sent of a task that arrived, and who was told *not submitted* was not executed.

**I5 rests on one assumption, and it is about time.** A server that has answered a question on the
current socket at time *t* has, by ``t + resend_after``, read and registered every copy of a task
that was delivered to it before *t*, on whichever socket. Until it answers, it may leave unread
what it likes, for as long as it likes; and having read a task, it may refuse no copy of it until
it is registered.

That no copy is *needless* rests on a second one, and only that: a task that was delivered is done
``usual_duration`` after it was written. Without it (``punctual=False``) copies of running
tasks are sent, and refused.

How the ways are made fewer, without losing any:

* What is in flight to the server differs from what lies in its kernel only where the socket is
  cut. So how much had been delivered is chosen at the cut, for every number of messages.
* Once no cut is left, an arrival at the client disturbs nothing that the server may do, and is not
  disturbed by it. So it comes first.
* Transit takes no time: time passes only when nothing is in flight to the client. A server that
  takes its time is a server that reads, registers or answers late.
"""
