"""Three steps beside the committed numbers of PyTorch, in full f32."""

import json

from gpu_check.process import Child
from gpu_check.schedule import Failed


def take(context):
    command = [context.binary("golden_step"), context.root / "tests" / "reference", "cpu" if context.cpu else "cuda"]
    with Child(context, command) as child:
        lines = child.process.stdout.read().splitlines()
        code = child.process.wait()
        found = fixtures(lines)
        for name, one in found.items():
            context.say(f"{name}: off by {one['off_by']:.1e} of its norm at worst, accepted are {one['accepted']:.0e}")
        if bad := [f"{one['worst']} is off by {one['off_by']:.1e}" for one in found.values() if not one["good"]]:
            raise Failed("; ".join(bad), {"fixtures": found})
        if code or not found:
            raise Failed(f"golden_step ended with {code}\n{child.complaints()}".rstrip(), {"fixtures": found})
    return {"fixtures": found}


def fixtures(lines):
    """The program's lines by fixture."""
    each = [json.loads(line) for line in lines if line.startswith("{")]
    return {one.pop("fixture"): one for one in each}
