"""What compiled code calls: optimised and made into machine code once, in the function that Python calls.

A kernel is a tree of a hundred functions, and Python calls only its root. Numba makes of each of them what Python could
call: two wrappers, and machine code of it with all that it calls, so that what is at the bottom is optimised anew on
every floor. A part is the intermediate code of a function and no more. That halves the time to compile.
"""

from typing import Any

import numba
from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder


class CodeOfPart(JITCodeLibrary):
    """Code that is only linked into other code."""

    def _optimize_final_module(self) -> None:
        """Nothing: that of a caller does it, which knows more."""

    def _finalize_final_module(self) -> None:
        """All that Numba does here but for the machine code."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """The address of machine code: none."""
        return 0

    @property
    def codegen(self) -> Any:
        """What Numba asks to write the function's environment beside its machine code."""
        return WithoutMachineCode


class WithoutMachineCode:
    """Where no function of a part has its environment, which only the functions that Python calls need."""

    @staticmethod
    def set_env(name: str, environment: Any) -> None:
        """Nothing."""


class CompilerOfParts(CompilerBase):
    """Numba's own, with another end."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own; it takes the library that is there, and else makes one."""
        self.state.library = CodeOfPart(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


def without_literals(kind: Any) -> Any:
    """The type of an argument without what is known of its value, so that 0 and 1 share a part."""
    if isinstance(kind, types.Tuple):
        return types.BaseTuple.from_types([types.unliteral(item) for item in kind.types])
    return types.unliteral(kind)


any_njit: Any = numba.njit  # its annotation does not know all of its options
_options = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": CompilerOfParts}


def with_part(function: Any, *, inlined: bool = False) -> Any:
    """A function that Numba compiles for Python, but which other compiled code gets as a part; `inlined`, LLVM has no
    choice but to inline it."""
    part: Any = any_njit(**_options, forceinline=inlined)(function.py_func)

    def get_call_template(args: Any, kws: dict[str, Any]) -> Any:
        kws = {name: without_literals(kind) for name, kind in kws.items()}
        return part.get_call_template(tuple(map(without_literals, args)), kws)

    function.get_call_template, function.get_overload = get_call_template, part.get_overload
    return function
