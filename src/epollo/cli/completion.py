"""``epollo completion``: prints a script that lets a shell complete commands, options and values.

click makes the scripts and answers them. Its bash script does not know values with a colon, at
which bash divides words: unix:PATH, module:attribute. So bash has one of its own here.
"""

from __future__ import annotations

import os

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from epollo.cli.command import Command

VARIABLE = "_EPOLLO_COMPLETE"
SHELLS = ("bash", "fish", "zsh")


class Bash(ShellComplete):
    """Completion in bash, 4.4 or later.

    The script gives the whole line up to the cursor, and the part of the last word that bash is
    going to replace: the part after the last colon or equals sign, or as COMP_WORDBREAKS says.
    """

    name = "bash"
    source_template = """\
%(complete_func)s() {
    local line part=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            file,*) compopt -o default ;;
            dir,*) compopt -o dirnames ;;
            plain,*) COMPREPLY+=("${line#*,}") ;;
        esac
    done < <(%(complete_var)s=bash_complete COMP_WORDS="${COMP_LINE:0:COMP_POINT}" \\
        COMP_PART="$part" "$1" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:\\(] ]]; then
        compopt -o nospace
    fi
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def source(self) -> str:
        return self.source_template % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        last = "" if line[-1:].isspace() or not words else words.pop()
        part = os.environ.get("COMP_PART", "")
        kept = "" if part in (":", "=") else part  # by itself, a character that divides words
        self._typed = last.removesuffix(kept) if last.endswith(kept) else ""
        return words[1:], last

    def format_completion(self, item: CompletionItem) -> str:
        value = str(item.value)
        # click has divided --option=value itself, and completes the value.
        typed = self._typed.partition("=")[2] if self._typed.startswith("--") else self._typed
        return f"{item.type},{value.removeprefix(typed)}"


add_completion_class(Bash)


@click.command(
    cls=Command,
    epilog="For bash, in ~/.bashrc: source <(epollo completion bash). "
    "For zsh, after compinit in ~/.zshrc: source <(epollo completion zsh). "
    "For fish: epollo completion fish > ~/.config/fish/completions/epollo.fish",
)
@click.argument(
    "shell",
    metavar="SHELL",
    shell_complete=lambda _ctx, _param, typed: [s for s in SHELLS if s.startswith(typed)],
)
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and values in SHELL: bash, fish or zsh."""
    if shell not in SHELLS:
        raise click.UsageError(f"SHELL: {shell!r} is not one of {', '.join(SHELLS)}")
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "epollo", VARIABLE).source(), nl=False)
