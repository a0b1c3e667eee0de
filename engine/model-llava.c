/* model-llava.c - the family LLaVA 1.5
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One tile, no newline. Source: transformers' modeling_llava.py.
 */
#include "engine/model-parse.h"

const VlmFamily vlm_family_llava = {
  .model_type = "llava",
  .blurb = "LLaVA 1.5: one tile",
  .tiles = FALSE,
  .processor = {
      { "CLIPImageProcessor", VLM_IMAGE_CENTRE_CROP, VLM_IMAGE_CENTRE_CROP },
      { "LlavaImageProcessor", VLM_IMAGE_CENTRE_CROP, VLM_IMAGE_PAD_SQUARE },
  },
};
