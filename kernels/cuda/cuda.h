/* cuda.h - opening the CUDA backend, or its stub
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opens GPU number `index`. NULL with the reason in *status, which is not
 * NULL. n_threads is for the work left on the host. */
Device *cuda_open (int index, int n_threads, DeviceStatus *status);

#ifdef __cplusplus
}
#endif
