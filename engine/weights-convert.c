/* weights-convert.c - stored numbers to f32
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/weights.h"

#include <string.h>

static float
float_of_bits (guint32 bits)
{
  float value;

  memcpy (&value, &bits, sizeof value);
  return value;
}

static float
float_of_half (guint16 half)
{
  guint32 sign = (guint32) (half & 0x8000) << 16;
  guint32 exponent = (half >> 10) & 31, fraction = half & 0x3ff;

  if (exponent == 31)
    return float_of_bits (sign | 0x7f800000 | fraction << 13);
  if (exponent)
    return float_of_bits (sign | (exponent + 112) << 23 | fraction << 13);
  return (sign ? -1.0f : 1.0f) * (float) fraction * 0x1p-24f;
}

void
vlm_tensor_to_f32 (const VlmTensor *tensor, float *out)
{
  gsize n = tensor->bytes / data_type_bytes (tensor->type);
  guint16 half;

  if (tensor->type == TYPE_F32) {
    if (n)
      memcpy (out, tensor->data, tensor->bytes);
    return;
  }
  for (gsize i = 0; i < n; i++) {
    memcpy (&half, tensor->data + 2 * i, 2);
    out[i] = tensor->type == TYPE_BF16 ? float_of_bits ((guint32) half << 16)
                                       : float_of_half (half);
  }
}
