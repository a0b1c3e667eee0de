/* model.c - opens a checkpoint folder and checks all of it
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/model-parse.h"

#include <glib/gi18n-lib.h>
#include <stdlib.h>

#include "engine/error.h"

#define MAX_CONFIG_BYTES (16 << 20)
#define MAX_TOKENIZER_BYTES (256 << 20)

const VlmFamily *const vlm_families[] = {
  &vlm_family_llava_next,
  &vlm_family_llava,
  &vlm_family_flexattention,
  NULL,
};

const VlmFamily *
vlm_family_find (const char *model_type)
{
  for (int i = 0; vlm_families[i]; i++)
    if (g_str_equal (vlm_families[i]->model_type, model_type))
      return vlm_families[i];
  return NULL;
}

void
vlm_model_free (VlmModel *model)
{
  if (!model)
    return;
  vlm_config_clear (&model->config);
  g_clear_pointer (&model->weights, vlm_weights_free);
  g_free (model->folder);
  g_free (model->name);
  g_free (model->chat_template);
  g_free (model->tokenizer);
  for (int i = 0; i < VLM_N_TOKEN_TEXTS; i++)
    g_free (model->token_texts[i]);
  g_free (model->bos_token);
  g_free (model->eos_token);
  g_free (model);
}

/* Text of a file in the folder; NULL without error if an optional one is not
 * there. */
static gboolean
read_file (const VlmModel *model, const char *file, gboolean optional,
    gsize limit, char **text, gsize *length, GError **error)
{
  g_autofree char *path = g_build_filename (model->folder, file, NULL);

  if (optional && !g_file_test (path, G_FILE_TEST_EXISTS))
    return TRUE;
  return vlm_read_text (path, limit, text, length, error);
}

/* config.json and preprocessor_config.json of the vision tower's folder. */
static gboolean
read_tower (
    const char *tower, char **config, char **preprocessor, GError **error)
{
  VlmModel folder = { .folder = (char *) tower };
  gsize length;

  return !tower || (read_file (&folder, "config.json", FALSE, MAX_CONFIG_BYTES,
                        config, &length, error) &&
                       read_file (&folder, "preprocessor_config.json", TRUE,
                           MAX_CONFIG_BYTES, preprocessor, &length, error));
}

static gboolean
read_config (VlmModel *model, const char *tower, GError **error)
{
  static const char *const files[] = { "config.json", "generation_config.json",
    "preprocessor_config.json", "processor_config.json" };
  g_autofree char *config = NULL, *generation = NULL;
  g_autofree char *preprocessor = NULL, *processor = NULL;
  g_autofree char *tower_config = NULL, *tower_preprocessor = NULL;
  char **texts[] = { &config, &generation, &preprocessor, &processor };
  gsize length;

  for (gsize i = 0; i < G_N_ELEMENTS (files); i++)
    if (!read_file (
            model, files[i], i > 0, MAX_CONFIG_BYTES, texts[i], &length, error))
      return FALSE;
  if (!read_tower (tower, &tower_config, &tower_preprocessor, error))
    return FALSE;
  return vlm_config_parse (&model->config, model->folder,
      &(VlmConfigTexts){ config, generation, preprocessor, processor, tower,
          tower_config, tower_preprocessor },
      error);
}

/* A token written as a string or as {"content": string}; *token, owned, stays
 * when the key is absent. */
static gboolean
get_token (const VlmJson *json, const char *key, char **token, GError **error)
{
  JsonNode *node = vlm_json_member (json, key);
  const char *text = NULL;
  VlmJson entry;

  if (!node)
    return TRUE;
  if (JSON_NODE_HOLDS_OBJECT (node)) {
    if (!vlm_json_get_object (json, key, &entry, error) ||
        !vlm_json_get_string (&entry, "content", &text, error))
      return FALSE;
  } else if (!vlm_json_get_string (json, key, &text, error))
    return FALSE;
  g_free (*token);
  *token = g_strdup (text);
  return TRUE;
}

/* The picture's marker, in whichever file names it, is the one we know. */
static gboolean
check_marker (const VlmJson *json, GError **error)
{
  const char *key = "image_token";
  g_autofree char *marker = NULL;

  if (!get_token (json, key, &marker, error))
    return FALSE;
  return !marker || g_str_equal (marker, "<image>") ||
         vlm_json_fail (json, key, VLM_ERROR_WRONG_TYPE, "\"<image>\"", error);
}

static gboolean
get_tokens (VlmModel *model, const VlmJson *json, GError **error)
{
  return get_token (json, "bos_token", &model->bos_token, error) &&
         get_token (json, "eos_token", &model->eos_token, error) &&
         check_marker (json, error);
}

static gboolean
get_flag (const VlmJson *json, const char *key, int *flag, GError **error)
{
  gboolean on = FALSE;

  *flag = -1;
  if (!vlm_json_get_boolean (json, key, &on, error))
    return FALSE;
  if (vlm_json_has (json, key))
    *flag = on ? 1 : 0;
  return TRUE;
}

/* A JSON file of the folder; *root owned, NULL if there is no such file.
 * *path, owned, is json's file name. */
static gboolean
read_json (const VlmModel *model, const char *file, char **path,
    JsonNode **root, VlmJson *json, GError **error)
{
  g_autofree char *text = NULL;
  gsize length;

  *path = g_build_filename (model->folder, file, NULL);
  if (!read_file (
          model, file, TRUE, MAX_TOKENIZER_BYTES, &text, &length, error))
    return FALSE;
  if (text && !(*root = vlm_json_parse (text, length, *path, FALSE, error)))
    return FALSE;
  *json = vlm_json_root (*root, *path);
  return TRUE;
}

