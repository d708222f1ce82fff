// The kernels of a GPU's engine on a CPU.
#include "kernels.h"
