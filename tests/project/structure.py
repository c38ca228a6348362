"""The structure of this project, read from its import statements: rooms, floors, arrows, circles.

    python -m tests.project.structure                  # the table of this checkout, and its rooms from the ground up
    python -m tests.project.structure ANOTHER          # the same of another one, such as an older commit, before it

A room is a folder of Python files; an arrow leads from a room to one that it imports. A room stands one floor above
the highest room that it imports. A circle is a set of files that import each other in a loop.
"""

import ast
import sys
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("pipeline", "model", "jobs", "imagefeed")

Graph = dict[str, set[str]]  # what each file or room imports


def files_of(root: Path) -> dict[str, Path]:
    """Module -> file, for each file of the project that holds more than a docstring; names have no `imagefeed.`."""
    found = {}
    for part in PARTS:
        for path in sorted((root / part).rglob("*.py")):
            inside = path.relative_to(root)
            if any((root / parent).is_symlink() for parent in inside.parents):
                continue  # the links of imagefeed/: the same files once more
            if is_empty(path):
                continue
            found[".".join(inside.with_suffix("").parts).removesuffix(".__init__")] = path
    return found


def is_empty(path: Path) -> bool:
    """Whether a file says what its folder is for and does nothing else, but for refusing a wrong name."""
    return path.name == "__init__.py" and all(
        isinstance(each, ast.Expr) or (isinstance(each, ast.If) and "__name__" in ast.unparse(each))
        for each in ast.parse(path.read_text()).body
    )


@cache
def imported(path: Path) -> tuple[str, ...]:
    """The modules, and the names within them, that a file imports anywhere in it, for type checking too."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


def module_of(name: str, files: Mapping[str, Path]) -> str | None:
    """The module that an imported name is, or is within; None for what is not of this project."""
    for known in (name.removeprefix("imagefeed."), name):
        parts = known.split(".")
        beginnings = (".".join(parts[:number]) for number in range(len(parts), 0, -1))
        if found := next((each for each in beginnings if each in files), None):
            return found
    return None


def file_graph(files: Mapping[str, Path]) -> Graph:
    """Which file imports which."""
    graph: Graph = {}
    for module, path in files.items():
        graph[module] = {known for name in imported(path) if (known := module_of(name, files))} - {module}
    return graph


def room_of(module: str, path: Path) -> str:
    """The room that a file belongs to: its folder, where `image/jpeg` is a part of `image`."""
    if module == "imagefeed.__main__":
        return "jobs/cli"  # the door of the command
    parts = module.split(".")
    folder = parts if path.name == "__init__.py" else parts[:-1]
    return "/".join(folder[:2]) or module


def room_graph(files: Mapping[str, Path]) -> Graph:
    """Which room imports which."""
    graph: Graph = {}
    for module, needed in file_graph(files).items():
        room = room_of(module, files[module])
        graph.setdefault(room, set()).update({room_of(each, files[each]) for each in needed} - {room})
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """The groups that import each other in a loop (strongly connected, more than one), by Tarjan's method."""
    numbers: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        numbers[node] = low[node] = len(numbers)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in numbers:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], numbers[other])
        if low[node] == numbers[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in numbers:
            visit(node)
    return found


def floors(graph: Graph) -> dict[str, int]:
    """The floor of each node, from 1. What is in a circle stands on one floor, above all that the circle needs."""
    group = {node: tuple(each) for each in circles(graph) for node in each}
    done: dict[tuple[str, ...], int] = {}

    def floor(node: str) -> int:
        own = group.get(node, (node,))
        if own not in done:
            below = {other for each in own for other in graph.get(each, ())} - set(own)
            done[own] = 1 + max(map(floor, below), default=0)
        return done[own]

    return {node: floor(node) for node in graph}


def own_test(module: str, path: Path) -> Path:
    """The file, below the project, in which a module's tests stand if they bear its name: those of `image/jpeg/decoder`
    are tests/image/test_jpeg_decoder.py."""
    parts = module.split(".")
    room = room_of(module, path).split("/")
    return Path("tests", room[-1], f"test_{('_'.join(parts[len(room) :]) or parts[-1]).strip('_')}.py")


def untested(root: Path, files: Mapping[str, Path]) -> list[str]:
    """The modules without a test of their name in the tests of their room."""
    tests = {module: own_test(module, path) for module, path in files.items() if path.name != "__init__.py"}
    return [  # straight below tests/, where all lay once, is right as well
        module
        for module, test in tests.items()
        if not ((root / test).is_file() or (root / "tests" / test.name).is_file())
    ]


def largest_room(files: Mapping[str, Path]) -> tuple[int, str]:
    """How many files are in the room that has most, and its name; of equals the first by name."""
    sizes = Counter(room_of(module, path) for module, path in files.items())
    room = min(sizes, key=lambda each: (-sizes[each], each))
    return sizes[room], room


def table(root: Path) -> dict[str, str]:
    """What there is to say of the structure, in few words."""
    files = files_of(root)
    by_file, by_room = file_graph(files), room_graph(files)
    lengths = {module: len(path.read_text().splitlines()) for module, path in files.items()}
    largest = max(sorted(lengths), key=lambda module: lengths[module])
    in_circles = sum(map(len, circles(by_file)))
    most, room = largest_room(files)
    return {
        "files": f"{len(files)}",
        "floors of files": f"{max(floors(by_file).values())}",
        "arrows between files": f"{sum(map(len, by_file.values()))}",
        "circles of files": f"{len(circles(by_file))}" + f", of {in_circles} files" * bool(in_circles),
        "rooms": f"{len(by_room)}",
        "floors of rooms": f"{max(floors(by_room).values())}",
        "arrows between rooms": f"{sum(map(len, by_room.values()))}",
        "circles of rooms": f"{len(circles(by_room))}",
        "largest room": f"{room}, {most} files",
        "largest file": f"{largest}, {lengths[largest]} lines",
        "modules without a test of their name": f"{len(untested(root, files))}",
    }


def side_by_side(tables: Mapping[str, Mapping[str, str]]) -> str:
    """Tables of the same rows as one, a column each under its name."""
    columns = [["", *next(iter(tables.values()))]]
    columns += [[name, *rows.values()] for name, rows in tables.items()]
    widths = [max(map(len, column)) for column in columns]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in zip(*columns, strict=True))
    return "\n".join(line.rstrip() for line in lines)


def main() -> None:
    """Prints the table, then each room of this checkout with its floor and the rooms that it imports."""
    before = {"before": table(Path(sys.argv[1]).resolve())} if len(sys.argv) > 1 else {}
    print(side_by_side(before | {"now": table(ROOT)}), end="\n\n")
    graph = room_graph(files_of(ROOT))
    rooms = sorted(floors(graph).items(), key=lambda each: (each[1], each[0]))
    for room, floor in rooms:
        print(f"{floor}  {room:20}  {', '.join(sorted(graph[room]))}".rstrip())


if __name__ == "__main__":
    main()
