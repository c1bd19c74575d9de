"""Tables of results, in Markdown."""

from __future__ import annotations

from typing import Any

from measuring.result_files import counted
from reporting.contestants import OURS, TITLES

_OWN_CEILINGS = (
    "multiply-adds on registers for GFLOP/s, those of integers for products of integers, a copy of 128 MB "
    "for GB/s, which what lies in a cache exceeds. Counted is the arithmetic that is done: pooling does a "
    "fraction of what its definition asks for."
)
_CEILINGS_OF_FLOATS = (
    "multiply-adds on registers for GFLOP/s; a copy of 128 MB for GB/s, which what lies in a cache exceeds. "
    "(Pooling exceeds its peak because it does a fraction of the arithmetic that its definition counts, "
    "operations on integers because the peak is that of float32.)"
)
"""What was measured until integers and pooling had ceilings of their own."""


def models_tables(results: dict[str, Any]) -> str:
    """Everything that is shown of `models`: where it was measured, speed, start-up and memory."""
    return "\n\n".join([conditions(results), speed_table(results), start_up_table(results)])


def operations_tables(results: dict[str, Any]) -> str:
    """Everything that is shown of `operations`."""
    ceilings = _OWN_CEILINGS if results.get("own_ceilings") else _CEILINGS_OF_FLOATS
    caption = (
        f"Times are medians over the rounds. A rate is set against the peak of the same round: {ceilings} "
        "The last columns divide our time by that of torch and of NumPy's matrix product, the latter without "
        "bias, activation and residual: below 1 we are faster. Compiling "
        f"every kernel takes {results['compile_seconds']:.0f} s, once."
    )
    return "\n\n".join([conditions(results), caption, operations_table(results["operations"])])


