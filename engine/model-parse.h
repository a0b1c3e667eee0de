/* model-parse.h - the parts of vlm_config_parse, one file each
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Private to engine/model*.c. Every function reads keys over transformers'
 * defaults and reports the first value that cannot be honoured.
 */
#pragma once

#include "engine/json.h"
#include "engine/model.h"

G_BEGIN_DECLS

extern const VlmFamily vlm_family_llava_next;
extern const VlmFamily vlm_family_llava;
extern const VlmFamily vlm_family_flexattention;

/* NULL if there is none. */
const VlmFamily *vlm_family_find (const char *model_type);

/* vision_config. `top` is config.json. */
gboolean vlm_config_parse_vision (
    VlmVisionConfig *vision, const VlmJson *top, GError **error);

/* The same of that object itself, which may be empty. */
gboolean vlm_config_parse_tower (
    VlmVisionConfig *vision, const VlmJson *json, GError **error);

/* text_config, its RoPE and its windows. */
gboolean vlm_config_parse_text (
    VlmTextConfig *text, const VlmJson *top, GError **error);

/* The same of the object itself, whose model_type counts as `kind`. */
gboolean vlm_config_parse_text_as (
    VlmTextConfig *text, const VlmJson *json, const char *kind, GError **error);

/* Whether config.json is of LLaVA's own repository. */
gboolean vlm_config_is_original (const VlmJson *top);

/* All of such a file but the image processor; `tower` is the config.json of
 * the vision tower's own folder, or empty. */
gboolean vlm_config_parse_original (VlmConfig *config, const VlmJson *top,
    const VlmJson *tower, GError **error);

/* The chat template that such a folder goes without: LLaVA's conversation of
 * its version 1, system sentence included, or that of Mistral models. */
const char *vlm_config_original_template (const VlmConfig *config);

/* FlexAttention's `extra`, if config.json has it; all else is known. */
gboolean vlm_config_parse_zoom (
    VlmConfig *config, const VlmJson *top, GError **error);

/* rope_scaling, rope_parameters, rope_theta of the text config `json`, whose
 * max_position is known. */
gboolean vlm_config_parse_rope (
    VlmRope *rope, const VlmJson *json, int max_position, GError **error);

/* The image processor's settings and image_grid_pinpoints; family and vision
 * are known, and in an original folder the mode. `processor` may be empty:
 * built-in defaults. */
gboolean vlm_config_parse_image (VlmConfig *config, const VlmJson *top,
    const VlmJson *processor, GError **error);

/* generation_config.json; ids of end tokens also from config.json. */
gboolean vlm_config_parse_generation (VlmConfig *config, const VlmJson *top,
    const VlmJson *generation, GError **error);

/* "gelu" or "quick_gelu" under a key; *act stays when it is absent. */
gboolean vlm_config_parse_activation (
    VlmActivation *act, const VlmJson *json, const char *key, GError **error);

/* The chat template of a folder, in the order transformers' processors look:
 * NULL without error if there is none. Owned; *file is a constant. */
gboolean vlm_model_read_template (const char *folder, char **chat_template,
    const char **file, GError **error);

/* Every tensor that the forward pass reads is there in its shape. Sets
 * text.tied. */
gboolean vlm_model_check_tensors (VlmModel *model, GError **error);

G_END_DECLS
