"""Effects: what journeys ask of the world outside, performed and answered."""

from consumers.effects.metrics import EffectMetrics
from consumers.effects.runner import EffectRunner, EffectRunnerStalled
from orchestrator.effect_settings import EffectSettings, EffectTopics

__all__ = ["EffectMetrics", "EffectRunner", "EffectRunnerStalled", "EffectSettings", "EffectTopics"]
