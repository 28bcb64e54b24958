"""Command lines of options: argparse that names the option which was meant."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rl_edge_core.errors import StorageError, did_you_mean
from rl_edge_core.files import check_file, check_folder, user_path


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser whose subcommands refuse unknown words themselves, with a suggestion."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse as argparse does; words that are left over are an error here already.

        argparse leaves it to the outermost parser, whose usage shows the names of commands alone.
        """
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f'unrecognized arguments: {" ".join(unknown)}{self._hint(unknown[0])}')
        return parsed, []

    def _hint(self, word: str) -> str:
        options = [name for name in self._option_string_actions if name.startswith('--')]
        name, is_ros, value = word.partition(':=')
        if is_ros:
            option = f'--{name.replace("_", "-")}'
            return f' (write {option} {value})' if option in options else ' (not name:=value)'
        return did_you_mean(word.partition('=')[0], options)


def output_file(text: str) -> Path:
    """Return the path of a file that can be written: what fails after the work fails here."""
    return _checked(text, check_file)


def output_folder(text: str) -> Path:
    """Return the path of a folder that can be written, or made."""
    return _checked(text, check_folder)


def _checked(text: str, check: Callable[[Path], None]) -> Path:
    path = user_path(text)
    try:
        check(path)
    except StorageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path
