"""Objects that the user names as ``module:attribute``: an application, a framing ..."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from epollo.causes import text_of
from epollo.errors import HandlerError
from epollo.suggestions import did_you_mean

# Where code is that the user did not write: the standard library, installed packages, and epollo.
_NOT_OF_THE_USER = (
    "<frozen ",
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(__file__).parent),
)


def find(path: str, what: str) -> Any:
    """The object that ``module:attribute`` names. Raises HandlerError, whose text calls the object
    ``what`` and says what is missing."""
    module_name, _, attribute = path.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removeprefix("./").removesuffix(".py").replace("/", ".")
        raise HandlerError(
            f"{what} {path!r} names a file; write it as imported: {dotted}:{attribute or 'handle'}"
        )
    if not module_name or not attribute:
        package, _, name = module_name.rpartition(".")
        like = f"{package or name or 'app'}:{attribute or (package and name) or 'handle'}"
        raise HandlerError(f"{what} {path!r} is not of the form module:attribute, as {like} is")
    if "(" in attribute:
        raise HandlerError(
            f"{what} {path!r} is a call; name only the function or the class: "
            f"{path.partition('(')[0]}"
        )
    found: Any = _import(module_name, what)
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            hint = did_you_mean(name, [known for known in dir(found) if known[0] != "_"])
            raise HandlerError(
                f"{what} {path!r} not found: module {module_name!r} has no {attribute!r}"
                f"{hint and '; ' + hint}"
            ) from None
    return found


def is_there(path: str) -> bool:
    """Is there a module, or its package, of the name in ``path``? It is not imported."""
    _look_here()
    try:
        return importlib.util.find_spec(path.partition(":")[0].partition(".")[0]) is not None
    except ValueError:  # __main__, as it may be
        return True


def from_the_user_on(frames: TracebackType | None) -> TracebackType | None:
    """The traceback without its first frames, which are of the import and not of what is
    imported."""
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if "importlib" not in file and file != __file__:
            break
        frames = frames.tb_next
    return frames


def _look_here() -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _import(module_name: str, what: str) -> Any:
    _look_here()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name or module_name.startswith(f"{error.name}."):
            modules = [file.stem for file in Path().glob("*.py")]
            file = module_name.replace(".", "/") + ".py"
            hint = did_you_mean(module_name, modules) or f"is there a {file} in this directory?"
            raise HandlerError(
                f"{what} module {module_name!r} not found here or on sys.path; {hint}"
            ) from None
        raise _import_failed(module_name, what, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(module_name, what, error) from error


def _import_failed(module_name: str, what: str, error: BaseException) -> HandlerError:
    text = f"{what} module {module_name!r} cannot be imported: {described(error)}"
    if isinstance(error, SystemExit):
        text += "; let only \"if __name__ == '__main__'\" run the program"
    return HandlerError(text)


def described(error: BaseException) -> str:
    """The error that the user's code raised, and the line of that code that raised it: one line."""
    if isinstance(error, SyntaxError):  # its traceback ends in importlib
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    places = traceback.extract_tb(error.__traceback__)
    own = [place for place in places if not place.filename.startswith(_NOT_OF_THE_USER)]
    place = (own or places)[-1]
    text = f"{type(error).__name__}: {text_of(error)}".removesuffix(": ")
    return f"{text} ({place.filename}:{place.lineno})"


def kind(thing: object) -> str:
    """The type of ``thing``, with its article."""
    name = type(thing).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
