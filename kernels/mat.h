/* mat.h - weight matrices as the kernels see them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Compiles as C and as C++.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How numbers are stored. F16 is IEEE half, BF16 the upper half of an F32. */
typedef enum DataType {
  TYPE_F32,
  TYPE_BF16,
  TYPE_F16,
} DataType;

static inline size_t
data_type_bytes (DataType type)
{
  return type == TYPE_F32 ? 4 : 2;
}

static inline const char *
data_type_name (DataType type)
{
  return type == TYPE_F32 ? "f32" : type == TYPE_BF16 ? "bf16" : "f16";
}

/* A weight W[rows,cols] with an optional bias[rows]: y = W x + bias, as
 * torch.nn.Linear stores it. Made by Ops.mat_init, released by Ops.mat_clear.
 * `data` and `pack` are the backend's: only its own kernels look inside. */
typedef struct Mat {
  DataType type;    /* as stored on the device */
  int rows;         /* outputs */
  int cols;         /* inputs */
  const void *data; /* [rows,cols] row-major, or NULL when only packed */
  float *bias;      /* [rows] on the device, or NULL */
  void *pack;       /* what the backend prepared at load, or NULL */
  int owns_data;    /* 0: data points into the caller's mapping */
} Mat;

#ifdef __cplusplus
}
#endif
