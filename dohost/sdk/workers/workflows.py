"""The names of `workers.workflows`."""

from __future__ import annotations


class NonRetryableError(Exception):
    """A failure of a workflow step that trying again can't mend."""
