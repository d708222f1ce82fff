"""What scripts/gpu-check does.

`command` reads arguments and runs the parts, `schedule` gives each its time, `machine` finds binaries and libtorch,
`process` starts things, `report` writes what was found. A part is a file: `probe`, `contract`, `golden`,
`quickstart`, `speed` (which also has the snapshot).
"""
