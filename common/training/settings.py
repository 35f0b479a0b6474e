"""How often the trainer evaluates, saves and logs."""

from __future__ import annotations

from dataclasses import dataclass

from common.settings.fields import setting
from common.settings.groups import DispatchSettings, PaceSettings
from common.settings.reading import check_group


@dataclass(frozen=True)
class TrainSettings(PaceSettings, DispatchSettings):
    """How often the trainer evaluates, saves and logs. None of it changes the trained numbers,
    except that early stopping and the plateau rule count evaluations, and `accumulate`."""

    checkpoint_every_steps: int = setting(0, "beside those of evaluations; 0 = never", least=0)
    eval_every_steps: int = setting(0, "above 0: instead of eval_every_epochs", least=0)
    probe_every_steps: int = setting(
        0, "between two calls of a stage's `probe`; 0 = never", least=0
    )
    show_progress: bool = True
    tensorboard: bool = True

    def __post_init__(self) -> None:
        check_group(self)
