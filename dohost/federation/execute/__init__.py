"""Execution: runs a plan through a `SubgraphCaller` and shapes the answer."""
