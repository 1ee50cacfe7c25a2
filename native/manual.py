#!/usr/bin/env python3
"""Makes manual pages from the tables in ../formats. Called by meson; needs nothing but Python.

manual.py PAGE FORMATS VERSION CONFIG_DIRECTORY OUTPUT    PAGE is a key of formats/manuals.json
"""
import json
import pathlib
import re
import sys
import textwrap

from generate import key_tables, option_text, option_words, read

VALUES = {"path": "PATH", "executable": "PROGRAM", "program": "PROGRAM", "directory": "DIRECTORY", "bool": "0|1", "integer": "NUMBER", "size": "SIZE",
          "uid": "UID", "text": "TEXT", "words": "WORD...", "paths": "PATH...", "modules": "NAME,...", "sitefs": "MAP"}


def escaped(text, hyphen="-"):
    """Text that means nothing to roff."""
    text = text.replace("\\", "\\e").replace("-", hyphen).replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return "".join(c if ord(c) < 128 else "\\[u%04X]" % ord(c) for c in text)


def literally(text):
    return "\\fB%s\\fR" % escaped(text, "\\-").replace("`", "\\(ga")


def prose(text):
    """What stands between backticks, and every option, is literal."""
    parts = re.split(r"`([^`]*)`|(?<![\w-])(--[a-z-]+)", text)
    line = "".join(escaped(part) if i % 3 == 0 else literally(part) for i, part in enumerate(parts) if part is not None)
    lines = textwrap.wrap(line, 78, break_long_words=False, break_on_hyphens=False)
    return "".join(("\\&" if each.startswith(".") else "") + each + "\n" for each in lines)


def option_line(option):
    """Literal but for the value's name."""
    words = escaped(option_words(option), "\\-")
    name = option.get("metavar")
    if name is None:
        return "\\fB%s\\fR\n" % words
    at = words.rindex(escaped(name, "\\-"))
    end = at + len(escaped(name, "\\-"))
    return "\\fB%s\\fR\\fI%s\\fR\\fB%s\\fR\n" % (words[:at], words[at:end], words[end:])


def row(head, text):
    return ".TP\n" + head + prose(text)


def key_rows(formats, table):
    out = ""
    for name, spec in dict(key_tables(formats))[table].items():
        if spec.get("status") in ("deprecated", "ignored"):
            continue
        value = "|".join(spec["values"]) if "values" in spec else VALUES[spec["type"]]
        kept = [spec["text"]]
        if spec.get("required"):
            kept.append("Required.")
        elif "default" in spec:
            kept.append("The default is %s." % spec["default"])
        prefix = "module_\\fINAME\\fB_" if table == "module" else ""
        out += row("\\fB%s%s\\fR=\\fI%s\\fR\n" % (prefix, escaped(name, "\\-"), escaped(value, "\\-")), " ".join(kept))
    return out


def section(formats, title, part):
    out = ".SH %s\n" % escaped(title.upper())
    for i, text in enumerate(part.get("text", [])):
        out += (".PP\n" if i > 0 else "") + prose(text)
    for name, text in part.get("list", []):
        out += row(literally(name) + "\n", text)
    if "keys" in part:
        out += key_rows(formats, part["keys"])
    if part.get("deprecated"):
        names = [n for _, keys in key_tables(formats) for n, spec in keys.items() if spec.get("status") in ("deprecated", "ignored")]
        out += ".PP\n" + prose(", ".join("`%s`" % name for name in names) + ".")
    return out


def page(name, formats, version, config):
    manual = json.loads((formats / "manuals.json").read_text(encoding="utf-8").replace("@CONFIG@", config))[name]
    program = read(formats / "options.json").get(name, manual)
    number = program["section"]
    out = '.\\" Made by manual.py; do not edit.\n.TH %s %d "" "shifter\\-sdk %s"\n.ad l\n.nh\n' % (escaped(name.upper(), "\\-"), number, version)
    names = ", ".join(escaped(n, "\\-") for n in [name] + manual.get("also", []))
    out += ".SH NAME\n%s \\- %s\n" % (names, escaped(program["summary"]))
    if "usage" in program:
        out += ".SH SYNOPSIS\n" + ".br\n".join(literally(line) + "\n" for line in program["usage"])
    out += section(formats, "Description", {"text": program["description"] + program.get("notes", [])})
    for command in program.get("commands", []):
        out += row(literally(command["words"]) + "\n", command["text"])
    if "options" in program:
        out += ".SH OPTIONS\n"
        for option in program["options"]:
            also = "".join(" Also --%s." % alias for alias in option.get("aliases", []))
            out += row(option_line(option), option_text(option) + also)
    for part in manual["sections"]:
        out += section(formats, part["title"], part)
    see = [re.fullmatch(r"(.+)(\(\d\))", other).groups() for other in manual["see"]]
    return out + ".SH SEE ALSO\n" + ",\n".join(literally(other) + number for other, number in see) + "\n"


def main(name, formats, version, config, output):
    pathlib.Path(output).write_text(page(name, pathlib.Path(formats), version, config), encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
