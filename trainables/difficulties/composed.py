"""Composition of difficulties: a selection, label noise, a corruption and an attack.

Example: ``{name: composed, selection: {name: el2n}, images: {name: corruption, severity: 3}, attack: adversarial}``
trains on the hardest samples by EL2N, corrupted, with every batch attacked. Samples are ranked on clean images and true
labels. Each part acts as it does alone.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from sparsweep.trainables.difficulties.base import Difficulty, PrerequisiteOutputs, difficulties
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.losses import TrainingLoss
from sparsweep.trainables.pipeline.network import AutocastNetwork
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.parts import EvalImages
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec

DifficultyStage = Annotated[SerializeAsAny[Difficulty], BeforeValidator(difficulties.parse)]
OptionalStage = Annotated[
    SerializeAsAny[Difficulty] | None,
    BeforeValidator(lambda value: None if value is None else difficulties.parse(value)),
]


@difficulties.register
class Composed(Difficulty):
    """Selection combined with label noise, a corruption and an attack, each optional."""

    name: Literal["composed"] = "composed"
    selection: DifficultyStage = Field(
        default_factory=lambda: difficulties.parse("none"), description="selection of the training samples"
    )
    labels: OptionalStage = Field(default=None, description="noise of the training labels")
    images: OptionalStage = Field(default=None, description="corruption of the images")
    attack: OptionalStage = Field(default=None, description="attack on every batch")

    @property
    def parts(self) -> dict[str, Difficulty]:
        """The given difficulties by stage, in the order in which they act."""
        given = {"selection": self.selection, "labels": self.labels, "images": self.images, "attack": self.attack}
        return {stage: part for stage, part in given.items() if part is not None}

    @model_validator(mode="after")
    def _stages_fit(self) -> Composed:
        for stage, part in self.parts.items():
            if part.stage != stage or part.name == self.name:
                choices = ", ".join(name for name in difficulties.names() if difficulties[name].stage == stage)
                raise SpecError(
                    stage, f"{part.name} does not act at this stage (got {stage!r}). Choose from {choices}."
                )
        if len(self.parts) < 2:
            raise SpecError(
                "selection", "a composition needs two parts (got selection only). Add labels, images or attack."
            )
        return self

    @property
    def table_name(self) -> str:
        return "+".join(part.table_name for part in self.parts.values() if part.name != "none")

    @property
    def eval_images(self) -> EvalImages:
        return self.images.eval_images if self.images else "clean"

    def check_dependencies(self) -> None:
        for part in self.parts.values():
            part.check_dependencies()

    def check(self, spec: TrialSpec) -> None:
        for stage, part in self.parts.items():
            try:
                part.check(spec)
            except SpecError as error:
                raise error.moved("difficulty", f"difficulty.{stage}") from None

    def num_scoring_runs(self, spec: TrialSpec) -> int:
        return sum(part.num_scoring_runs(spec) for part in self.parts.values())

    def prerequisites(self, spec: TrialSpec) -> tuple[RunSpec, ...]:
        return tuple(run for part in self.parts.values() for run in part.prerequisites(spec))

    def select(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        return self.selection.select(spec, labels, sources)

    def transform(self, spec: TrialSpec, data: DeviceData, sources: PrerequisiteOutputs) -> DeviceData:
        for part in self.parts.values():
            data = part.transform(spec, data, sources)
        return data

    @property
    def loss_fn(self) -> TrainingLoss:
        return self.attack.loss_fn if self.attack else TrainingLoss()

    @property
    def measured(self) -> frozenset[str]:
        return frozenset[str]().union(*(part.measured for part in self.parts.values()))

    @property
    def learnable(self) -> float | None:
        shares = [part.learnable for part in self.parts.values()]
        known = [share for share in shares if share is not None]
        return math.prod(known) if len(known) == len(shares) else None

    def should_attack(self, epoch: int, last: bool) -> bool:
        return self.attack is not None and self.attack.should_attack(epoch, last)

    def attacked_logits(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, seed: int
    ) -> torch.Tensor:
        assert self.attack is not None
        return self.attack.attacked_logits(network, images, labels, seed)

    def final_accuracies(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, seed: int
    ) -> dict[str, float]:
        return self.attack.final_accuracies(network, images, labels, seed) if self.attack else {}
