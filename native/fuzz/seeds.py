#!/usr/bin/env python3
"""Writes the fuzzers' seeds: archives of real writers (Python's tarfile, GNU tar), as fuzz_merge.c and fuzz_blob.c read them, and what the tests
of the policy functions know.

seeds.py CORPUS
"""
import gzip
import io
import json
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile

corpus = pathlib.Path(sys.argv[1])


def archive(form, *entries, pax=None):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, pax_headers=pax) as tar:
        for name, kind, more in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            data = more.pop("data", b"")
            info.size = len(data)
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    # Without the padding to a record: two blocks of zeros end an archive.
    return out.getvalue().rstrip(b"\0").ljust(512, b"\0")


def whole(data):
    return data + b"\0" * (-len(data) % 512 + 1024)


def sparse(form):
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "s")
        with open(path, "wb") as file:
            for offset in (0, 20000, 60000):
                file.seek(offset)
                file.write(b"x" * 3)
            file.truncate(100000)
        return subprocess.run(["tar", "--sparse", "--record-size=512", *form, "-cf", "-", "-C", directory, "s"], check=True, stdout=subprocess.PIPE).stdout


def raw(*layers, settings=1):
    return bytes([settings]) + b"".join(len(layer).to_bytes(2, "big") + layer for layer in layers)


