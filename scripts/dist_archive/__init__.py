"""The archive that `make dist` makes.

- command: the command line, and the order of things.
- folder: what lies where in it.
- elf: what binaries need, and how they lose what tells of the machine that built them.
- licences: of everything that is in it.
- verify: whether a folder is as it should be.
- chroot: the quickstart in an empty root file system.
"""
