"""A dataset of Analytics Engine: data points are taken and kept nowhere, as by Cloudflare's local tools."""

from __future__ import annotations


class AnalyticsEngineDataset:
    """`env.DATASET.writeDataPoint({"blobs": […], "doubles": […], "indexes": […]})`."""

    def __init__(self, dataset: str) -> None:
        self._dataset = dataset

    def writeDataPoint(self, point: object = None, /, **fields: object) -> None:
        """Take a data point; nothing about it can fail."""

    def __repr__(self) -> str:
        return f"<AnalyticsEngineDataset {self._dataset}>"
