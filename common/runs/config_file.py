"""Config files: finding `FILE[:arg]`, running its `get_config`, and checking what it returns."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from common.errors import InputError
from common.printable import cut
from common.runs.methods import to_dict

ROOMS = ("lcr_jax", "gensr_jax", "baselines_jax")  # packages that bring configs
_SEE = "see lcr_jax/configs/"
# What ConfigDict says to a value of another kind
_OTHER_KIND = re.compile(
    r"Could not override field '(.+?)' \(reference\)\. (.*) is of original type "
    r"<class '(?:\w+\.)*(\w+)'> and cannot be casted to type <class '(?:\w+\.)*(\w+)'>"
)
_KINDS = {
    "ConfigDict": "a group of keys",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list": "a list",
}


def load_config_file(argument: str) -> ConfigDict:
    """Reads `FILE[:arg]`: calls the file's `get_config(arg)`, or `get_config()` without an arg.

    FILE may be one of the installed packages' own from any folder, as lcr_jax/configs/demo.py.
    Raises InputError when there is no such file, it cannot be run, or it has no `get_config` that
    returns a configuration; what the file itself raises as InputError stays as it is.
    """
    name, arg = split_argument(argument, lambda text: find_file(text) is not None)
    path = find_file(name)
    if path is None:
        if Path(name).is_dir():
            raise InputError(f"--config={name}: is a folder; give a file in it, such as demo.py")
        near = difflib.get_close_matches(name, _own_configs(), 1)
        hint = f"did you mean {near[0]}?" if near else _SEE
        raise InputError(f"--config={name}: no such file; {hint}")
    spec = importlib.util.spec_from_file_location("config_file", path)
    if spec is None or spec.loader is None:
        raise InputError(f"--config={name}: not a Python file; {_SEE}")
    module = importlib.util.module_from_spec(spec)
    _guard(name, path, lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]
    make = _bind(name, module, arg)
    config = _guard(name, path, make)
    if not isinstance(config, ConfigDict):
        raise InputError(
            f"--config={name}: get_config returns {type(config).__name__}, not a ConfigDict; {_SEE}"
        )
    to_dict(config, f"--config={name}")
    return config


def split_argument(argument: str, is_file: Callable[[str], bool]) -> tuple[str, str]:
    r"""FILE and arg of `FILE[:arg]`, where either may have colons in it.

    is_file(text) -> whether there is such a file
    The longest part before a colon that is a file is FILE. Where none is, the first colon decides,
    but for that of a Windows drive, as in C:\configs\demo.py:small.
    """
    colons = [place for place, char in enumerate(argument) if char == ":"]
    for place in [len(argument), *reversed(colons)]:
        if argument[:place] and is_file(argument[:place]):
            return argument[:place], argument[place + 1 :]
    drive = len(argument) > 2 and argument[0].isalpha() and argument[1:3] in (":\\", ":/")
    place = next((place for place in colons if not (drive and place == 1)), len(argument))
    return argument[:place], argument[place + 1 :]


def find_file(name: str) -> Path | None:
    """The file of that name, in the working directory or among the packages' own."""
    path = Path(name)
    try:
        if path.is_file():
            return path
    except (OSError, ValueError):  # a name that no file can have
        return None
    room, *rest = path.parts or ("",)
    if room in ROOMS and ".." not in rest:
        own = _folder_of(room).joinpath(*rest)
        return own if own.is_file() else None
    return None


def _folder_of(room: str) -> Path:
    spec = importlib.util.find_spec(room)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _own_configs() -> list[str]:
    return [
        f"{room}/configs/{path.name}"
        for room in ROOMS
        for path in sorted((_folder_of(room) / "configs").glob("*.py"))
        if path.stem != "__init__"
    ] + [str(path) for path in Path().glob("*/configs/*.py")]


def _bind(name: str, module: ModuleType, arg: str) -> Callable[[], object]:
    """The call of a file's `get_config`, which need not take an argument if none is given."""
    function = getattr(module, "get_config", None)
    if not callable(function):
        raise InputError(f"--config={name}: has no function get_config(arg); {_SEE}")
    signature = inspect.signature(function)
    for words in ((arg,), ()):
        try:
            signature.bind(*words)
        except TypeError:
            continue
        if words or not arg:
            return lambda: function(*words)
        raise InputError(
            f"--config={name}:{arg}: its get_config() takes no argument; leave out :{arg}"
        )
    raise InputError(
        f"--config={name}: get_config{signature} cannot be called with one argument; {_SEE}"
    )


def _guard(name: str, path: Path, run: Callable[[], object]) -> object:
    """Runs code of a config file; what it raises becomes one line that names the file's line."""
    try:
        return run()
    except InputError:
        raise
    except Exception as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename) == path.absolute()
        ]
        if isinstance(error, SyntaxError):
            lines = [error.lineno]
        at = f", line {lines[-1]}" if lines and lines[-1] else ""
        reason = " ".join(str(error).split())
        if other := _OTHER_KIND.match(reason):
            key, value, kind, wanted = other.groups()
            raise InputError(
                f"--config={name}{at}: {key} = {cut(value, 60)} is {_KINDS.get(kind, kind)}; give "
                f"{_KINDS.get(wanted, wanted)}"
            ) from error
        raise InputError(
            f"--config={name}{at}: raises {type(error).__name__} ({reason}); mend the file"
        ) from error
    except SystemExit:
        raise InputError(f"--config={name}: ends the program; mend the file") from None
