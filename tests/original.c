/* original.c - folders as LLaVA's own repository writes them
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Over the golden folders `original` (the tower in it) and `original-next`
 * (the tower in tower/), whose numbers golden.c checks.
 */
#include "engine/model-parse.h"
#include "engine/prompt.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/error.h"
#include "tests/folder.h"

static char *
golden (const char *name)
{
  return g_test_build_filename (G_TEST_DIST, "golden", name, NULL);
}

/* A folder of links to the files of another. */
static char *
linked (const char *name)
{
  g_autofree char *source = golden (name);
  g_autoptr (GDir) dir = g_dir_open (source, 0, NULL);
  char *folder = folder_new ();
  const char *file;

  g_assert_nonnull (dir);
  while ((file = g_dir_read_name (dir))) {
    g_autofree char *from = g_build_filename (source, file, NULL);
    g_autofree char *canonical = g_canonicalize_filename (from, NULL);
    g_autofree char *to = g_build_filename (folder, file, NULL);

    g_assert_cmpint (symlink (canonical, to), ==, 0);
  }
  return folder;
}

static void
drop (const char *folder, const char *file)
{
  g_autofree char *path = g_build_filename (folder, file, NULL);

  g_assert_cmpint (g_remove (path), ==, 0);
}

static void
assert_fails (
    const char *folder, const char *tower, int code, const char *needle)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (vlm_model_open_with_tower (folder, tower, &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, VLM_ERROR, code);
  g_assert_nonnull (strstr (error->message, needle));
}

static void
test_tower (void)
{
  g_autofree char *folder = golden ("original-next");
  g_autofree char *tower = g_build_filename (folder, "tower", NULL);
  g_autofree char *other = golden ("original");
  g_autofree char *nowhere = g_build_filename (folder, "nowhere", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (VlmModel) model =
      vlm_model_open_with_tower (folder, tower, &error);

  g_assert_no_error (error);
  g_assert_cmpint (model->config.vision.image_size, ==, 84);
  g_assert_cmpfloat (model->config.image.std[0], ==, 0.3);
  g_assert_false (
      vlm_weights_has (model->weights, "text_model.final_layer_norm.weight"));
  assert_fails (folder, NULL, VLM_ERROR_WRONG_TYPE, "vision-tower-path");
  assert_fails (folder, nowhere, VLM_ERROR_NOT_FOUND, "nowhere/config.json");
  /* A tower in the folder counts more than one beside it. */
  g_clear_pointer (&model, vlm_model_free);
  model = vlm_model_open_with_tower (other, tower, &error);
  g_assert_no_error (error);
  g_assert_nonnull (strstr (
      vlm_weights_find (model->weights, "vision.embeddings.class_embedding")
          ->file,
      "golden/original/"));
}

/* Known by its name, the tower is still somewhere else. */
static void
test_no_tower (void)
{
  char *folder = linked ("original-next");
  g_autofree char *path = g_build_filename (folder, "config.json", NULL);
  g_autofree char *text = NULL;
  g_autoptr (GString) config = NULL;

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  config = g_string_new (text);
  g_string_replace (config, "a/tower", "openai/clip-vit-large-patch14-336", 1);
  g_string_replace (config, "\"anyres\"", "\"pad\"", 1);
  g_string_replace (config, "\"spatial_unpad\"", "\"flat\"", 1);
  drop (folder, "config.json");
  folder_write (folder, "config.json", config->str, -1);
  assert_fails (folder, NULL, VLM_ERROR_NOT_FOUND, "no weight file holds one");
  drop (folder, "tower");
  folder_remove (folder);
}

static void
test_tokenizer_files (void)
{
  char *folder = linked ("original");

  drop (folder, "tokenizer.model");
  assert_fails (folder, NULL, VLM_ERROR_NOT_FOUND,
      "tokenizer.json or tokenizer.model was expected");
  folder_remove (folder);
}

/* Ids of a text, and of <image>, in a folder with these files beside its
 * tokenizer.model; or what is wrong with it. */
static void
assert_tokens (const char *config, const char *map, const char *added,
    const char *text, const char *expected)
{
  char *folder = linked ("original");
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) found = g_string_new (NULL);

  if (config) {
    drop (folder, "tokenizer_config.json");
    folder_write (folder, "tokenizer_config.json", config, -1);
  }
  if (map)
    folder_write (folder, "special_tokens_map.json", map, -1);
  if (added)
    folder_write (folder, "added_tokens.json", added, -1);
  g_autoptr (VlmModel) model = vlm_model_open (folder, &error);
  g_assert_no_error (error);
  g_autoptr (VlmTokenizer) tokenizer = vlm_prompt_tokenizer (model, &error);
  if (tokenizer) {
    g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (gint32));

    vlm_tokenizer_encode (tokenizer, text, -1, FALSE, ids);
    for (guint i = 0; i < ids->len; i++) {
      gint32 id = g_array_index (ids, gint32, i);

      g_string_append_printf (found, "%d%s ", id,
          vlm_tokenizer_is_special (tokenizer, id) ? "!" : "");
    }
    g_string_append_printf (
        found, "image %d", vlm_tokenizer_id (tokenizer, "<image>"));
  }
  g_assert_cmpstr (
      error ? strchr (error->message, ':') : found->str, ==, expected);
  folder_remove (folder);
}

