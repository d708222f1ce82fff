// The kernels of a GPU's engine on a CPU.
#include "kernels/portable.h"
#include "kernels/sums.h"
#include "kernels/update.h"
