/* fuzz-safetensors.c - any bytes as a safetensors file
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/weights.h"

int LLVMFuzzerTestOneInput (const guint8 *data, gsize size);

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) list =
      vlm_safetensors_parse (data, size, "fuzz", &error);

  g_assert ((list != NULL) == (error == NULL));
  for (guint i = 0; list && i < list->len; i++) {
    const VlmTensor *tensor = list->pdata[i];
    g_autofree char *name = vlm_weights_canonical_name (tensor->name);
    g_autofree float *values = NULL;

    g_assert (tensor->data >= data);
    g_assert (tensor->bytes <= size - (gsize) (tensor->data - data));
    if (!tensor->readable)
      continue;
    values = g_new (float, tensor->bytes / data_type_bytes (tensor->type));
    vlm_tensor_to_f32 (tensor, values);
  }
  return 0;
}
