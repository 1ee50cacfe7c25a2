"""Writes a C file that holds a program: `disk_guest_start` up to `disk_guest_end`. Without one it is empty."""
import os
import sys

output, *programs = sys.argv[1:]
content = "".join(f'\\n.incbin \\"{os.path.abspath(program)}\\"' for program in programs)
with open(output, "w") as file:
    file.write(
        '__asm__(".pushsection .rodata\\n.balign 16\\n.global disk_guest_start\\ndisk_guest_start:'
        + content
        + '\\n.global disk_guest_end\\ndisk_guest_end:\\n.popsection\\n");\n'
    )
