"""What a training step does, counted from shapes; here against arithmetic and PyTorch itself."""

from math import prod

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from simfl.cost.memory import held_bytes
from simfl.errors import CostError
from simfl.models.count import workload
from simfl.registry import MODELS
from simfl.vision import torchvision
from simfl.work import Kind, Storage, Workload


def chain() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 5, groups=4),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(8 * 10 * 10, 10),
    )


def kinds(work: Workload) -> list[Kind]:
    return [layer.kind for layer in work.layers]


def test_each_operation_of_a_chain_has_its_numbers() -> None:
    conv, norm, relu, pool, depthwise, *drop, linear = workload(
        chain(), (1, 28, 28), batch=3
    ).layers
    assert (conv.kind, conv.macs, conv.products) == (Kind.CONV, 36 * 28 * 28, 1)
    assert (conv.inputs, conv.outputs, conv.channels, conv.window) == (784, 3136, 1, 9)
    assert (conv.weights, conv.parameters, conv.tensors, conv.nonzero) == (36, 40, 2, 36)
    assert (norm.kind, norm.weights, norm.parameters, norm.outputs) == (Kind.NORM, 0, 8, 3136)
    assert (relu.kind, relu.inputs, relu.outputs) == (Kind.ACTIVATION, 3136, 3136)
    assert (pool.kind, pool.inputs, pool.outputs) == (Kind.POOL, 3136, 784)
    assert (depthwise.kind, depthwise.macs) == (Kind.DEPTHWISE, 8 * 25 * 10 * 10)
    assert (depthwise.products, depthwise.channels) == (2, 1)
    assert {layer.kind for layer in drop} == {Kind.OTHER}
    assert (linear.kind, linear.name, linear.macs) == (Kind.LINEAR, "7.weight", 8000)


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "mobilenet_v2", "squeezenet1_1"])
@pytest.mark.parametrize("batch", [2, 5])
def test_the_products_of_known_networks_are_pytorchs_own(name: str, batch: int) -> None:
    build = getattr(torchvision().models, name)
    with torch.device("meta"):
        module, samples = build().train(), torch.empty(batch, 3, 64, 64)
    counter = FlopCounterMode(display=False)
    with counter:
        output = module(samples)
    work = workload(module, (3, 64, 64), batch=batch)
    assert 2 * work.macs == counter.get_total_flops()
    if name != "mobilenet_v2":  # going back through grouped convolutions, PyTorch counts too much
        with counter:
            output.sum().backward()
        back = sum(2 * layer.macs * layer.products for layer in work.layers)
        assert back * work.samples == counter.get_total_flops()
    assert sum(n.parameters for n in work.layers) == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", MODELS.names())
def test_the_operations_of_a_packaged_model_have_all_its_parameters(name: str) -> None:
    plugin = MODELS.get(name)
    shape = (3, 32, 32) if name in ("resnet18", "vgg11_small_fc") else (1, 28, 28)
    model = plugin.build(plugin.options(), classes=10, sample_shape=shape)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in model.build().parameters())
    assert sum(operation.parameters for operation in model.operations) == parameters
    declared = [o.name for o in model.operations if o.weights]
    assert [layer.weight for layer in model.layers] == declared


def test_a_mask_in_the_forward_pass_is_seen() -> None:
    module = chain()
    for layer in (module[0], module[7]):
        prune.random_unstructured(layer, "weight", 0.5)
    layers = {n.name: n.storage for n in workload(module, (1, 28, 28), batch=1).layers if n.weights}
    assert layers == {
        "0.weight_orig": Storage.MASKED,
        "4.weight": Storage.DENSE,
        "7.weight_orig": Storage.MASKED,
    }


def test_weights_said_to_be_sparse_count_what_is_stored() -> None:
    module = chain()
    with torch.no_grad():
        module[7].weight[:, :700] = 0
    work = workload(module, (1, 28, 28), batch=4, storage={"7.weight": Storage.CSR})
    assert (work.layers[-1].storage, work.layers[-1].nonzero) == (Storage.CSR, 1000)
    assert work.layers[0].storage is Storage.DENSE
    with pytest.raises(CostError, match="no operation has the weight fc; see named_parameters"):
        workload(module, (1, 28, 28), batch=4, storage={"fc": Storage.CSR})


