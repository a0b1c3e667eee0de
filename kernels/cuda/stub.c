/* stub.c - stands in for the CUDA backend in builds without it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cuda/cuda.h"

#include <stdio.h>

Device *
cuda_open (int index, int n_threads, DeviceStatus *status)
{
  status->code = DEVICE_UNAVAILABLE;
  snprintf (status->message, sizeof status->message,
      "device cuda:%d cannot be opened: this build has no CUDA backend; use "
      "device \"cpu\"",
      index);
  return NULL;
}
