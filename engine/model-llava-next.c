/* model-llava-next.c - the family LLaVA-NeXT, also called LLaVA 1.6
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A base tile and a grid of tiles chosen by the picture's shape; rows of the
 * grid end in a learned newline. Source: transformers'
 * modeling_llava_next.py.
 */
#include "engine/model-parse.h"

const VlmFamily vlm_family_llava_next = {
  .model_type = "llava_next",
  .blurb = "LLaVA-NeXT (LLaVA 1.6): high resolution in tiles",
  .tiles = TRUE,
  .processor = {
      { "LlavaNextImageProcessor", VLM_IMAGE_ANYRES, VLM_IMAGE_ANYRES },
  },
};
