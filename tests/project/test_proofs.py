"""Every module has a test of its name in the tests of its room, or stands in a table beside the test that proves it."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.project.structure import ROOT, file_graph, files_of, imported, module_of, own_test, untested

FAR = 2  # imports that may lie between what a test names and what it proves

# Test file -> modules that have no test of their own name and are proved there; those of pipeline/ without that word.
PROOFS = {
    "bench/test_measure.py": "bench.advice bench.ceilings bench.results",
    "checks/test_audit.py": "checks.audit_results checks.dhash",
    "checks/test_verify.py": "checks.scan",
    "cli/test_main.py": "jobs.cli.app jobs.cli.datasets jobs.cli.inspect runtime.command runtime.signals",
    "cluster/test_cluster.py": "jobs.cluster.connect jobs.cluster.work",
    "convert/test_apart.py": "convert.altered convert.chosen",
    "convert/test_convert.py": "convert.options convert.plan convert.write_shard files.hashing",
    "convert/test_dry_run.py": "convert.estimate",
    "convert/test_repack.py": "formats.beton_merge sources.export",
    "dataset/test_joined.py": "dataset.sample_store",
    "dataset/test_manifest.py": "dataset.type_check",
    "dataset/test_split.py": "dataset.tables",
    "evaluation/test_compare.py": "jobs.report.comparison_page",
    "evaluation/test_curves.py": "jobs.report.training_charts jobs.report.vega",
    "evaluation/test_evaluate.py": "jobs.evaluate",
    "evaluation/test_metrics_by_property.py": "jobs.evaluation.data_summary jobs.report.evaluation_charts",
    "files/test_mapped_file.py": "jit.intrinsics jit.views",
    "files/test_output_folder.py": "files.atomic files.lease",
    "formats/test_webdataset.py": "formats.listing formats.loose_members",
    "image/test_jpeg_decoder.py": ("image.decoder image.jpeg.huffman_tables image.jpeg.idct image.jpeg.planes"),
    "image/test_jpeg_encoder.py": "image.jpeg.fdct image.jpeg.huffman_codes",
    "image/test_resample.py": "image.resample_simd",
    "image/test_resize.py": "sources.subset",
    "image/test_transcoder.py": "formats.containers image.jpeg.codec image.stored image.transcode_kernel",
    "interop/test_interop.py": (
        "interop.base interop.ffcv interop.ffcv_ops interop.make_loader interop.threads interop.webdataset "
        "interop.webdataset_stages"
    ),
    "jobs/test_demo.py": "convert.summary",
    "jit/test_njit.py": "jit.code_cache jit.turns",
    "loader/test_dataset.py": "loader.shown loader.stored_images",
    "loader/test_epochs.py": "loader.pairs",
    "loader/test_loader.py": "kernel.fused loader.batches",
    "model/test_lrn.py": "model.lrn_cpu",
    "model/test_split_classifier.py": "jobs.training.distributed model.parallel",
    "project/test_imports.py": "imagefeed.ffcv imagefeed.random imagefeed.webdataset",
    "report/test_evaluation_page.py": "jobs.report.html jobs.report.paper jobs.report.pictures",
    "report/test_schema.py": "jobs.report.comparison_schema jobs.report.json_schema",
    "runs/test_folder.py": "jobs.runs.versions",
    "serving/test_predictor.py": "jobs.cli.predict",
    "serving/test_server.py": "jobs.serving.neighbourhood",
    "sources/test_folders_and_tars.py": "sources.doubts sources.reading sources.whole",
    "sources/test_brought.py": (
        "sources.arrow sources.energon sources.found sources.litdata sources.mds sources.records "
        "sources.tfrecord sources.zip_archive"
    ),
    "sources/test_labels.py": "sources.class_order sources.label_column",
    "sources/test_layouts.py": (
        "formats.parquet_pages sources.class_folders sources.class_names sources.foreign_shards "
        "sources.ilsvrc2012 sources.ilsvrc2012_kaggle sources.ilsvrc2012_unpacked sources.image_list "
        "sources.image_table sources.locator sources.open_source sources.own_dataset sources.parquet "
        "sources.reader sources.split_names"
    ),
    "sources/test_left_out.py": "formats.left_out",
    "sources/test_own_folders.py": "files.marks",
    "sources/test_remote_sources.py": "files.ranged",
    "sources/test_sources.py": "sources.describe sources.ilsvrc2012_devkit",
    "synthetic/test_ilsvrc2012.py": "synthetic.drawing",
    "training/test_train.py": "convert.sample_data jobs.train jobs.training.config jobs.training.run",
    "loader/test_options.py": "loader.keywords loader.option_check",
    "loader/test_transform.py": "kernel.transform",
}


def full(module: str) -> str:
    """A module's name as `files_of` has it."""
    return module if module.split(".")[0] in ("model", "jobs", "imagefeed") else f"pipeline.{module}"


def named(test: Path, files: Mapping[str, Path]) -> set[str]:
    """The modules that a test file imports, or names in a text that another process runs."""
    text = test.read_text()
    said = {
        module
        for module, path in files.items()
        if f"imagefeed.{module.removeprefix('imagefeed.')}" in text or f'"jobs" / "{path.name}"' in text
    }
    return said | {found for name in imported(test) if (found := module_of(name, files))}


@cache
def reached(test: Path) -> set[str]:
    """The modules that a test names, and what these need, `FAR` imports on."""
    files = files_of(ROOT)
    graph, found = file_graph(files), named(test, files)
    for _ in range(FAR):
        found = found.union(*(graph[module] for module in found))
    return found


def test_every_module_has_a_test_of_its_name_or_says_which_test_proves_it() -> None:
    listed = [full(module) for modules in PROOFS.values() for module in modules.split()]
    missing = sorted(set(untested(ROOT, files_of(ROOT))) - set(listed))
    assert not missing, "write a test of its name, or name the test that proves it in PROOFS"


def test_the_table_names_each_module_once_and_none_that_has_a_test_of_its_name() -> None:
    listed = [full(module) for modules in PROOFS.values() for module in modules.split()]
    assert len(set(listed)) == len(listed)
    superfluous = sorted(set(listed) - set(untested(ROOT, files_of(ROOT))))
    assert not superfluous, "gone, or proved by a test of its name by now: take it out of PROOFS"


def test_each_proof_exists_and_reaches_what_it_proves() -> None:
    for file, modules in PROOFS.items():
        test = ROOT / "tests" / file
        assert test.is_file(), f"{file} is gone: say which test proves {modules}"
        far = {full(module) for module in modules.split()} - reached(test)
        assert not far, f"{file} does not come near {sorted(far)}"


def test_the_name_of_a_test_tells_its_module() -> None:
    files = files_of(ROOT)
    told = {
        module: str(own_test(module, files[module]))
        for module in ("pipeline.image.jpeg.decoder", "model.lrn", "jobs.shard", "jobs.report.html", "imagefeed.random")
    }
    assert told == {
        "pipeline.image.jpeg.decoder": "tests/image/test_jpeg_decoder.py",
        "model.lrn": "tests/model/test_lrn.py",
        "jobs.shard": "tests/jobs/test_shard.py",
        "jobs.report.html": "tests/report/test_html.py",
        "imagefeed.random": "tests/imagefeed/test_random.py",
    }
