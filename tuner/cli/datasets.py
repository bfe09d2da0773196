"""Images of a sweep: loaded before Ray starts, downloaded by ``sparsweep data get``."""

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
"""Function that prints a progress message."""


def read_images(state: SweepState, extra_datasets: Iterable[Dataset], folder: str | None) -> dict[str, ImageData]:
    """Load the images of all ready runs.

    Args:
        state: The sweep's runs.
        extra_datasets: Data sets that later runs may need.
        folder: Folder of data sets, None for the default.

    Returns:
        Images by the JSON of their data set.

    Raises:
        UsageError: A data set is missing or damaged.
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
    """Return the downloadable data sets by name."""
    classes = {name: datasets[name] for name in datasets.names()}
    return {name: cls for name, cls in classes.items() if issubclass(cls, DownloadableDataset)}


def fetch(name: str, folder: str | None, tell: Log) -> str:
    """Download a data set unless it is already complete.

    Args:
        name: The data set.
        folder: Folder of data sets, None for the default.
        tell: Prints progress messages.

    Returns:
        One line with the number of images and the folder.

    Raises:
        UsageError: The name is unknown or the download fails.
    """
    if name not in downloadable():
        raise UsageError(f"NAME: {unknown_choice('downloadable data set', name, downloadable())}")
    cls = downloadable()[name]
    try:
        root = data_root(folder)
        images = _load_if_valid(name, root, tell)
        if images is None:
            tell(f"downloading {cls.url} to {root}")
            cls.fetch(root)
            images = datasets.parse(name).load(root)
    except DataError as error:
        raise UsageError(str(error)) from None
    return f"{name}: {len(images.train_images)} training and {len(images.test_images)} test images in {root}"


def _load_if_valid(name: str, root: Path, tell: Log) -> ImageData | None:
    """Return the images, or None if they must be downloaded."""
    try:
        return datasets.parse(name).load(root)
    except MissingDataError:
        return None
    except CorruptDataError as error:
        tell(str(error))
        return None


def list_datasets(folder: str | None) -> list[dict[str, Any]]:
    """Return ``name`` and ``folder`` of every downloadable data set; ``folder`` is None if it does not exist.

    Raises:
        UsageError: The default folder of data sets is unknown.
    """
    try:
        root = data_root(folder)
    except MissingDataError as error:
        raise UsageError(str(error)) from None
    folders = {name: root / cls.folder for name, cls in downloadable().items()}
    return [{"name": name, "folder": str(path) if path.is_dir() else None} for name, path in folders.items()]