def test_narrower_layers_count_less() -> None:
    wide, narrow = (
        workload(
            nn.Sequential(nn.Conv2d(3, n, 3), nn.ReLU(), nn.Conv2d(n, 8, 3)), (3, 16, 16), batch=1
        )
        for n in (32, 16)
    )
    assert wide.macs == 2 * narrow.macs
    assert wide.layers[1].outputs == 2 * narrow.layers[1].outputs


def test_what_is_frozen_goes_back_no_further() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2))
    assert [n.products for n in workload(module, (4,), batch=1).layers] == [1, 2, 2]
    module[0].requires_grad_(False)
    with torch.no_grad():
        assert [n.products for n in workload(module, (4,), batch=1).layers] == [0, 1, 2]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(8, 16, batch_first=True)
        self.out = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(self.cells(x)[0][:, -1])
        return y


def test_recurrence_and_attention_are_products_too() -> None:
    work = workload(Recurrent(), (5, 8), batch=2)
    assert work.macs == 2 * (5 * (4 * 16 * 8 + 4 * 16 * 16) + 16 * 3)
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    macs = 7 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 2 * 7 * 7 * 8
    assert workload(encoder, (7, 16), batch=1).macs == macs


def test_indices_for_inputs() -> None:
    module = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    assert workload(module, (3,), batch=2, dtype=torch.long).macs == 2 * prod((12, 2))


def test_the_module_stays_as_it_was() -> None:
    module = chain().eval()
    prune.l1_unstructured(module[0], "weight", 0.5)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    workload(module, (1, 28, 28), batch=3)
    assert not module.training
    assert module[0].weight.device.type == "cpu"
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (Branching(), (3,), "Branching cannot be counted on an input of 3: Tensor.item"),
        (nn.Linear(3, 4), (5,), "Linear cannot be counted on an input of 5: "),
        (nn.Conv2d(1, 1, 5), (1, 3, 3), "Conv2d cannot be counted on an input of 1x3x3: "),
    ],
)
def test_what_does_not_run_on_shapes_is_told(
    module: nn.Module, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(CostError) as error:
        workload(module, shape, batch=2)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


class Reuse(nn.Module):
    """One layer three times; what it reads at first is data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(10, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(self.layer(self.layer(x)))
        return out


class Einsum(nn.Module):
    """A weight whose axes are swapped before it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 10, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,kij->bkj", x, self.weight)


def embedding_tied_to_the_output() -> nn.Module:
    embedding, output = nn.Embedding(100, 8), nn.Linear(8, 100, bias=False)
    output.weight = embedding.weight
    return nn.Sequential(embedding, output)


@pytest.mark.parametrize(
    ("module", "shape", "dtype"),
    [
        (Reuse(), (10,), torch.float32),
        (Einsum(), (10,), torch.float32),
        (nn.RNN(8, 16, num_layers=2, batch_first=True), (7, 8), torch.float32),
        (nn.LSTM(8, 16, bidirectional=True, batch_first=True), (7, 8), torch.float32),
        (embedding_tied_to_the_output(), (7,), torch.long),
        (nn.utils.parametrizations.weight_norm(nn.Linear(10, 7)), (10,), torch.float32),
    ],
)
def test_every_parameter_is_held_once(
    module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    work = workload(module, shape, batch=6, dtype=dtype)
    parameters = list(module.parameters())
    assert sum(layer.parameters for layer in work.layers) == sum(p.numel() for p in parameters)
    assert sum(layer.tensors for layer in work.layers) == len(parameters)
    assert held_bytes(work) == 4 * sum(p.numel() for p in parameters)


@pytest.mark.parametrize(("storage", "each_bytes"), [(Storage.COO, 20), (Storage.MASKED, 12)])
def test_a_shared_weight_is_stored_once_however_it_is_held(
    storage: Storage, each_bytes: int
) -> None:
    module = Reuse()
    work = workload(module, (10,), batch=6, storage={"layer.weight": storage})
    assert len(work.layers) == 3
    assert held_bytes(work) == 100 * each_bytes + 4 * 10


def test_what_a_network_itself_raises_is_told() -> None:
    class Picky(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError

    with pytest.raises(CostError, match="Picky cannot be counted on an input of 3: AssertionError"):
        workload(Picky(), (3,), batch=1)
