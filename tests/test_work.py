from simfl.work import Kind, LayerWork, Manifest, Storage, TensorInfo, Workload


def info(nonzero: int = 5, name: str = "w") -> TensorInfo:
    return TensorInfo(name=name, shape=(2, 3), dtype="float32", nonzero=nonzero)


def test_sums_over_tensors() -> None:
    manifest = Manifest(tensors=(info(), info(6, "v")))
    assert (manifest.size, manifest.nonzero) == (12, 11)
    assert [t.pruned for t in manifest.tensors] == [True, False]
    assert Manifest().size == 0


def test_a_scalar_has_one_entry() -> None:
    assert TensorInfo(name="s", shape=(), dtype="float32", nonzero=1).size == 1


def test_macs_are_of_all_sample_passes() -> None:
    layer = LayerWork(name="w", kind=Kind.LINEAR, macs=7, weights=7, nonzero=2, storage=Storage.COO)
    assert Workload(layers=(layer, layer), samples=3, steps=1).macs == 42


def test_a_manifest_is_its_counts_and_metrics() -> None:
    assert Manifest(tensors=(info(),)) == Manifest(tensors=(info(),))
    assert Manifest(metrics={"loss": 1.0}) != Manifest(metrics={"loss": 2.0})
    assert len({Manifest(tensors=(info(),)), Manifest(tensors=(info(),)), Manifest()}) == 2
