"""Who may import whom (design section 2), read from the source."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
MAY = {  # package of keras_st -> packages of keras_st it may import
    "backend": {"specs"},
    "specs": set(),
    "ops": {"backend", "specs"},
    "flow": {"backend", "specs", "ops"},
    "layers": {"backend", "specs", "ops", "flow"},
    "models": {"backend", "specs", "ops", "flow", "layers"},
    "metrics": {"specs", "ops"},
    "training": {"specs", "ops", "metrics"},
    "systems": {"backend", "specs", "ops", "flow", "layers", "models", "metrics", "training"},
    "viz": set(),
    "viz_tracks": {"viz"},
    "tracking": {"specs", "metrics"},
    "cli": {"specs"},
    "reports": {"backend", "specs", "metrics", "viz", "cli"},
    "transfer": {"specs", "cli"},
}
EVERYTHING = {*MAY, "serving", "saved"}
MAY["nowcast"] = {"saved", "specs"}
MAY["serving"] = EVERYTHING - {"saved"}
MAY["saved"] = EVERYTHING
TOP = ("train", "evaluate", "evaluate_classes", "evaluate_hurricanes", "evaluate_nowcast")
PIPELINES_MAY = {"specs", "flow", "metrics", "tracking", "viz", "cli"}


def imports(path):
    """Dotted names a module imports, wherever in it they stand."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "keras_st")


def edges(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        inside = path.relative_to(ROOT).with_suffix("").parts
        for name in imports(path):
            yield path.relative_to(ROOT), inside, name.split(".")


def test_keras_st_imports_downwards_only():
    for path, inside, name in edges("keras_st"):
        if name[0] in ("pipelines", *TOP):
            raise AssertionError(f"{path} imports {name[0]}")
        if name[0] == "keras_st" and len(name) > 1 and len(inside) > 1 and inside[1] != "__init__":
            own, other = inside[1], name[1]
            assert own == other or other in MAY[own], f"{path} imports keras_st.{other}"


def test_backends_are_named_in_two_places_only():
    for path, inside, name in edges("keras_st"):
        if name[0] in ("tensorflow", "jax", "torch"):
            assert inside[1] in ("serving", "backend"), f"{path} imports {name[0]}"
        assert "TimeDistributed" not in name, f"{path} uses TimeDistributed"


def test_pipelines_see_little_of_keras_st():
    for path, _, name in edges("pipelines"):
        if name[0] == "keras_st" and len(name) > 1:
            assert name[1] in PIPELINES_MAY, f"{path} imports keras_st.{name[1]}"
        assert name[0] not in TOP, f"{path} imports {name[0]}"


def test_specs_need_the_standard_library_only():
    import sys

    assert {name.split(".")[0] for name in imports(ROOT / "keras_st" / "specs.py")} <= set(sys.stdlib_module_names)


def test_no_python_function_in_the_data_path():
    for path in sorted((ROOT / "pipelines").rglob("*.py")):
        for word in ("py_function", "numpy_function", "from_generator"):
            assert word not in path.read_text(), f"{path} uses {word}"
