"""The scenario as frozen pydantic models, and its JSON Schema.

Cut in five: what is learnt, on which platform, who talks to whom and when, how it is encoded, and
what is recorded. What is chosen by name is in `choices`.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import getdoc
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from simfl.errors import OptionError, ScenarioError
from simfl.options import Options, Positive, PositiveDuration, Share, Size
from simfl.scenario.choices import (
    AlgorithmChoice,
    AvailabilityChoice,
    CodecChoice,
    DatasetChoice,
    ModelChoice,
    NetworkChoice,
    PartitionChoice,
    Plugged,
    ProtocolChoice,
    SelectionChoice,
    TermChoice,
    TopologyChoice,
    fault,
)
from simfl.strict import Where


class Local(Options):
    """One local update.

    Attributes:
        optimizer: ``sgd``, or ``adam`` with its authors' defaults; it begins anew with each turn.
        momentum: of SGD.
        steps: mini-batches of one turn; or ``epochs``, passes over the client's data. One of them.
        loss: ``bce_with_logits`` is the mean over samples and classes on one-hot labels: with c
            classes its gradients are about c times smaller than those of cross-entropy.
        gradients: ``fresh`` starts each step from zero; ``accumulate`` zeroes once a turn, so that
            step j applies the sum of the first j gradients (PruneFL's public client, Jan 2020).
        order: ``shuffled`` draws a permutation each pass; ``sequential`` walks the client's slice
            as it was dealt, turn after turn (PruneFL's public client).
        rate_decay: factor of the learning rate from one round to the next.
        augment: of each batch, ``crop`` (moved by up to 4 pixels) and ``flip`` (mirrored or not).
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Positive
    steps: Positive | None = None
    epochs: Positive | None = None
    loss: Literal["cross_entropy", "bce_with_logits"] = "cross_entropy"
    gradients: Literal["fresh", "accumulate"] = "fresh"
    order: Literal["shuffled", "sequential"] = "shuffled"
    rate_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    augment: tuple[Literal["crop", "flip"], ...] = ()

    @field_validator("augment", mode="before")
    @classmethod
    def _as_tuple(cls, ways: object) -> object:
        return tuple(ways) if isinstance(ways, list) else ways

    @model_validator(mode="after")
    def _one_length(self) -> Local:
        if (self.steps is None) == (self.epochs is None):
            raise PydanticCustomError("length", "give either steps or epochs, and not both")
        if self.optimizer == "adam" and self.momentum:
            raise PydanticCustomError(
                "momentum", "momentum is SGD's; Adam has its own: leave it out"
            )
        return self


class Learning(Options):
    """What is learnt.

    Attributes:
        objective: terms of the local loss, beside the data's and the algorithm's own.
        quantize: round the values of matrices before they are sent, to those of this type.
    """

    dataset: DatasetChoice
    model: ModelChoice
    algorithm: AlgorithmChoice
    local: Local
    quantize: Literal["float16", "int8"] | None = None
    objective: tuple[TermChoice, ...] = ()

    @field_validator("objective", mode="before")
    @classmethod
    def _as_tuple(cls, terms: object) -> object:
        return tuple(terms) if isinstance(terms, list) else terms


class DeviceGroup(Options):
    """Some devices of one model; ``model`` is a name from ``simfl list devices`` or a YAML file.

    Attributes:
        role: ``train``, or ``aggregate``: it holds no data, and is between clients and the server.
        charge: share of its battery that each starts with; who has none left is away for good. Left
            out, they do not live on their battery.
    """

    model: str
    count: Positive = 1
    role: Literal["train", "aggregate"] = "train"
    charge: Annotated[float, Field(gt=0, le=1)] | None = None


class Variation(Options):
    """Which of the possible worlds, and what varies in it.

    Attributes:
        draw: 0 is the central estimate, in which devices are as their files say; from 1 on, each
            number is a possible world, with its own devices, steps, and losses of the network.
        model: the models of the devices are wrong by a factor.
        unit: boards of one model differ.
        step: a board's steps differ.
        throttling: some boards slow down when they have computed for long.
    """

    draw: Annotated[int, Field(ge=0)] = 0
    model: bool = True
    unit: bool = True
    step: bool = True
    throttling: bool = True


class Platform(Options):
    """Which devices, and the wires or the air between them.

    Attributes:
        network: left out, each client has an access link of its own, and so has the server.
        availability: when clients or peers are there; the server, and who aggregates, always are.
    """

    devices: dict[str, DeviceGroup]
    network: NetworkChoice = Field(
        default_factory=lambda: NetworkChoice.model_validate({"kind": "star"})
    )
    availability: AvailabilityChoice = Field(
        default_factory=lambda: AvailabilityChoice.model_validate({"name": "always"})
    )
    variation: Variation = Variation()

    @field_validator("devices")
    @classmethod
    def _some_of_each(cls, devices: dict[str, DeviceGroup]) -> dict[str, DeviceGroup]:
        if "server" in devices and devices["server"].count != 1:
            raise PydanticCustomError("servers", "the server's count must be 1")
        served = devices.get("server")
        if served is not None and (served.charge is not None or served.role != "train"):
            raise PydanticCustomError("server", "the server has no role or charge; leave them out")
        if all(group == "server" or of.role == "aggregate" for group, of in devices.items()):
            raise PydanticCustomError(
                "no_clients", "no client devices; add a group beside 'server'"
            )
        names = [node for node, _ in _nodes(devices)]
        for node in names:
            if names.count(node) > 1:
                message = f"two groups give a node '{node}'; rename one of them"
                raise PydanticCustomError("same_nodes", message)
        return devices

    @property
    def nodes(self) -> dict[str, str]:
        """Node name -> device group: the server, if any, then the others in their order."""
        return dict(_nodes(self.devices))

    @property
    def indices(self) -> dict[str, int]:
        """Node to logical index: 0, 1, ... who trains, -1 the server, -2, ... who aggregates."""
        trains, others = iter(range(len(self.nodes))), iter(range(-2, -2 - len(self.nodes), -1))
        return {
            node: -1
            if node == "server"
            else next(others if self.devices[group].role == "aggregate" else trains)
            for node, group in self.nodes.items()
        }

    @property
    def above(self) -> frozenset[str]:
        """Who does not train: the server, and who aggregates below it."""
        return frozenset(node for node, index in self.indices.items() if index < 0)

    @property
    def has_server(self) -> bool:
        """Whether there is a server with clients; else there are peers."""
        return "server" in self.devices

    @property
    def clients(self) -> int:
        """How many train: the clients or the peers."""
        return sum(index >= 0 for index in self.indices.values())


def _nodes(devices: dict[str, DeviceGroup]) -> list[tuple[str, str]]:
    """Names of nodes and their groups; several of one group are numbered."""
    found = [("server", "server")] if "server" in devices else []
    for group, choice in devices.items():
        if group != "server":
            several = choice.count > 1
            found += [(f"{group}-{i}" if several else group, group) for i in range(choice.count)]
    return found


class Stop(Options):
    """When the run ends; whichever comes first, and the protocol's rounds in any case.

    Attributes:
        accuracy: test accuracy to reach in ``consecutive`` evaluations in a row; the mean of the
            peers' where there is no server.
        time: simulated seconds.
        bytes: bytes sent in all, both directions.
    """

    accuracy: Share | None = None
    consecutive: Positive = 1
    time: PositiveDuration | None = None
    bytes: Size | None = None


class Record(Options):
    """What is written, and how often.

    Attributes:
        path: the trace; relative to the folder where simfl runs.
        evaluate_every: rounds between evaluations on the test set; null for none.
        checkpoint_every: rounds between saved states of the server or of the peers, from which a
            killed run resumes.
    """

    path: str
    evaluate_every: Positive | None = 1
    checkpoint_every: Positive = 50


class Scenario(Options):
    """One experiment.

    Attributes:
        repeats: possible worlds (draws 1, 2, ... of the platform's variation) in which the run is
            timed again when it has ended; nothing is trained for them.
        scaled: what was made smaller by ``--scale``, in words; nothing else sets it.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    seed: Annotated[int, Field(ge=0)]
    learning: Learning
    platform: Platform
    topology: TopologyChoice
    protocol: ProtocolChoice
    selection: SelectionChoice = Field(
        default_factory=lambda: SelectionChoice.model_validate({"name": "random"})
    )
    codec: CodecChoice
    stop: Stop = Stop()
    record: Record
    repeats: Annotated[int, Field(ge=0)] = 0
    scaled: str | None = None
    _place: Callable[[Where], str] | None = PrivateAttr(default=None)
    _folder: Path = PrivateAttr(default_factory=Path)

    def __eq__(self, other: object) -> bool:
        # where a scenario was read is no part of it
        return isinstance(other, Scenario) and self.written() == other.written()

    @property
    def folder(self) -> Path:
        """What the paths of its files are relative to: where it was read."""
        return self._folder

    def located(self, where: Where, message: str) -> ScenarioError:
        """A mistake that shows only when things are put together, with the place of its key."""
        place = self._place(where) if self._place else self.name
        return ScenarioError(f"{place}: {'.'.join(map(str, where))}: {message}")

    @model_validator(mode="after")
    def _server_or_peers(self) -> Scenario:
        """A server where the protocol has one, and nowhere else."""
        where, protocol = ("platform", "devices"), self.protocol.name
        has_server = self.platform.has_server
        if has_server != getattr(self.protocol.options, "needs_server", True):
            if has_server:
                message = f"protocol '{protocol}' has peers only; remove the group 'server'"
                raise fault((*where, "server"), message)
            message = f"protocol '{protocol}' has a server; add server: {{model: ...}}"
            raise fault(where, message)
        between = [g for g, of in self.platform.devices.items() if of.role == "aggregate"]
        if bool(between) != getattr(self.protocol.options, "needs_aggregators", False):
            if between:
                message = f"protocol '{protocol}' has nobody who aggregates but the server"
                raise fault((*where, between[0], "role"), f"{message}; take 'hierarchical'")
            message = f"protocol '{protocol}' has aggregators; give a group role: aggregate"
            raise fault(where, message)
        return self

    @model_validator(mode="after")
    def _network_suits(self) -> Scenario:
        """A network speaks of the nodes that are there."""
        try:
            self.platform.network.options.suits(self.platform.nodes)  # type: ignore[attr-defined]
        except OptionError as error:
            where = ("platform", "network", *error.option.split("."))
            raise fault(where, error.message) from error
        return self

    def written(self) -> dict[str, Any]:
        """The resolved scenario: every default filled in, quantities with units, as in YAML."""
        data = self.model_dump(mode="json")
        data["learning"]["dataset"] = self.learning.dataset.written()
        data["learning"]["model"] = self.learning.model.written()
        data["learning"]["algorithm"] = self.learning.algorithm.written()
        data["learning"]["objective"] = [term.written() for term in self.learning.objective]
        data["platform"]["network"] = self.platform.network.written()
        data["platform"]["availability"] = self.platform.availability.written()
        for part in ("topology", "protocol", "selection", "codec"):
            data[part] = getattr(self, part).written()
        return data

    def as_yaml(self) -> str:
        """The resolved scenario as text: what a trace carries."""
        return yaml.safe_dump(self.written(), sort_keys=False)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a scenario, each plug-in's options included, for editors."""
    schema = Scenario.model_json_schema(mode="validation")
    definitions = schema["$defs"]
    choices: tuple[type[Plugged], ...] = (
        *(DatasetChoice, PartitionChoice, ModelChoice, AlgorithmChoice, TermChoice, CodecChoice),
        *(TopologyChoice, ProtocolChoice, SelectionChoice, NetworkChoice, AvailabilityChoice),
    )
    for choice in choices:
        kind = choice.registry
        own = dict(definitions[choice.__name__]["properties"])
        del own["options"], own[choice.tag]
        variants = []
        for name in kind.names():
            options = kind.get(name).options.model_json_schema(mode="validation")
            definitions.update(options.pop("$defs", {}))
            properties = {choice.tag: {"const": name}} | own | options.get("properties", {})
            options["properties"] = properties
            options["required"] = [choice.tag, *options.get("required", [])]
            variants.append(options)
        definitions[choice.__name__] = {"description": getdoc(choice), "oneOf": variants}
    for short in (PartitionChoice, SelectionChoice, AvailabilityChoice):
        kind = short.registry
        alone = [name for name in kind.names() if not kind.get(name).needs_options]
        definitions[short.__name__]["oneOf"].append({"enum": alone})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
