/* numbers.c - the types of numbers that an engine computes with
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/numbers.h"

#include "engine/error.h"

#define SMALL_PARAMETERS 256000000u

gboolean
vlm_numbers_parse (VlmWeightType *wanted, const char *name, GError **error)
{
  static const char *const names[] = {
    [VLM_WEIGHTS_AUTO] = "auto",
    [VLM_WEIGHTS_F32] = "f32",
    [VLM_WEIGHTS_BF16] = "bf16",
  };
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    if (g_str_equal (name, names[i])) {
      *wanted = (VlmWeightType) i;
      return TRUE;
    }
  return vlm_fail (error, VLM_ERROR_SETTINGS, NULL,
      "Weights are auto, f32 or bf16, not \"%s\".", name);
}

static DataType
stored_type (const VlmModel *model)
{
  const VlmTensor *table =
      vlm_weights_find (model->weights, "text.embed_tokens.weight");
  return table ? table->type : TYPE_F32;
}

static gboolean
is_f32 (VlmWeightType wanted, const VlmModel *model)
{
  guint64 parameters = vlm_weights_bytes (model->weights) /
                       data_type_bytes (stored_type (model));
  return wanted == VLM_WEIGHTS_F32 ||
         (wanted == VLM_WEIGHTS_AUTO && parameters < SMALL_PARAMETERS);
}

Device *
vlm_numbers_open_device (const char *name, VlmWeightType wanted,
    const VlmModel *model, int threads, DeviceStatus *status)
{
  gboolean full = is_f32 (wanted, model) && !g_str_has_suffix (name, ":f32");
  g_autofree char *whole = g_strconcat (name, full ? ":f32" : NULL, NULL);
  return device_open (whole, threads, status);
}

DataType
vlm_numbers_choose (
    VlmWeightType wanted, const Device *dev, const VlmModel *model)
{
  if (dev->act_type != TYPE_F32)
    return dev->act_type;
  if (is_f32 (wanted, model))
    return TYPE_F32;
  return wanted == VLM_WEIGHTS_BF16 || dev->has_bf16 ? TYPE_BF16
                                                     : stored_type (model);
}