ustar, gnu, pax = tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT
file, directory, link, symlink = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE
long_name = "d/" + "n" * 120
forms = {
    "ustar": archive(ustar, ("d", directory, {"mode": 0o755}), ("d/f", file, {"data": b"x"}), ("g", link, {"linkname": "d/f"}), ("s", symlink, {"linkname": "d"})),
    "gnu": archive(gnu, (long_name, file, {"data": b"x"}), ("l", link, {"linkname": long_name}), ("big", file, {"mtime": -1, "uid": 1 << 40})),
    "pax": archive(pax, (long_name, file, {"data": b"x", "mtime": 1.5, "pax_headers": {"SCHILY.xattr.user.a": "v", "SCHILY.xattr.security.b": "v"}}), pax={"comment": "c"}),
    "devices": archive(ustar, ("c", tarfile.CHRTYPE, {}), ("p", tarfile.FIFOTYPE, {}), ("f", tarfile.AREGTYPE, {}), ("k", tarfile.CONTTYPE, {"data": b"y"})),
    "whiteouts": archive(ustar, (".wh.a", file, {}), ("b/.wh..wh..opq", file, {}), (".wh..wh.plnk", directory, {}), ("a", file, {"data": b"new"}), ("b/c", file, {})),
    "replaced": archive(ustar, ("a", file, {"data": b"1"}), ("b", link, {"linkname": "a"}), ("a", directory, {}), ("a/c", file, {"data": b"2"})),
}
seeds = {f"form-{name}": raw(whole(data)) for name, data in forms.items()}
for name, form in {"old": ["--format=gnu"], **{v: ["--format=posix", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0")}}.items():
    seeds[f"sparse-{name}"] = raw(sparse(form))
seeds["stack"] = raw(whole(forms["ustar"]), whole(forms["replaced"]), whole(forms["whiteouts"]), whole(forms["gnu"]), settings=0x61)
seeds["links"] = raw(
    whole(forms["ustar"]),
    whole(archive(ustar, ("h", link, {"linkname": "d/f"}), ("i", link, {"linkname": "h"}))),
    whole(archive(ustar, ("d", file, {"data": b"z"}))),
)
blobs = {
    "plain": forms["ustar"],
    "gzip": gzip.compress(forms["ustar"], mtime=0),
    "members": gzip.compress(b"", mtime=0) + gzip.compress(b"a" * 1000, mtime=0) + gzip.compress(b"b", mtime=0),
    "zstd": subprocess.run(["zstd", "-q", "-c"], input=forms["ustar"], check=True, stdout=subprocess.PIPE).stdout,
    "skippable": b"\x50\x2a\x4d\x18\x04\0\0\0skip" + subprocess.run(["zstd", "-q", "-c"], input=b"x" * 5000, check=True, stdout=subprocess.PIPE).stdout,
    "window": bytes.fromhex("28b52ffd00a8010000"),
    "xz": b"\xfd7zXZ\0",
}
here = pathlib.Path(__file__).resolve().parent


def cases(path):
    return json.loads((here / path).read_text(encoding="utf-8"))["cases"]


def text(value):
    return value.encode("utf-8", "surrogateescape")


def some(kind, values, most=12):
    """Evenly chosen ones of those that fit a corpus, behind the byte that names their kind."""
    short = [kind + value for value in dict.fromkeys(values) if len(value) < 1500]
    return short[:: max(1, len(short) // most)][:most]


def inputs(path):
    return [text(case["input"]) for case in cases(path) if "input" in case]


def words(*line, environment=()):
    return b"".join(text(word) + b"\0" for word in line) + b"".join(b"\xff" + text(word) + b"\0" for word in environment)


def numbered(values):
    return {f"{i:02}": value for i, value in enumerate(values)}


long_hash = b"0123456789abcdef" * 4
entry = [
    b"reference 6:id:abc", b"job 4:12.a", b"uid 4:1000", b"gid 3:100", b"groups 5:7,100", b"configuration 64:" + long_hash, b"boot 2:b0", b"build 1:b", b"view 1:v",
    b"image 3:abc", b"record 1:\n", b"pin 31:pins/1000.0123456789abcdef.12.a", b"namespace 3:4:5", b"loop 1:7", b"file 3:8:9", b"made 2:10", b"end",
]
passwd = b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:100:Alice, 1:/home/alice:/bin/sh\nsshd:x:22:22::/run:/bin/false\n"
groups = b"root:x:0:alice\nusers:x:100:\nmore:x:7:bob,alice\nother:x:8:bob\n"
table = json.loads((here / "../tests/cases/udiroot_conf.json").read_text(encoding="utf-8"))
base = table["base"] if isinstance(table["base"], str) else "".join(f"{key}={value}\n" for key, value in table["base"].items())
policy = {
    "arguments": numbered([
        b"\0" + words("-vE", "-iubuntu", "-e", "A=b=c", "--env=C=d", "-w/tmp", "--entry=x", "-n", "-m", "none", "sh", "-c", "x"),
        b"\0" + words("--image=a", "--volume=/a:/b:ro", "-V/c:/d", "--writable", "--env-file", "f", "--report-fd=3", "--", "-x", environment=["SHIFTER_MODULE=a"]),
        b"\0" + words("-w", "ls", environment=["SHIFTER_IMAGETYPE=id", "SHIFTER_IMAGE=a", "SLURM_SPANK_SHIFTER_IMAGEREQUEST=docker:b"]),
        b"\0" + words("--resolve", "id:a"), b"\0" + words("--workdir", "/etc", "--", "ls"), b"\0" + words("--explain", "--clearenv", "--version"),
        b"\1" + words("-U", "5", "-G6", "-u", "name", "-v", "/a:/b", "-v/c:/d", "-m", "x", "-N", "a/2 b.c/1", "-V", "--job=1[].s", "docker", "id"),
        b"\1" + words("--uid=5", "--gid=6", "--run-directory=/run/x", "--resolve=docker:a", "--report-fd=9"), b"\1" + words("-s", "key"), b"\1" + words("--ccm"),
        b"\2" + words("--job", "1", "--uid=5", "--run-directory", "/run/x"), b"\2" + words("--list"), b"\2" + words("x"),
    ]),
    "configuration": numbered(
        [b"\0" + text(base)] + [b"\0" + text(case["added"]) for case in table["cases"] if case["added"]]
        + [b"\0siteEnv=A=1 \\\n# c\n\t B=2\nsiteFs=/home;/a:/b:ro\nsiteFs=/c\nmodule_a_siteEnv=A=1\nmodule_a_siteFs=/x:/y\nmodule_a_conflict=b\nmodule_b_enabled=0\ndefaultModules=a\n",
           b"\3imageOwner=990\nverifyImage=prepare\nmountHome=0\nrunDirectory=/run/a /run//b\nwritableSize=1.5G\n"]
    ),
    "volumes": numbered(
        some(b"\0", inputs("../tests/cases/volumemap_user.json"), 24) + some(b"\1", inputs("../tests/cases/volumemap_site.json"), 24) + some(b"\0", inputs("../tests/cases/parse_bytes.json"))
        + [b"\2/a/b:/scratch/x;/c:/home\0/x:/scratch;/y:/home/a"]
    ),
    "metadata": numbered(some(b"\0", inputs("../../formats/vectors/record.json"), 20) + some(b"\1", inputs("../../formats/vectors/meta.json"), 30)),
    "index": numbered(
        some(b"\0", inputs("../../formats/vectors/image-reference.json"), 30) + some(b"\1", inputs("../../formats/vectors/name.json"), 8)
        + [b"\2shifter-root 2\n" + b"\n".join(entry) + b"\n", b"\x031000.0123456789abcdef.12.a"]
    ),
    "slurm": numbered([
        b"\0SLURM_JOB_ID=12\0SLURM_JOB_UID=1000\0SLURM_JOB_GID=100\0SPANK_SHIFTER_IMAGETYPE=id\0SPANK_SHIFTER_IMAGE=" + b"4f6a" * 16
        + b"\0SPANK_SHIFTER_VOLUME=/a:/b:ro;/c:/d\0SPANK_SHIFTER_MODULE=x,y",
        b"\1\x30debian:12\0\x31/a:/b\0\x35" b"5m\0\x33image\0SLURM_JOB_ID=12\0SHIFTER_IMAGETYPE=id\0SHIFTER_IMAGE=" + b"4f6a" * 16 + b"\0SHIFTER_IMAGEREQUEST=docker:debian:12",
        b"\2long_options\0tasks=inside\0shifterimg=/x\0enable_ccm=0\0memory_cgroup=\0shifter_config=/x",
        b"\3file\0# ranks\n0 shifter hostname\n1-2 hostname\n",
    ]),
    "pbs": numbered([
        b"\0shifter-pbs 1\njob 8:7[1].srv\nuid 4:1000\nimage 67:id:" + b"4f6a" * 16
        + b"\nvolume 5:/a:/b\nvolume 5:/c:/d\nmodules 3:x,y\nwritable 3:yes\nshell 7:/bin/sh\nrun 1:1\nend\n",
        b"\1/bin/printf%0A%C3%BC",
    ]),
    "accounts": numbered([bytes([settings]) + passwd + b"\0" + groups + (b"\0" if settings & 32 else b"") for settings in (0xC3, 0xD7, 0x4F, 0xE3, 0xF7, 0x01)]),
}


def squashfs(make, *options, pseudo=""):
    with tempfile.TemporaryDirectory() as directory:
        tree, image, definitions = (pathlib.Path(directory, name) for name in ("tree", "image", "pseudo"))
        tree.mkdir()
        definitions.write_text(pseudo)
        subprocess.run(["sh", "-ec", make], cwd=tree, check=True)
        command = ["mksquashfs", str(tree), str(image), "-quiet", "-no-progress", "-nopad", "-all-root", "-all-time", "5", "-mkfs-time", "5", "-pf", str(definitions), "-b", "4096"]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
        return image.read_bytes()


def packed(tar):
    with tempfile.TemporaryDirectory() as directory:
        image = pathlib.Path(directory, "image")
        subprocess.run(["sqfstar", "-quiet", "-no-progress", "-nopad", *plain, str(image)], input=whole(tar), check=True, stdout=subprocess.DEVNULL)
        return image.read_bytes()


# Uncompressed, so that a change reaches a field.
plain = ("-noI", "-noD", "-noF", "-noX", "-noId")
small = "mkdir d; printf hello > d/f; ln d/f d/g; ln -s d/f l; truncate -s 5000 z"
nodes = "c c 600 0 0 1 3\np i 600 0 0 f\ns i 600 0 0 s\n"
images = {
    "plain": squashfs(small, *plain, pseudo=nodes),
    "no-tables": squashfs(small, *plain, "-no-fragments", "-no-exports", "-no-xattrs"),
    "attributes": packed(archive(pax, ("f", file, {"data": b"x", "pax_headers": {"SCHILY.xattr.user.a": "one", "SCHILY.xattr.trusted.b": "two"}}))),
    **{name: squashfs(small, "-comp", name) for name in ("gzip", "xz", "lzma", "lz4", "zstd")},
    "empty": squashfs(":", *plain),
}

def program(wide, banner=b""):
    """A library with the note of the oldest kernel."""
    header, size = (64, 56) if wide else (52, 32)
    note = header + size
    out = bytearray(b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)).ljust(note, b"\0")
    struct.pack_into("<HH", out, 16, 3, 62 if wide else 3)
    struct.pack_into("<Q" if wide else "<I", out, 32 if wide else 28, header)
    struct.pack_into("<HH", out, 54 if wide else 42, size, 1)
    struct.pack_into("<I", out, header, 4)
    struct.pack_into("<Q" if wide else "<I", out, header + (8 if wide else 4), note)
    struct.pack_into("<Q" if wide else "<I", out, header + (32 if wide else 16), 32)
    return bytes(out) + struct.pack("<III4s4I", 4, 16, 1, b"GNU", 0, 2, 6, 32) + banner


def tree(*more):
    return b"\2" + whole(archive(gnu, ("bin/sh", file, {"data": program(True)}), *more))


banner = b"GNU C Library (x) stable release version 2.36.\n"
trees = {
    "link": b"\0etc/passwd\0/local/etc/passwd",
    "chos": b"\0usr/lib/x\0../../proc/chos/link/chos/usr/lib/y",
    "var": b"\0var/tmp\0/local/var/tmp",
    "wide": b"\1" + program(True, banner),
    "narrow": b"\1" + program(False, banner),
    "archive": tree(("lib/libc.so.6", file, {"data": program(True, banner)}), ("etc/shadow", file, {"data": b"x"}), ("s", link, {"linkname": "etc/shadow"})),
    "links": tree(("a", symlink, {"linkname": "/proc/chos/link/b"}), ("b", symlink, {"linkname": "/b"}), ("var/run", symlink, {"linkname": "/local/x"}), ("h", link, {"linkname": "bin/sh"}), ("c", link, {"linkname": "a"}), ("etc/d", link, {"linkname": "var/run"})),
}

for name, of in (("merge", seeds), ("blob", blobs), ("unsquash", images), ("tree", trees), *policy.items()):
    (corpus / name).mkdir(parents=True, exist_ok=True)
    for key, data in of.items():
        (corpus / name / f"seed-{key}").write_bytes(data)
