"""Labelled samples and how they are read: folders, arrays, tables, mosaics, the Hub."""

from __future__ import annotations

from modhub.datasets.dataset import Dataset
from modhub.datasets.images import MOSAIC_FORMAT
from modhub.datasets.load import load_dataset
from modhub.datasets.samples import read_sample

__all__ = ["MOSAIC_FORMAT", "Dataset", "load_dataset", "read_sample"]