/* special_tokens_map.json outranks tokenizer_config.json, but is not read if
 * that one lists its tokens. Source: transformers'
 * PreTrainedTokenizerBase._from_pretrained. */
static gboolean
read_special_tokens (VlmModel *model, const VlmJson *config, GError **error)
{
  g_autofree char *path = NULL;
  g_autoptr (JsonNode) root = NULL;
  VlmJson json;

  if (vlm_json_member (config, "added_tokens_decoder"))
    return TRUE;
  return read_json (
             model, "special_tokens_map.json", &path, &root, &json, error) &&
         get_tokens (model, &json, error);
}

/* tokenizer.json, or where there is none tokenizer.model. */
static gboolean
read_tokenizer_file (VlmModel *model, GError **error)
{
  gsize length;

  model->tokenizer_file = "tokenizer.json";
  if (!read_file (model, model->tokenizer_file, TRUE, MAX_TOKENIZER_BYTES,
          &model->tokenizer, &model->tokenizer_length, error))
    return FALSE;
  if (model->tokenizer)
    return TRUE;
  model->tokenizer_file = "tokenizer.model";
  if (!read_file (model, model->tokenizer_file, TRUE, MAX_TOKENIZER_BYTES,
          &model->tokenizer, &model->tokenizer_length, error))
    return FALSE;
  for (int i = 0; i < VLM_N_TOKEN_TEXTS; i++)
    if (!read_file (model, vlm_token_texts[i], TRUE, MAX_TOKENIZER_BYTES,
            &model->token_texts[i], &length, error))
      return FALSE;
  if (!model->tokenizer)
    vlm_fail_expected (error, VLM_ERROR_NOT_FOUND, model->folder,
        "tokenizer.json or tokenizer.model", N_ ("neither is there"));
  return model->tokenizer != NULL;
}

static gboolean
read_tokenizer (VlmModel *model, GError **error)
{
  g_autofree char *path = NULL;
  g_autoptr (JsonNode) root = NULL;
  VlmJson json;

  return read_tokenizer_file (model, error) &&
         read_json (
             model, "tokenizer_config.json", &path, &root, &json, error) &&
         get_flag (&json, "add_bos_token", &model->add_bos, error) &&
         get_flag (&json, "add_eos_token", &model->add_eos, error) &&
         get_tokens (model, &json, error) &&
         read_special_tokens (model, &json, error);
}

/* What the folder says twice, or asks for without need. */
static void
warn (const VlmModel *model)
{
  if (model->config.quirks & VLM_QUIRK_BEAMS)
    g_warning ("%s/generation_config.json: num_beams is more than 1, but one "
               "beam is decoded, as with num_beams 1.",
        model->folder);
  if (model->config.quirks & VLM_QUIRK_TOKEN_COUNT)
    g_warning ("%s/processor_config.json: patch_size, "
               "num_additional_image_tokens and "
               "vision_feature_select_strategy give another number of image "
               "tokens than config.json, which is followed.",
        model->folder);
}

static gboolean
find_folder (VlmModel *model, const char *folder, GError **error)
{
  char *path;

  if (!g_file_test (folder, G_FILE_TEST_IS_DIR) ||
      !(path = realpath (folder, NULL)))
    return vlm_fail_expected (error, VLM_ERROR_NOT_FOUND, folder,
        "a model folder", N_ ("there is none"));
  model->folder = g_strdup (path);
  free (path);
  model->name = g_path_get_basename (model->folder);
  return TRUE;
}

static gboolean
read_template (VlmModel *model, GError **error)
{
  if (!vlm_model_read_template (model->folder, &model->chat_template,
          &model->chat_template_file, error))
    return FALSE;
  if (!model->chat_template && model->config.original) {
    model->chat_template =
        g_strdup (vlm_config_original_template (&model->config));
    model->chat_template_file = "the built-in chat template";
  }
  return TRUE;
}

static gboolean
open_weights (VlmModel *model, const char *tower, GError **error)
{
  model->weights = vlm_weights_open (model->folder, error);
  if (!model->weights ||
      (tower && !vlm_weights_join (model->weights, tower, "vision.", error)))
    return FALSE;
  if (model->config.original &&
      !vlm_weights_has (model->weights, "vision.embeddings.class_embedding"))
    return vlm_fail (error, VLM_ERROR_NOT_FOUND,
        VLM_ABOUT (.file = model->folder, .setting = "vision-tower-path",
            .expected = "a vision tower"),
        "%s: a vision tower was expected, but no weight file holds one; a "
        "folder that has it can be named beside this one (vision-tower-path).",
        model->folder);
  return vlm_model_check_tensors (model, error);
}

VlmModel *
vlm_model_open_with_tower (
    const char *folder, const char *tower, GError **error)
{
  g_autoptr (VlmModel) model = g_new0 (VlmModel, 1);

  if (!find_folder (model, folder, error) ||
      !read_config (model, tower, error) || !read_tokenizer (model, error) ||
      !read_template (model, error) || !open_weights (model, tower, error))
    return NULL;
  warn (model);
  return g_steal_pointer (&model);
}

VlmModel *
vlm_model_open (const char *folder, GError **error)
{
  return vlm_model_open_with_tower (folder, NULL, error);
}
