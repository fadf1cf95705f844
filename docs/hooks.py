"""The pages that are made when the site is built: commands, keys of a scenario, plug-ins.

MkDocs calls `on_files` and `on_page_markdown`; nothing here is part of simfl.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

Schema = Mapping[str, Any]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no one writes."""
    for path, text in (
        ("reference/commands.md", commands_page()),
        ("reference/scenario.md", scenario_page()),
        ("reference/plugins.md", plugins_page()),
    ):
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A link out of ``docs/`` leads into the checkout, which the site lacks: show its path."""
    del config, files
    if "/" in page.file.src_uri:
        return markdown
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", markdown)


def scenario_page() -> str:
    """Every key of a scenario, from its JSON Schema."""
    from simfl.scenario import json_schema

    schema = json_schema()
    definitions = schema["$defs"]
    lines = [
        "# Keys of a scenario",
        "",
        "Made from `simfl schema`. A key without a default must be there. Where a part is chosen",
        "by name, the options of each name stand below it.",
        "",
        "## Scenario",
        "",
        *_table(schema),
    ]
    for name in _in_order(schema):
        lines += ["", f"## {name}", ""]
        definition = definitions[name]
        variants = [v for v in definition.get("oneOf", ()) if "properties" in v]
        if not variants:
            lines += [*_said(definition), *_table(definition)]
        for variant in variants:
            tag = next(key for key, value in variant["properties"].items() if "const" in value)
            value = variant["properties"][tag]["const"]
            lines += ["", f"### {name}: {value}", "", *_said(variant), *_table(variant)]
    return "\n".join(lines) + "\n"


def _in_order(schema: Schema) -> list[str]:
    """Names of definitions, each where a reader first meets it."""
    order: list[str] = []

    def walk(part: Any) -> None:
        if isinstance(part, list):
            for item in part:
                walk(item)
        elif isinstance(part, dict):
            reference = part.get("$ref", "").rpartition("/")[2]
            if reference and reference not in order:
                order.append(reference)
                walk(schema["$defs"][reference])
            for key, item in part.items():
                if key != "$defs":
                    walk(item)

    walk(dict(schema))
    return order


def _said(definition: Schema) -> Iterator[str]:
    text = definition.get("description", "").partition("\n\nAttributes:")[0]
    if text:
        yield _plain(text)
        yield ""


def _table(definition: Schema) -> Iterator[str]:
    """Keys, what may stand there, the default, and what it means."""
    mappings = [definition, *definition.get("anyOf", ())]
    properties = next((m["properties"] for m in mappings if m.get("properties")), {})
    if not properties:
        yield "No keys."
        return
    required = {key for m in mappings for key in m.get("required", ())}
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, value in properties.items():
        default = "" if key in required else f"`{json.dumps(value.get('default'))}`"
        if "default" not in value and key not in required:
            default = "left out"
        meaning = _plain(value.get("description", "")).replace("|", "\\|")
        yield f"| `{key}` | {_kind(value)} | {default} | {meaning} |"


def _kind(value: Schema) -> str:
    """What may stand there, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{word}`" for word in value["enum"])
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_kind(part) for part in value["anyOf"]))
    kind = value.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(value.get('items', {}))}"
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"mapping to {_kind(inner)}" if isinstance(inner, dict) else "mapping"
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    bounds = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    told = [f"{word} {value[key]:g}" for key, word in bounds.items() if key in value]
    text = ", ".join([words.get(kind, kind), *told])
    examples = [f"`{example}`" for example in value.get("examples", ())]
    return f"text, as {' '.join(examples)}" if examples else text


def plugins_page() -> str:
    """What each plug-in says of itself: its module's docstring, the module not imported."""
    from simfl import registry

    lines = [
        "# What has a name",
        "",
        "Made from the modules' docstrings. The options of each: [keys](scenario.md).",
    ]
    for title, package in (
        ("Algorithms", "algorithms"),
        ("Loss terms", "objectives"),
        ("Networks that learn", "models"),
        ("Data sets", "datasets"),
        ("Partitions", "partitions"),
        ("Codecs", "codecs"),
        ("Networks of links", "networks"),
        ("Topologies", "topologies"),
        ("Protocols", "protocols"),
        ("Selections of clients", "selection"),
        ("Availability of devices", "availability"),
    ):
        names: registry.Registry[Any] = getattr(registry, package.upper())
        lines += ["", f"## {title}"]
        for name in names.names():
            source = Path(registry.__file__).parent / package / f"{name}.py"
            told = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
            lines += ["", f"### {package}: {name}", "", told.replace("``", "`").replace("*", "\\*")]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Every command with its options, as ``--help`` has them."""
    from typer.main import get_command

    from simfl.cli import app

    lines = ["# Command line", "", "Made from `simfl COMMAND --help`.", ""]
    for name, command in _commands(get_command(app), "simfl"):
        lines += [f"## {name}", "", _plain(command.help or ""), ""]
        shown = [p for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]
        if shown:
            lines += ["| | default | |", "|---|---|---|"]
        for parameter in shown:
            options = [o for o in parameter.opts if o.startswith("-")]
            label = ", ".join(f"`{o}`" for o in options)
            metavar = parameter.metavar or (parameter.name or "").upper()
            flag = getattr(parameter, "is_flag", False) or getattr(parameter, "count", False)
            label = label if flag else f"{label} `{metavar}`".strip()
            known = parameter.default
            default = "" if known in (None, False) or callable(known) else f"`{_shown(known)}`"
            told = _plain(getattr(parameter, "help", None) or "")
            cells = (cell.replace("|", "\\|") for cell in (label, default, told))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Commands and those below them, in the order of the help."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for one in command.list_commands(None):
        yield from _commands(command.commands[one], f"{name} {one}")


def _shown(value: Any) -> str:
    return str(getattr(value, "value", value))


def _plain(text: str) -> str:
    """A docstring in one line of Markdown."""
    return " ".join(text.split()).replace("``", "`").replace("<", "&lt;")
