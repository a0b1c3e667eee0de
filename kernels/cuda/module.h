/* module.h - the one symbol of libhiredvlm-cuda.so
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CUDA_MODULE_OPEN "hiredvlm_cuda_open"

typedef struct CudaOpen {
  size_t device_bytes, ops_bytes; /* of Device and Ops: both sides agree */
  int index;                      /* of the GPU */
  int n_threads;
  bool full; /* activations and weights in f32 */
} CudaOpen;

/* NULL with the reason in *status. options_bytes: sizeof *options. */
typedef Device *(*CudaModuleOpen) (
    const CudaOpen *options, size_t options_bytes, DeviceStatus *status);

__attribute__ ((visibility ("default"))) Device *hiredvlm_cuda_open (
    const CudaOpen *options, size_t options_bytes, DeviceStatus *status);

#ifdef __cplusplus
}
#endif
