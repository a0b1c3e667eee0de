/* cuda.h - opening the CUDA backend
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The backend is a module that links the CUDA libraries; nothing else does.
 */
#pragma once

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opens GPU number `index`, loading the module if need be: the file that
 * HIREDVLM_CUDA_MODULE names, or the one beside this code (a build folder), or
 * the installed one. full: activations and weights in f32 instead of bf16 or
 * f16. n_threads is for the work left on the host. NULL with
 * the reason in *status, which is not NULL. */
Device *cuda_open (int index, bool full, int n_threads, DeviceStatus *status);

#ifdef __cplusplus
}
#endif
