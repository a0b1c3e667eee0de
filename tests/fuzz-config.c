/* fuzz-config.c - any text as a folder's JSON files
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is config.json, generation_config.json, preprocessor_config.json
 * and processor_config.json one after the other with a NUL in between; what
 * is missing is absent.
 */
#include "engine/model.h"

#include <string.h>

int LLVMFuzzerTestOneInput (const guint8 *data, gsize size);

static void
use (const VlmConfig *config)
{
  const VlmTextConfig *text = &config->text;
  g_autofree float *frequencies = g_new (float, text->head_width / 2);
  float scale;

  g_assert (
      config->vision.side * config->vision.patch == config->vision.image_size);
  g_assert (text->heads % text->kv_heads == 0);
  for (int i = 0; i < config->n_feature_layers; i++)
    g_assert (config->feature_layer[i] >= 0 &&
              config->feature_layer[i] <= config->vision.layers);
  for (int i = 0; i < text->layers; i++)
    g_assert (text->window[i] >= 0);
  vlm_rope_frequencies (text, 5000, frequencies, &scale);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autofree char *bytes = g_malloc (size + 1);
  const char *text[6] = { NULL };
  g_autoptr (GError) error = NULL;
  VlmConfig config;
  gsize start = 0;
  gboolean parsed;

  if (size)
    memcpy (bytes, data, size);
  bytes[size] = '\0';
  for (int i = 0; i < 6 && start <= size; i++) {
    text[i] = bytes + start;
    start += strlen (text[i]) + 1;
  }
  parsed = vlm_config_parse (&config, "fuzz",
      &(VlmConfigTexts){
          text[0], text[1], text[2], text[3], "tower", text[4], text[5] },
      &error);
  g_assert (parsed == (error == NULL));
  if (parsed)
    use (&config);
  vlm_config_clear (&config);
  return 0;
}
