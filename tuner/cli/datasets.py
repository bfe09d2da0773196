"""The images that a sweep needs: read before anything is started, fetched by ``sparsweep data get``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sparsweep.trainables.data import (
    CorruptDataError,
    DataError,
    Dataset,
    ImageData,
    MissingDataError,
    data_root,
    datasets,
)
from sparsweep.trainables.data.download import DownloadableDataset
from sparsweep.trainables.specs.base import unknown_choice
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.graph import SweepState

Log = Callable[[str], None]
"""Says something of the course of things."""


def read_images(state: SweepState, extra_datasets: Iterable[Dataset], folder: str | None) -> dict[str, ImageData]:
    """The images of the runs that are ready, by their data set's JSON; WrongCall if some cannot be read.

    ``extra_datasets``: data sets that runs to come may need; ``folder``: where data sets lie, None for the default.
    """
    sources = [state.graph.runs[run].dataset_spec for run in state.ready]
    images = {}
    for key, dataset in {source.model_dump_json(): source for source in [*sources, *extra_datasets]}.items():
        try:
            images[key] = datasets.cast(dataset).load(None if folder is None else data_root(folder))
        except DataError as error:
            raise UsageError(str(error)) from None
    return images


def downloadable() -> dict[str, type[DownloadableDataset]]:
    """The data sets that can be fetched, by name."""
    classes = {name: datasets[name] for name in datasets.names()}
    return {name: cls for name, cls in classes.items() if issubclass(cls, DownloadableDataset)}


def fetch(name: str, folder: str | None, tell: Log) -> str:
    """Fetch a data set, unless it is there and whole; a line that says what is there. WrongCall if that fails."""
    if name not in downloadable():
        raise UsageError(f"NAME: {unknown_choice('data set to fetch', name, downloadable())}")
    cls = downloadable()[name]
    try:
        root = data_root(folder)
        images = _load_if_valid(name, root, tell)
        if images is None:
            tell(f"fetching {cls.url} into {root}")
            cls.fetch(root)
            images = datasets.parse(name).load(root)
    except DataError as error:
        raise UsageError(str(error)) from None
    return f"{name}: {len(images.train_images)} training and {len(images.test_images)} test images in {root}"


def _load_if_valid(name: str, root: Path, tell: Log) -> ImageData | None:
    """The images, or None if they must be fetched."""
    try:
        return datasets.parse(name).load(root)
    except MissingDataError:
        return None
    except CorruptDataError as error:
        tell(str(error))
        return None


def list_datasets(folder: str | None) -> list[dict[str, Any]]:
    """``name`` and ``folder`` of every data set that can be fetched; the folder is None where it is not there.

    Raises:
        WrongCall: The folder of all data sets is not known.
    """
    try:
        root = data_root(folder)
    except MissingDataError as error:
        raise UsageError(str(error)) from None
    folders = {name: root / cls.folder for name, cls in downloadable().items()}
    return [{"name": name, "folder": str(path) if path.is_dir() else None} for name, path in folders.items()]
