"""Every command in the documents is run: what a reader copies must work.

A ```console block holds commands (lines that start with "$ ") and what they print. Each document gets a gateway of its
own, without any state, and its commands run in order, in the gateway's place, from the top of the checkout. Each must
exit with 0, unless it ends in `# exit N`. A line that the document shows as printed must come, but for blanks; `…` stands
for anything. What needs a machine of its own is checked and not done: see SHIMS.
"""

import os
import re
import subprocess

import pytest
from lab.site import Site
from lab.weir import BINARIES, ROOT

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "firmware/docs").glob("*.md")])
COMMANDS = {"make", "sudo", "weir", "weirctl", "weir-bench", "systemctl", "echo", "socat", "cat"}

SHIMS = {
    "sudo": 'exec "$@"',
    # The target is there; it is run by CI itself.
    "make": 'exec /usr/bin/make -n "$@" >/dev/null',
    # The same options, on this lab's configuration, up to the preflight.
    "weir": """
args=()
while [ $# -gt 0 ]; do
    case $1 in -c) args+=(-c "$LAB_CONFIG"); shift 2;; *) args+=("$1"); shift;; esac
done
case "${args[*]}" in *--check*|*--help*|*--version*) ;; *) args+=(--check);; esac
exec "$BINARIES/weir" "${args[@]}" """,
    # The command and each option are in the help.
    "weir-bench": """
help=$("$BINARIES/weir-bench" "$1" --help); shift
for word in "$@"; do case $word in --*) grep -q -e "${word%%=*}" <<<"$help" || { echo "no $word"; exit 1; };; esac; done""",
    # The unit's name is right.
    "systemctl": 'test -f "firmware/${@: -1}.service"',
}


def commands(document):
    """(line number, command, expected exit code, lines that it prints) of every command in the console blocks."""
    found, inside = [], False
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            command, _, code = line[2:].partition("# exit ")
            found.append((number, command.strip(), int(code or 0), []))
        elif inside and found and found[-1][1].endswith("\\"):
            number, command, code, printed = found[-1]
            found[-1] = (number, command[:-1] + line.strip(), code, printed)
        elif inside and line.strip():
            found[-1][3].append(line)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_the_documents_works(document, lab):
    listed = commands(document)
    site = Site(lab)
    site.wire("lan0")
    site.underlay()
    for name, script in SHIMS.items():
        shim = lab.directory / "shims" / name
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(f"#!/bin/bash\n{script}\n")
        shim.chmod(0o755)
    # What a command writes goes into the lab; what it reads is the checkout's.
    checkout = lab.directory / "checkout"
    checkout.mkdir()
    for entry in ROOT.iterdir():
        (checkout / entry.name).symlink_to(entry)
    with site.weir() as weir:
        checked = lab.directory / "weir.toml"
        checked.write_text(re.sub(r'(socket|directory) = "[^"]*"', rf'\1 = "{lab.directory}/other-\1"', weir.config.read_text()))
        environment = {
            **os.environ,
            "PATH": f"{lab.directory}/shims:{BINARIES}:{os.environ['PATH']}",
            "WEIR_SOCKET": str(weir.socket),
            "LAB_CONFIG": str(checked),
            "BINARIES": str(BINARIES),
        }
        for number, command, code, printed in listed:
            where = f"{document.name}:{number}: {command}"
            assert command.split()[0] in COMMANDS, f"{where}: no test knows this command"
            enter = ["ip", "netns", "exec", site.gateway.name, "bash", "-c", command]
            done = subprocess.run(enter, env=environment, cwd=checkout, text=True, capture_output=True, timeout=60)
            assert done.returncode == code, f"{where}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            said = [" ".join(line.split()) for line in done.stdout.splitlines()]
            for line in printed:
                pattern = r"\s*.*\s*".join(re.escape(" ".join(part.split())) for part in line.split("…"))
                assert any(re.fullmatch(pattern, text) for text in said), f"{where}: does not print: {line}\n{done.stdout}"


@pytest.mark.parametrize("document", [*ROOT.glob("*.md"), *DOCUMENTS[1:]], ids=lambda path: path.name)
def test_every_link_within_the_checkout_leads_somewhere(document):
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_drop_reason_is_explained():
    source = (ROOT / "pipelines/src/gateway/counters.rs").read_text()
    reasons = re.findall(r'^\s+\w+ = "(\w+)",$', source.split("DropReason {")[1].split("}")[0], re.M)
    assert len(reasons) > 20
    explained = re.findall(r"^\| `(\w+)` \|", (ROOT / "firmware/docs/drops.md").read_text(), re.M)
    assert sorted(explained) == sorted(reasons)
