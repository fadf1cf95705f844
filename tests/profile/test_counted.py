from simfl.profile.counted import count
from simfl.work import Kind, Storage


def test_a_loop_of_one_layer_has_a_gradient_of_its_input() -> None:
    case = {"layers": [["linear", 64, 32]], "input": [64], "batch": 8}
    [alone] = count(case)
    [first] = count(case | {"first": True})
    assert (alone.products, first.products) == (2, 1)
    assert (alone.macs, alone.parameters, alone.tensors) == (2048, 2080, 2)
    [relu] = count({"layers": [["relu"]], "input": [4, 3, 3], "batch": 8})
    assert (relu.kind, relu.products, relu.outputs) == (Kind.ACTIVATION, 1, 36)


def test_sparse_and_masked_layers_are_told() -> None:
    [coo] = count({"layers": [["coo", 100, 50, 0.1]], "input": [100], "batch": 1})
    assert (coo.storage, coo.nonzero, coo.weights) == (Storage.COO, 500, 5000)
    [csr] = count({"layers": [["csr", 100, 50, 0.01]], "input": [100], "batch": 1})
    assert (csr.storage, csr.nonzero) == (Storage.CSR, 50)
    case = {"layers": [["masked_conv", 8, 8, 3, 0.5]], "input": [8, 6, 6], "batch": 1}
    [masked] = count(case)
    assert (masked.storage, masked.kind, masked.nonzero) == (Storage.MASKED, Kind.CONV, 576)


def test_a_network_is_counted_in_order() -> None:
    layers = [["conv", 1, 4, 3], ["norm", 4], ["relu"], ["maxpool", 2], ["mean"], ["flatten"]]
    found = count({"layers": layers, "input": [1, 8, 8], "batch": 2, "first": True})
    kinds = [Kind.CONV, Kind.NORM, Kind.ACTIVATION, Kind.POOL, Kind.OTHER]
    assert [layer.kind for layer in found] == kinds
