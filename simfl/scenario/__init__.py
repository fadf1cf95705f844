"""The scenario: one YAML file, read strictly, frozen."""

from simfl.scenario.load import load, loads
from simfl.scenario.schema import Scenario, json_schema

__all__ = ["Scenario", "json_schema", "load", "loads"]
