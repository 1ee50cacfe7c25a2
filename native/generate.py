#!/usr/bin/env python3
"""Makes C from the contracts in ../formats and the case tables in tests/cases. Called by meson; needs nothing but Python.

generate.py errors.gen.h|errors.gen.c|limits.gen.h|config_keys.gen.h|config_keys.gen.c|config_texts.gen.c|options_PROGRAM.gen.c|vectors.gen.h FORMATS CASES OUTPUT
"""
import json
import pathlib
import re
import sys
import textwrap

BANNER = "// Made by generate.py; do not edit.\n"


def constant(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").upper()


def literal(value):
    """A C string literal of any bytes; NULL for None. Lone surrogates U+DC80..U+DCFF stand for bytes."""
    if value is None:
        return "NULL"
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    out = ""
    for byte in data:
        char = chr(byte)
        if char in '"\\?':
            out += "\\" + char
        elif 0x20 <= byte < 0x7F:
            out += char
        else:
            out += "\\%03o" % byte
    pieces = [out]  # compilers bound a literal's length, so long ones are cut between escapes
    while len(pieces[-1]) > 2000:
        text = pieces.pop()
        end = 2000
        while "\\" in text[end - 4 : end]:
            end -= 1
        pieces += [text[:end], text[end:]]
    return " ".join('"%s"' % piece for piece in pieces)


def flag(value):
    return "true" if value else "false"


def errors_h(formats, cases):
    names = ["ERROR_" + name for name in read(formats / "errors.json")]
    return "#pragma once\nenum error_code {\n" + "".join("  %s,\n" % n for n in names) + "  ERROR_COUNT\n};\n"


def errors_c(formats, cases):
    rows = "".join(
        "  [ERROR_%s] = {%s, %s, %s, %d},\n" % (name, literal(name), literal(e["means"]), literal(e["remedy"]), e["exit"])
        for name, e in read(formats / "errors.json").items()
    )
    return '#include "policy/failure.h"\nconst struct error_text error_texts[ERROR_COUNT] = {\n' + rows + "};\n"


def limits_h(formats, cases):
    rows = "".join("#define LIMIT_%s %d\n" % (constant(n), v) for n, v in read(formats / "limits.json").items())
    return "#pragma once\n" + rows


def key_tables(formats):
    udiroot = read(formats / "udiroot-conf.json")
    prefix = "module_NAME_"
    modules = {n[len(prefix) :]: k for n, k in udiroot.items() if n.startswith(prefix)}
    plain = {n: k for n, k in udiroot.items() if not n.startswith(prefix)}
    return [("udiroot", plain), ("module", modules), ("runtime", read(formats / "runtime-conf.json"))]


def config_keys_h(formats, cases):
    out = "#pragma once\n"
    for name, keys in key_tables(formats):
        upper = name.upper()
        out += "enum %s_key {\n" % name + "".join("  %s_%s,\n" % (upper, constant(k)) for k in keys) + "  %s_KEY_COUNT\n};\n" % upper
    return out


def config_keys_c(formats, cases):
    out = '#include "policy/config.h"\n'
    status = {None: "CONF_IN_USE", "deprecated": "CONF_DEPRECATED", "ignored": "CONF_IGNORED"}
    for name, keys in key_tables(formats):
        rows = ""
        for key, spec in keys.items():
            values = "NULL"
            if "values" in spec:
                values = "(const char *const[]){%s, NULL}" % ", ".join(literal(v) for v in spec["values"])
            rows += "  {%s, CONF_%s, %s, %s, %s, %s, %s},\n" % (
                literal(key), spec["type"].upper(), literal(spec.get("default")), flag(spec.get("required")),
                flag(spec.get("repeat") == "append"), status[spec.get("status")], values,
            )
        out += "const struct conf_key %s_keys[%s_KEY_COUNT] = {\n%s};\n" % (name, name.upper(), rows)
    return out


def config_texts_c(formats, cases):
    """What the keys mean: for those who explain, and not part of the programs with rights."""
    out = '#include "check/explain.h"\n'
    for name, keys in key_tables(formats):
        out += "const char *const %s_texts[%s_KEY_COUNT] = {\n%s};\n" % (name, name.upper(), "".join("  %s,\n" % literal(k["text"]) for k in keys.values()))
    return out


HELP_WIDTH = 80
HELP_INDENT = 29


def option_words(option):
    """"-w, --workdir[=DIR]", as help and manual show an option."""
    value = {"none": "", "needed": "={}", "optional": "[={}]"}[option["value"]].format(option.get("metavar"))
    letter = "-%s" % option["letter"] if "letter" in option else ""
    return ", ".join(w for w in (letter, "--%s%s" % (option["name"], value) if "name" in option else "") if w)


def option_text(option):
    """What help and manual say of an option."""
    return option["text"] + (" Repeatable." if option.get("repeat") else "") + (" Refused: %s." % option["refused"] if "refused" in option else "")


def help_rows(rows):
    out = ""
    for words, text in rows:
        lines = textwrap.wrap(text, HELP_WIDTH - HELP_INDENT)
        if len(words) > HELP_INDENT - 2:
            out += words + "\n"
            words = ""
        for line in lines:
            out += "%-*s%s\n" % (HELP_INDENT, words, line)
            words = ""
    return out


def help_text(program):
    def paragraph(text):
        return textwrap.fill(text, HELP_WIDTH) + "\n"

    parts = ["".join("%s\n" % line for line in program["usage"]) + "".join(map(paragraph, program["description"]))]
    if "commands" in program:
        parts.append(help_rows(("  " + c["words"], c["text"]) for c in program["commands"]))
    parts.append(help_rows((("  " if "letter" in o else "      ") + option_words(o), option_text(o)) for o in program["options"]))
    if "notes" in program:
        parts.append("".join(map(paragraph, program["notes"])))
    return "\n".join(parts)


ARGUMENTS = {"shifter": "arguments", "setupRoot": "setup_arguments", "unsetupRoot": "unsetup_arguments", "shifter-check": "check_arguments"}


def options_of(name):
    """A file for each program, so that it is linked with no other's."""

    def options_c(formats, cases):
        program, symbol = read(formats / "options.json")[name], constant(name).lower()

        def offset(member):
            return "0" if member is None else "offsetof(struct %s, %s)" % (ARGUMENTS[name], member)

        rows = ""
        for option in program["options"]:
            for word in [option.get("name")] + option.get("aliases", []):
                rows += "  {%s, %s, VALUE_%s, MODE_%s, %s, %s, %s, %s},\n" % (
                    "'%s'" % option["letter"] if "letter" in option else "0", literal(word), option["value"].upper(), option.get("mode", "run").upper(),
                    "take_" + option["take"] if "take" in option else "NULL", offset(option.get("field")), offset(option.get("seen")),
                    literal(option.get("refused")))
        out = '#include <stddef.h>\n#include "check/arguments.h"\n#include "policy/arguments.h"\n#include "policy/setup_arguments.h"\n'
        out += "_Static_assert(%s == 0, \"the mode comes first\");\n" % offset("mode")
        out += "static const struct option rows[] = {\n%s};\n" % rows
        return out + "const struct option_table %s_options = {%s, rows, COUNT_OF(rows), %s};\n" % (symbol, literal(name), literal(help_text(program)))

    return options_c


def bytes_of(case):
    return bytes.fromhex(case["inputHex"]) if "inputHex" in case else case["input"].encode()


def compact(value):
    """The JSON that check/json.c writes for the same value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def vector_rows(path):
    rows = ""
    for case in read(path)["cases"]:
        data = bytes_of(case)
        rows += "  {%s, %s, %d, %s, %s, %s},\n" % (
            literal(case["name"]), literal(data), len(data), flag(case["accept"]), literal(case.get("code")),
            literal(compact(case["value"]) if case["accept"] else None),
        )
    return rows


def wanted(row):
    return {**row, **row.get("want", {})}


def text_list(items):
    return "(const char *const[]){%s}" % ", ".join([literal(i) for i in items] + ["NULL"])


def id_list(items):
    return "{%s}, %d" % (", ".join(str(i) for i in items) or "0", len(items))


def vectors_h(formats, cases):
    vectors = formats / "vectors"
    out = """#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
struct vector { const char *name, *input; size_t length; bool accept; const char *code, *value; };
struct reference_vector { const char *input; size_t length; const char *default_type; bool accept; const char *type, *reference, *canonical, *hint; };
struct conf_case { const char *name, *text; bool full, accept; };
struct access_case { uint32_t uids[4]; size_t uid_count; uint32_t gids[4]; size_t gid_count; uint32_t uid, gid, groups[4]; size_t group_count; bool allow; };
struct map_case { const char *input; bool accept; size_t count; const char *signature; };
struct words_case { const char *input; const char *const *items; };
struct ids_case { const char *input; uint32_t ids[4]; size_t count; bool accept; };
struct hosts_case { const char *spec, *lines; };
struct setting_case { const char *text; bool accept; };
struct environment_case { const char *const *start, *const *image, *const *set, *const *append, *const *prepend, *const *unset, *const *result; };
"""
    rows = ""
    for case in read(vectors / "image-reference.json")["cases"]:
        data = bytes_of(case)
        rows += "  {%s, %d, %s, %s, %s, %s, %s, %s},\n" % (
            literal(data), len(data), literal(case.get("defaultType")), flag(case["accept"]), literal(case.get("type")),
            literal(case.get("reference")), literal(case.get("canonical")), literal(case.get("hint")),
        )
    for table, default in (("image_descriptor", "docker"), ("image_descriptor_baddefault", "invalid")):
        for row in map(wanted, read(cases / (table + ".json"))["cases"]):
            data = row["input"].encode()
            tag = row["tag"] if row["accept"] else None
            rows += "  {%s, %d, %s, %s, %s, %s, %s, NULL},\n" % (
                literal(data), len(data), literal(default), flag(row["accept"]), literal(row["type"] if row["accept"] else None),
                literal(tag), '"*"',
            )
    out += "static const struct reference_vector reference_vectors[] = {\n%s};\n" % rows
    for kind in ("record", "name", "meta", "root"):
        out += "static const struct vector %s_vectors[] = {\n%s};\n" % (kind, vector_rows(vectors / (kind + ".json")))

    table = read(cases / "udiroot_conf.json")
    programs = [name for name, spec in read(formats / "udiroot-conf.json").items() if spec["type"] in ("executable", "program")]
    rows = ""
    for row in table["cases"]:
        text = table["base"] + row["added"]
        if row["name"].startswith("missing "):
            key = row["name"].split()[1]
            text = "".join(l for l in table["base"].splitlines(True) if not l.startswith(key + "="))
        # Modes and existing programs are the mechanism's (test/native/configuration.test.ts); what is left is the text.
        if int(row["mode"], 8) & 0o022 or any(line.split("=")[0].strip() in programs for line in row["added"].splitlines()):
            continue
        rows += "  {%s, %s, %s, %s},\n" % (literal(row["name"]), literal(text), flag(row["validate"] == 255), flag(row["accept"]))
    out += "static const struct conf_case conf_cases[] = {\n%s};\n" % rows
    out += "static const char conf_base[] = %s;\n" % literal(table["base"])

    rows = "".join(
        "  {%s, %s, %d, %d, %s, %s},\n" % (id_list(r["uids"]), id_list(r["gids"]), r["uid"], r["gid"], id_list(r["aux"]), flag(r["allow"]))
        for r in read(cases / "runtime_image_permission.json")["cases"]
    )
    out += "static const struct access_case access_cases[] = {\n%s};\n" % rows

    for kind in ("site", "user"):
        rows = ""
        for row in map(wanted, read(cases / ("volumemap_%s.json" % kind))["cases"]):
            count = row["signature"].count(";") + 1 if row["signature"] else 0  # n is the reference's, also where want differs
            rows += "  {%s, %s, %d, %s},\n" % (literal(row["input"]), flag(row["accept"]), count, literal(row["signature"]))
        out += "static const struct map_case %s_map_cases[] = {\n%s};\n" % (kind, rows)

    rows = "".join(
        "  {%s, %s, %s, %s, %s},\n"
        % (literal(r["identifier"]), literal(r["user"]), literal(r["volumes"]), literal(",".join(r["modules"] or ["none"])), literal(r["text"]))
        for r in read(cases / "reuse_signature.json")["cases"]
    )
    out += "static const struct { const char *identifier, *user, *volumes, *modules, *text; } reuse_cases[] = {\n%s};\n" % rows

    rows = "".join("  {%s, %d},\n" % (literal(row["input"]), row["value"]) for row in read(cases / "parse_bytes.json")["cases"])
    out += "static const struct { const char *input; int64_t value; } bytes_cases[] = {\n%s};\n" % rows

    rows = ""
    for row in map(wanted, read(cases / "entrypoint_array.json")["cases"]):
        rows += "  {%s, %s},\n" % (literal(row["input"]), "NULL" if row["items"] is None else text_list(row["items"]))
    out += "static const struct words_case words_cases[] = {\n%s};\n" % rows

    rows = ""
    for row in map(wanted, read(cases / "acl_list.json")["cases"]):
        if row["input"].startswith("("):
            continue  # more than aclIds: made by the test itself
        ids = row.get("ids", [])
        rows += "  {%s, %s, %s},\n" % (literal(row["input"].rstrip("\n")), id_list(ids), flag("error" not in row))
    out += "static const struct ids_case ids_cases[] = {\n%s};\n" % rows

    rows = ""
    for row in read(cases / "hostsfile.json")["cases"]:
        spec = row["spec"] or ""
        lines = None
        if "error" not in row:
            lines = "".join((host + "\n") * int(count) for host, count in (node.split("/") for node in spec.split()))
        rows += "  {%s, %s},\n" % (literal(spec), literal(lines))
    out += "static const struct hosts_case hosts_cases[] = {\n%s};\n" % rows

    table = read(cases / "environment.json")
    rows = "".join("  {%s, %s},\n" % (literal(r["arg"]), flag(r["accept"])) for r in table["env_option"])
    out += "static const struct setting_case env_option_cases[] = {\n%s};\n" % rows
    rows = ""
    for row in table["env_file"]:
        rows += "  {%s, %s},\n" % (literal(row["line"]), literal(row["effect"]))
    out += "static const struct { const char *line, *effect; } env_file_cases[] = {\n%s};\n" % rows
    rows = ""
    for row in table["cases"]:
        if "result" not in row:
            continue  # "put" errors are those of env_option; look-ups have a test of their own

        def settings(key, short):
            return text_list(row.get(key, []) + ([row[short]] if short in row else []))

        def pairs(mapping):
            return text_list(["%s=%s" % pair for pair in mapping.items()])

        rows += "  {%s, %s, %s, %s, %s, %s, %s},\n" % (
            pairs(row["start"]), text_list(row.get("image_env", [])), text_list(row.get("siteEnv", [])), settings("siteEnvAppend", "append"),
            settings("siteEnvPrepend", "prepend"), settings("siteEnvUnset", "unset"), pairs(row["result"]),
        )
    out += "static const struct environment_case environment_cases[] = {\n%s};\n" % rows
    return out


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


MAKERS = {
    "errors.gen.h": errors_h,
    "errors.gen.c": errors_c,
    "limits.gen.h": limits_h,
    "config_keys.gen.h": config_keys_h,
    "config_keys.gen.c": config_keys_c,
    "config_texts.gen.c": config_texts_c,
    **{"options_%s.gen.c" % name: options_of(name) for name in ARGUMENTS},
    "vectors.gen.h": vectors_h,
}


def main(what, formats, cases, output):
    pathlib.Path(output).write_text(BANNER + MAKERS[what](pathlib.Path(formats), pathlib.Path(cases)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
