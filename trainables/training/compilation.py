"""Compilation of networks with ``torch.compile``, with a persistent cache on disk."""

from __future__ import annotations

import os
from collections.abc import Callable

from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.storage.filesystem import expand_home

COMPILE_CACHE = "~/.cache/sparsweep/inductor"
COMPILE_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def compiled(model: nn.Module, batch_size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Compile ``model`` for one batch size. Later processes reuse the compiled code from disk.

    Other sizes run eagerly: an epoch has at most one such batch, and compilation would cost more time than it saves.

    Args:
        model: Network to compile.
        batch_size: Images per batch.
    """
    use_persistent_inductor_cache()
    # PyTorch compiles a function at most eight times. The reset excludes earlier runners from this limit.
    torch.compiler.reset()
    fast = torch.compile(model, dynamic=False)
    return lambda images: fast(images) if len(images) == batch_size else model(images)


def use_persistent_inductor_cache() -> None:
    """Keep compiled code in a persistent folder, unless the user sets the folder.

    PyTorch writes its own default, a temporary folder, into the same variable when its compiler is imported.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # slow import, needed only to compile

    if os.environ.get(COMPILE_CACHE_VARIABLE, default_cache_dir()) == default_cache_dir():
        os.environ[COMPILE_CACHE_VARIABLE] = str(expand_home(COMPILE_CACHE))
