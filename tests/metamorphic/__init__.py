"""Messages that mean the same have the same outcome.

``conversations.py`` has small lives of a client. ``grammar.py`` writes each message that the
server says in them in every other way that the protocol allows: fields that are optional are
added, dropped, null and in another order, at every place; frames are split and merged; errors are
spelled otherwise; what concerns nobody comes in between. Whatever it is, the callers' tasks end
the same: the same state, the same items, the same error.

All of it is listed, nothing is drawn by lot.
"""