#define LISTED                                                                 \
  "{\"added_tokens_decoder\":{\"445\":{\"content\":\"<pad>\","                 \
  "\"special\":true},\"1\":{\"content\":\"<s>\",\"special\":true}}}"

/* Tokens that tokenizer.model does not know are cut out of texts, by their
 * ids, as transformers' LlamaTokenizer does. */
static void
test_listed_tokens (void)
{
  assert_tokens (NULL, NULL, "{\"<pad>\":440,\"<x>\":441}", "<x><pad>",
      "441 440 image 442");
  assert_tokens (NULL, "{\"pad_token\":{\"content\":\"<pad>\"}}",
      "{\"<pad>\":440,\"<x>\":442}", "<x><pad>", "442 440! image 443");
  assert_tokens (NULL, "{\"additional_special_tokens\":[\"<x>\"]}",
      "{\"<pad>\":440,\"<x>\":442}", "<x><pad>", "442! 440 image 443");
  assert_tokens (
      LISTED, NULL, "{\"<x>\":440}", "<pad><s>", "445! 1! image 446");
  assert_tokens (
      NULL, NULL, "{\"<x>\":5}", "", ": <x> has the id 5, but that is <0x02>.");
  assert_tokens (NULL, NULL, "{\"<s>\":440}", "",
      ": <s> has the id 440, but its own is 1.");
}

/* What older folders have instead of safetensors is named, and what to do. */
static void
test_pickled (void)
{
  char *folder = linked ("original");

  drop (folder, "model.safetensors");
  folder_write (folder, "pytorch_model.bin.index.json", "{}", -1);
  assert_fails (folder, NULL, VLM_ERROR_WRONG_TYPE,
      "model.safetensors was expected, but the weights are in "
      "pytorch_model.bin.index.json, pickled Python objects, which are not "
      "read; models/bin-to-safetensors.py converts them.");
  folder_write (folder, "pytorch_model.bin", "PK", -1);
  assert_fails (folder, NULL, VLM_ERROR_WRONG_TYPE, "in pytorch_model.bin, ");
  folder_remove (folder);
}

/* A missing tensor is named as this folder names those beside it. */
static void
test_missing_tensor (void)
{
  char *folder = linked ("original");
  g_autofree char *path = g_build_filename (folder, "config.json", NULL);
  g_autofree char *text = NULL;
  g_autoptr (GString) config = NULL;

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  config = g_string_new (text);
  g_string_replace (
      config, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 9", 0);
  drop (folder, "config.json");
  folder_write (folder, "config.json", config->str, -1);
  assert_fails (folder, NULL, VLM_ERROR_DATA,
      "tensor model.layers.3.input_layernorm.weight of shape [64]");
  folder_remove (folder);
}

#define RULE                                                                   \
  "A chat between a curious user and an artificial intelligence "              \
  "assistant. The assistant gives helpful, detailed, and polite "              \
  "answers to the user's questions. "

static void
test_prompt (void)
{
  g_autofree char *folder = golden ("original");
  g_autoptr (GError) error = NULL;
  g_autoptr (VlmModel) model = vlm_model_open (folder, &error);
  g_autoptr (VlmTokenizer) tokenizer = vlm_prompt_tokenizer (model, &error);
  VlmPrompt prompt;
  int id;

  g_assert_no_error (error);
  g_assert_true (vlm_prompt_image_id (&id, model, tokenizer, &error));
  g_assert_cmpint (id, ==, 440);
  vlm_prompt_build (
      &prompt, model, tokenizer, id, "What?", NULL, FALSE, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (prompt.text, ==, RULE "USER: <image>\nWhat? ASSISTANT:");
  g_assert_cmpint (prompt.ids[0], ==, 1);
  vlm_prompt_clear (&prompt);
  vlm_prompt_build (
      &prompt, model, tokenizer, id, "What?", "Be short.", FALSE, &error);
  g_assert_cmpstr (
      prompt.text, ==, "Be short. USER: <image>\nWhat? ASSISTANT:");
  vlm_prompt_clear (&prompt);

  model->config.text.kind = VLM_TEXT_MISTRAL;
  g_free (model->chat_template);
  model->chat_template =
      g_strdup (vlm_config_original_template (&model->config));
  vlm_prompt_build (
      &prompt, model, tokenizer, id, "What?", NULL, FALSE, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (prompt.text, ==, "[INST] <image>\nWhat? [/INST]");
  vlm_prompt_clear (&prompt);
  vlm_prompt_build (
      &prompt, model, tokenizer, id, "What?", "Be short.", FALSE, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (prompt.text, ==,
      "[INST] <<SYS>>\nBe short.\n<</SYS>>\n\n<image>\nWhat? [/INST]");
  vlm_prompt_clear (&prompt);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/original/tower", test_tower);
  g_test_add_func ("/original/no-tower", test_no_tower);
  g_test_add_func ("/original/tokenizer-files", test_tokenizer_files);
  g_test_add_func ("/original/listed-tokens", test_listed_tokens);
  g_test_add_func ("/original/pickled", test_pickled);
  g_test_add_func ("/original/missing-tensor", test_missing_tensor);
  g_test_add_func ("/original/prompt", test_prompt);
  return g_test_run ();
}