def operations_table(rows: list[dict[str, Any]]) -> str:
    """One row for each operation and shape."""
    lines = [
        "| operation | shape of | time | rate | of peak | / torch | / numpy |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        ratios = [f"{row['ratios'][who]:.2f}" if who in row["ratios"] else "" for who in ("torch", "numpy")]
        seconds = row["median_seconds"]
        cells = [
            row["operation"],
            row["shape"],
            f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs",
            f"{row['rate']:.0f} {row['unit']}",
            f"{row['share_of_peak']:.0%}",
            *ratios,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def accuracy_tables(results: dict[str, Any]) -> str:
    """Everything that is shown of `accuracy`."""
    caption = (
        f"{counted(results['pictures'], 'picture')} ({results['style']}), to be told by name from "
        f"{results['labels']}; retrieval finds the picture of a name among all of them. Weights are counted "
        "as they lie on disk, pictures and texts a second with preprocessing and tokenizer, 64 at a time; in "
        "brackets how many times as fast as torch, median of the ratios within each round. Embeddings, of "
        "length 1, differ from those of torch by at most the last column."
    )
    first = results["contestants"][0]
    groups = ["| group | pictures | top-1 | top-5 |", "|---|--:|--:|--:|"]
    for group, row in first["groups"].items():
        groups.append(f"| {group} | {row['pictures']} | {row['top1']:.1%} | {row['top5']:.1%} |")
    return "\n\n".join([conditions(results), caption, accuracy_table(results), "\n".join(groups)])


def accuracy_table(results: dict[str, Any]) -> str:
    """One row for each contestant."""
    lines = [
        "| | weights | top-1 | top-5 | retrieval top-1 | top-5 | pictures/s | texts/s | difference |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in results["contestants"]:
        cells = [
            row["title"],
            f"{row['weights'] / 1e6:.1f} MB",
            *(f"{shares[best]:.1%}" for shares in (row, row["retrieval"]) for best in ("top1", "top5")),
            _rate_cell(results["pictures"], row["images_seconds"], row["images_ratio"]),
            _rate_cell(results["labels"], row["texts_seconds"], row["texts_ratio"]),
            "" if row["difference"] is None else f"{row['difference']:.0e}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def quantized_tables(results: dict[str, Any]) -> str:
    """Everything that is shown of `quantized`: models in int8, and the product of integers."""
    lines = [
        "| images | contestant | ms per image | ours / theirs | peak memory | lowest cosine to float32 |",
        "|--:|---|--:|--:|--:|--:|",
    ]
    for case in results["speed"]:
        for row in case["contestants"].values():
            cells = [
                str(case["batch"]),
                row["title"],
                f"{row['median_seconds'] * 1e3:.1f}",
                f"{row['ratio']:.2f}",
                f"{row['peak_memory'] / 2**20:.0f} MB",
                f"{row['cosine']:.4f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    products = [
        "| product of integers | M, K, N | GOP/s | of the vector units' peak | of the matrix unit's |",
        "|---|---|--:|--:|--:|",
    ]
    for row in results["products"]:
        shape = ", ".join(map(str, row["shape"]))
        of_matrix_unit = f"{row['matrix_share']:.0%}" if row["matrix_share"] else ""
        products.append(
            f"| {row['name']} | {shape} | {row['gops']:.0f} | {row['share']:.0%} | {of_matrix_unit} |"
        )
    caption = (
        f"{results['model']} in int8, on the same weights and images; the ratio divides the time of "
        "numpy_siglip int8 by theirs, median of the ratios within each round. Embeddings are compared with "
        "those of numpy_siglip in float32, and the least similar one is shown. Products of integers are set "
        "against the most that the vector instruction does, and the matrix unit, where there is one."
    )
    return "\n\n".join([conditions(results), caption, "\n".join(lines), "\n".join(products)])


def conditions(results: dict[str, Any]) -> str:
    """A sentence on the machine and one on the versions."""
    machine, versions = results["machine"], dict(results["versions"])
    memory = f", {machine['memory'] / 2**30:.0f} GB of memory" if machine["memory"] else ""
    python = versions.pop("python")
    numbers = {"quantized": "int8", "workloads": "float32 and int8"}.get(results["benchmark"], "float32")
    installed = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"Measured on {day_and_commit(results)}: "
        f"{machine['processor']}, {counted(machine['cores'], 'core')}, "
        f"{counted(results['threads'], 'thread')} each, {numbers}{memory}; {machine['system']}, "
        f"Python {python}, {installed}."
    )


def day_and_commit(results: dict[str, Any]) -> str:
    """When it was measured, and what."""
    changes = " with changes" if results["modified"] else ""
    return f"{results['date'][:10]}" + (f", commit {results['commit']}{changes}" if results["commit"] else "")


def speed_table(results: dict[str, Any]) -> str:
    """One row for each shape and batch, one column for each contestant."""
    names = _columns(results["speed"])
    lines = [
        "| model | images | " + " | ".join(TITLES[name] for name in names) + " | ours / best peer |",
        "|---|--:|" + "--:|" * len(names) + "--:|",
    ]
    for case in results["speed"]:
        cells = [speed_cell(case["contestants"].get(name)) for name in names]
        best = case["ratio_to_best_peer"]
        cells.append(f"**{best:.2f}**" if best else "")
        lines.append(f"| {case['model']} | {case['batch']} | " + " | ".join(cells) + " |")
    caption = (
        "Milliseconds for one image, median over the rounds; in brackets the time of numpy_siglip divided by "
        "theirs, median of the ratios within each round: below 1, numpy_siglip is faster. The best peer is "
        "whoever else was fastest in the round."
    )
    return "\n".join([caption, "", *lines])


def start_up_table(results: dict[str, Any]) -> str:
    """One row for each shape and contestant: start-up in its parts, and peak memory."""
    lines = [
        "| model | contestant | start to first embedding | import | load | first embedding "
        "| peak memory, 1 image |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    batches = sorted({case["batch"] for case in results["speed"]} - {1})
    lines[0] += "".join(f" {batch} images |" for batch in batches)
    lines[1] += "--:|" * len(batches)
    memory = {
        (case["model"], case["batch"], name): row["peak_memory"]
        for case in results["speed"]
        for name, row in case["contestants"].items()
    }
    for case in results["start_up"]:
        for name, start in case["contestants"].items():
            parts = ("start_up_seconds", "import_seconds", "load_seconds", "first_embedding_seconds")
            cells = [f"{start[part]:.2f} s" for part in parts]
            cells.append(_megabytes(start["peak_memory"]))
            cells += [_megabytes(memory.get((case["model"], batch, name))) for batch in batches]
            lines.append(f"| {case['model']} | {TITLES[name]} | " + " | ".join(cells) + " |")
    cold = results["cold_cache"]
    if cold:
        lines += [
            "",
            "With an empty cache, numpy_siglip compiles first, once on a machine: "
            f"{cold['start_up_seconds']:.0f} s to the first embedding of {cold['model']}.",
        ]
    return "\n".join(lines)


def _columns(cases: list[dict[str, Any]]) -> list[str]:
    """Contestants that any case has or that failed, in the order of ``TITLES``, ours first."""
    present = {name for case in cases for name in (*case["contestants"], *case["failed"])}
    return [name for name in TITLES if name in present or name == OURS]


def speed_cell(row: dict[str, Any] | None) -> str:
    """Milliseconds for one image, and the ratio in brackets."""
    if row is None:
        return "failed"
    if not row["correct"]:
        return "wrong"
    time = (
        f"{row['median_seconds'] * 1e3:.1f}"
        if row["median_seconds"] < 1
        else f"{row['median_seconds'] * 1e3:.0f}"
    )
    return f"{time} ({row['ratio']:.2f})" if row["ratio"] else time


def _rate_cell(count: int, seconds: float, ratio: float | None) -> str:
    return f"{count / seconds:.0f}" + ("" if ratio is None else f" ({ratio:.2f})")


def _megabytes(size: int | None) -> str:
    return f"{size / 2**20:.0f} MB" if size else ""
