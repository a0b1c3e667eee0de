/* model.c - checkpoint folders: config, templates, tensors, bad input
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/model.h"

#include <glib/gstdio.h>
#include <string.h>

#include "engine/error.h"
#include "tests/folder.h"

/* A LLaVA-NeXT that is as small as the format allows: tiles of 16 pixels. */
#define PINPOINTS "[[16,32],[32,16],[32,32]]"
#define VISION                                                                 \
  "\"vision_config\":{\"hidden_size\":8,\"intermediate_size\":12,"             \
  "\"num_hidden_layers\":3,\"num_attention_heads\":2,\"image_size\":16,"       \
  "\"patch_size\":8}"
#define TEXT                                                                   \
  "\"text_config\":{\"vocab_size\":32,\"hidden_size\":16,"                     \
  "\"intermediate_size\":20,\"num_hidden_layers\":2,"                          \
  "\"num_attention_heads\":4,\"num_key_value_heads\":2}"
#define NEXT                                                                   \
  "{\"model_type\":\"llava_next\"," VISION "," TEXT                            \
  ",\"image_grid_pinpoints\":" PINPOINTS "}"

static void
add_vision (TensorFile *file, const char *prefix)
{
  static const struct {
    const char *name;
    int rows, cols;
  } part[] = {
    { "layer_norm1", 8, 0 },
    { "layer_norm2", 8, 0 },
    { "self_attn.q_proj", 8, 8 },
    { "self_attn.k_proj", 8, 8 },
    { "self_attn.v_proj", 8, 8 },
    { "self_attn.out_proj", 8, 8 },
    { "mlp.fc1", 12, 8 },
    { "mlp.fc2", 8, 12 },
  };

  for (int layer = 0; layer < 2; layer++)
    for (gsize i = 0; i < G_N_ELEMENTS (part); i++) {
      g_autofree char *name = g_strdup_printf (
          "%sencoder.layers.%d.%s.", prefix, layer, part[i].name);
      g_autofree char *weight = g_strconcat (name, "weight", NULL);
      g_autofree char *bias = g_strconcat (name, "bias", NULL);

      tensor_file_add (file, weight, "F32", 4, part[i].rows, part[i].cols);
      tensor_file_add (file, bias, "F32", 4, part[i].rows, 0);
    }
}

static void
add_text (TensorFile *file, const char *prefix)
{
  static const struct {
    const char *name;
    int rows, cols;
  } part[] = {
    { "input_layernorm", 16, 0 },
    { "post_attention_layernorm", 16, 0 },
    { "self_attn.q_proj", 16, 16 },
    { "self_attn.k_proj", 8, 16 },
    { "self_attn.v_proj", 8, 16 },
    { "self_attn.o_proj", 16, 16 },
    { "mlp.gate_proj", 20, 16 },
    { "mlp.up_proj", 20, 16 },
    { "mlp.down_proj", 16, 20 },
  };

  for (int layer = 0; layer < 2; layer++)
    for (gsize i = 0; i < G_N_ELEMENTS (part); i++) {
      g_autofree char *name = g_strdup_printf (
          "%slayers.%d.%s.weight", prefix, layer, part[i].name);

      tensor_file_add (file, name, "BF16", 2, part[i].rows, part[i].cols);
    }
}

static void
add_named (
    TensorFile *file, const char *prefix, const char *name, int rows, int cols)
{
  g_autofree char *full = g_strconcat (prefix, name, NULL);

  tensor_file_add (file, full, "F16", 2, rows, cols);
}

/* The three layouts of transformers. */
static const struct {
  const char *vision, *text, *head, *projector, *newline;
} layouts[] = {
  { "vision_tower.vision_model.", "language_model.model.", "language_model.",
      "multi_modal_projector.", "" },
  { "model.vision_tower.vision_model.", "model.language_model.", "",
      "model.multi_modal_projector.", "model." },
  { "model.vision_tower.", "model.language_model.", "",
      "model.multi_modal_projector.", "model." },
  { "vision_tower.", "language_model.model.", "language_model.",
      "multi_modal_projector.", "" },
};

/* All the tensors of NEXT; the layer that does not run is left out. */
static void
tensors_init (TensorFile *file, guint layout)
{
  const char *vision = layouts[layout].vision, *text = layouts[layout].text;
  const char *projector = layouts[layout].projector;
  g_autofree char *patches =
      g_strconcat (vision, "embeddings.patch_embedding.weight", NULL);

  tensor_file_init (file);
  add_named (file, vision, "embeddings.class_embedding", 8, 0);
  add_named (file, vision, "embeddings.position_embedding.weight", 5, 8);
  tensor_file_add_shape (file, patches, "F32", "[8,3,8,8]", 8 * 3 * 64 * 4);
  add_named (file, vision, "pre_layrnorm.weight", 8, 0);
  add_named (file, vision, "pre_layrnorm.bias", 8, 0);
  add_vision (file, vision);
  add_named (file, projector, "linear_1.weight", 16, 8);
  add_named (file, projector, "linear_1.bias", 16, 0);
  add_named (file, projector, "linear_2.weight", 16, 16);
  add_named (file, projector, "linear_2.bias", 16, 0);
  add_named (file, layouts[layout].newline, "image_newline", 16, 0);
  add_named (file, text, "embed_tokens.weight", 32, 16);
  add_text (file, text);
  add_named (file, text, "norm.weight", 16, 0);
  add_named (file, layouts[layout].head, "lm_head.weight", 32, 16);
}

static char *
tiny_folder (guint layout)
{
  char *folder = folder_new ();
  TensorFile file;

  tensors_init (&file, layout);
  tensor_file_write (&file, folder, "model.safetensors");
  tensor_file_clear (&file);
  folder_write (folder, "config.json", NEXT, -1);
  folder_write (folder, "tokenizer.json", "{}", -1);
  folder_write (folder, "preprocessor_config.json",
      "{\"image_processor_type\":\"LlavaNextImageProcessor\",\"size\":"
      "{\"shortest_edge\":16},\"crop_size\":16,\"image_grid_"
      "pinpoints\":" PINPOINTS "}",
      -1);
  return folder;
}

static void
test_layouts (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (layouts); i++) {
    g_autoptr (VlmModel) model = NULL;
    g_autoptr (GError) error = NULL;
    char *folder = tiny_folder (i);

    model = vlm_model_open (folder, &error);
    g_assert_no_error (error);
    g_assert_false (model->config.text.tied);
    g_assert_true (model->config.newline);
    g_assert_cmpint (model->config.feature_layer[0], ==, 2);
    g_assert_cmpint (model->add_bos, ==, -1);
    g_assert_null (model->chat_template);
    g_assert_nonnull (
        vlm_weights_find (model->weights, "text.layers.1.mlp.up_proj.weight"));
    folder_remove (folder);
  }
}

static void
assert_open_fails (const char *folder, int code, const char *needle)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (vlm_model_open (folder, &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, VLM_ERROR, code);
  g_assert_nonnull (strstr (error->message, needle));
}

/* Each tensor in turn missing: named as the folder would spell it. A head
 * that is missing is a tied one. */
static void
check_tensors (guint layout)
{
  char *folder = tiny_folder (layout);
  g_auto (GStrv) entries = NULL;
  TensorFile file;

  tensors_init (&file, layout);
  entries = g_strsplit (file.header->str, "},", -1);
  for (int i = 0; entries[i]; i++) {
    g_autofree char *kept = g_strdup (file.header->str);
    g_autofree char *raw = g_strndup (entries[i] + 1,
        (gsize) (strchr (entries[i] + 1, '"') - entries[i] - 1));
    g_autofree char *needle = g_strdup_printf ("tensor %s of", raw);
    g_autoptr (GString) header = g_string_new (kept);
    g_autoptr (GByteArray) bytes = NULL;

    g_string_replace (header, raw, "nobody.knows", 1);
    g_string_prepend_c (header, '{');
    g_string_append_c (header, '}');
    bytes = raw_tensor_file (header->str, file.bytes);
    folder_write (folder, "model.safetensors", bytes->data, bytes->len);
    if (!g_str_has_suffix (raw, "lm_head.weight"))
      assert_open_fails (folder, VLM_ERROR_DATA, needle);
  }
  tensor_file_clear (&file);
  folder_remove (folder);
}

static void
test_tensors (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (layouts); i++)
    check_tensors (i);
}

/* A whole part missing is named as published folders have it. */
static void
test_no_vision (void)
{
  char *folder = tiny_folder (0);
  TensorFile file;

  tensor_file_init (&file);
  tensor_file_add (&file, "lm_head.weight", "F32", 4, 2, 2);
  tensor_file_write (&file, folder, "model.safetensors");
  tensor_file_clear (&file);
  assert_open_fails (folder, VLM_ERROR_DATA,
      "tensor vision_tower.vision_model.embeddings.class_embedding of");
  folder_remove (folder);
}

static void
test_tied (void)
{
  char *folder = tiny_folder (0);
  g_autoptr (VlmModel) model = NULL;
  g_autoptr (GError) error = NULL;
  TensorFile file;

  tensors_init (&file, 0);
  g_string_truncate (file.header,
      (gsize) (strstr (file.header->str, ",\"language_model.lm_head") -
               file.header->str));
  file.bytes -= 32 * 16 * 2;
  tensor_file_write (&file, folder, "model.safetensors");
  tensor_file_clear (&file);
  model = vlm_model_open (folder, &error);
  g_assert_no_error (error);
  g_assert_true (model->config.text.tied);
  folder_remove (folder);
}

static void
write_config (const char *folder, const char *text)
{
  folder_write (folder, "config.json", text, -1);
}

static void
test_wrong_shapes (void)
{
  static const struct {
    const char *from, *to, *needle;
  } change[] = {
    { "\"vocab_size\":32", "\"vocab_size\":33",
        "tensor language_model.model.embed_tokens.weight has shape [32,16], "
        "but [33,16]" },
    { "\"num_key_value_heads\":2", "\"num_key_value_heads\":4",
        "k_proj.weight has shape [8,16], but [16,16]" },
    { "\"patch_size\":8", "\"patch_size\":4",
        "patch_embedding.weight has shape [8,3,8,8], but [8,3,4,4]" },
    { "\"num_hidden_layers\":2", "\"num_hidden_layers\":3",
        "tensor language_model.model.layers.2.input_layernorm.weight of shape "
        "[16]" },
    { "\"model_type\"", "\"vision_feature_layer\":[1,2],\"model_type\"",
        "linear_1.weight has shape [16,8], but [16,16]" },
    { "\"model_type\"", "\"vision_feature_layer\":-1,\"model_type\"",
        "tensor vision_tower.vision_model.encoder.layers.2." },
  };
  char *folder = tiny_folder (0);

  for (gsize i = 0; i < G_N_ELEMENTS (change); i++) {
    g_autoptr (GString) config = g_string_new (NEXT);

    g_assert_cmpuint (
        g_string_replace (config, change[i].from, change[i].to, 1), ==, 1);
    write_config (folder, config->str);
    assert_open_fails (folder, VLM_ERROR_DATA, change[i].needle);
  }
  folder_remove (folder);
}

static void
test_wrong_dtype (void)
{
  char *folder = tiny_folder (0);
  TensorFile file;

  tensors_init (&file, 0);
  g_string_replace (file.header,
      "\"language_model.lm_head.weight\":{\"dtype\":\"F16\"",
      "\"language_model.lm_head.weight\":{\"dtype\":\"I16\"", 1);
  tensor_file_write (&file, folder, "model.safetensors");
  tensor_file_clear (&file);
  assert_open_fails (folder, VLM_ERROR_WRONG_TYPE,
      "tensor language_model.lm_head.weight is I16, but F32, BF16 or F16");
  folder_remove (folder);
}

static void
remove_file (const char *folder, const char *file)
{
  g_autofree char *path = g_build_filename (folder, file, NULL);

  g_assert_cmpint (g_remove (path), ==, 0);
}

static void
test_missing_files (void)
{
  char *folder = tiny_folder (0);
  g_autofree char *config = g_build_filename (folder, "config.json", NULL);

  assert_open_fails ("/nowhere/at/all", VLM_ERROR_NOT_FOUND, "/nowhere");
  assert_open_fails (config, VLM_ERROR_NOT_FOUND, "a model folder");
  remove_file (folder, "preprocessor_config.json");
  vlm_model_free (vlm_model_open (folder, NULL));
  remove_file (folder, "model.safetensors");
  assert_open_fails (folder, VLM_ERROR_NOT_FOUND, "neither is there");
  remove_file (folder, "tokenizer.json");
  assert_open_fails (folder, VLM_ERROR_NOT_FOUND, "tokenizer.json");
  remove_file (folder, "config.json");
  assert_open_fails (folder, VLM_ERROR_NOT_FOUND, "config.json");
  folder_remove (folder);
}

static void
test_tokenizer_config (void)
{
  char *folder = tiny_folder (0);
  g_autoptr (VlmModel) model = NULL;
  g_autoptr (GError) error = NULL;

  folder_write (folder, "tokenizer_config.json",
      "{\"add_bos_token\":true,\"add_eos_token\":false,\"bos_token\":"
      "{\"content\":\"<s>\"},\"eos_token\":\"</s>\",\"chat_template\":"
      "[{\"name\":\"rag\",\"template\":\"x\"},{\"name\":\"default\","
      "\"template\":\"from list\"}]}",
      -1);
  model = vlm_model_open (folder, &error);
  g_assert_no_error (error);
  g_assert_cmpint (model->add_bos, ==, 1);
  g_assert_cmpint (model->add_eos, ==, 0);
  g_assert_cmpstr (model->bos_token, ==, "<s>");
  g_assert_cmpstr (model->eos_token, ==, "</s>");
  g_assert_cmpstr (model->chat_template, ==, "from list");
  g_assert_cmpuint (model->tokenizer_length, ==, 2);
  folder_write (folder, "tokenizer_config.json", "{\"bos_token\":1}", -1);
  assert_open_fails (folder, VLM_ERROR_DATA, "bos_token is 1");
  folder_remove (folder);
}

/* It outranks tokenizer_config.json where transformers reads it. */
static void
test_special_tokens (void)
{
  char *folder = tiny_folder (0);
  g_autoptr (VlmModel) model = NULL, listed = NULL;
  g_autoptr (GError) error = NULL;

  folder_write (folder, "tokenizer_config.json",
      "{\"bos_token\":\"a\",\"eos_token\":\"b\"}", -1);
  folder_write (folder, "special_tokens_map.json",
      "{\"bos_token\":{\"content\":\"c\"},\"image_token\":\"<image>\"}", -1);
  model = vlm_model_open (folder, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (model->bos_token, ==, "c");
  g_assert_cmpstr (model->eos_token, ==, "b");
  folder_write (folder, "tokenizer_config.json",
      "{\"bos_token\":\"a\",\"added_tokens_decoder\":{}}", -1);
  listed = vlm_model_open (folder, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (listed->bos_token, ==, "a");
  folder_write (folder, "tokenizer_config.json",
      "{\"image_token\":{\"content\":\"<picture>\"}}", -1);
  assert_open_fails (
      folder, VLM_ERROR_WRONG_TYPE, "but \"<image>\" was expected");
  folder_write (folder, "tokenizer_config.json", "{}", -1);
  folder_write (folder, "special_tokens_map.json", "{\"bos_token\":1}", -1);
  assert_open_fails (
      folder, VLM_ERROR_DATA, "special_tokens_map.json: bos_token is 1");
  folder_remove (folder);
}

/* Settings that are not followed are said once an opening. */
static void
test_warnings (void)
{
  static const struct {
    const char *file, *text, *pattern;
  } quirk[] = {
    { "generation_config.json", "{\"num_beams\":4}", "*num_beams*" },
    { "processor_config.json",
        "{\"patch_size\":14,\"num_additional_image_tokens\":1,"
        "\"vision_feature_select_strategy\":\"default\"}",
        "*another number of image tokens*" },
    { "processor_config.json",
        "{\"patch_size\":8,\"num_additional_image_tokens\":0,"
        "\"vision_feature_select_strategy\":\"default\"}",
        "*another number of image tokens*" },
    { "processor_config.json",
        "{\"patch_size\":8,\"num_additional_image_tokens\":1,"
        "\"vision_feature_select_strategy\":\"default\"}",
        NULL },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (quirk); i++) {
    char *folder = tiny_folder (0);
    g_autoptr (VlmModel) model = NULL;
    g_autoptr (GError) error = NULL;

    folder_write (folder, quirk[i].file, quirk[i].text, -1);
    if (quirk[i].pattern)
      g_test_expect_message (
          G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, quirk[i].pattern);
    model = vlm_model_open (folder, &error);
    g_assert_no_error (error);
    g_test_assert_expected_messages ();
    folder_remove (folder);
  }
}

/* Each file in turn outranks those before it. */
static void
test_templates (void)
{
  static const struct {
    const char *file, *text, *expected;
  } source[] = {
    { "tokenizer_config.json", "{\"chat_template\":\"tokenizer\"}",
        "tokenizer" },
    { "chat_template.jinja", "jinja\n", "jinja\n" },
    { "chat_template.json", "{\"chat_template\":\"json\"}", "json" },
    { "processor_config.json", "{\"chat_template\":null}", "json" },
    { "processor_config.json",
        "{\"chat_template\":{\"default\":\"processor\"}}", "processor" },
  };
  char *folder = tiny_folder (0);

  for (gsize i = 0; i < G_N_ELEMENTS (source); i++) {
    g_autoptr (VlmModel) model = NULL;
    g_autoptr (GError) error = NULL;

    folder_write (folder, source[i].file, source[i].text, -1);
    model = vlm_model_open (folder, &error);
    g_assert_no_error (error);
    g_assert_cmpstr (model->chat_template, ==, source[i].expected);
  }
  folder_write (folder, "processor_config.json",
      "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"x\"}]}", -1);
  assert_open_fails (folder, VLM_ERROR_DATA, "named \"default\"");
  folder_remove (folder);
}

/* The golden checkpoints, as transformers saved them. */
static void
test_goldens (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "golden", NULL);
  GDir *dir = g_dir_open (path, 0, NULL);
  const char *name;
  int n = 0;

  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *folder = g_build_filename (path, name, NULL);
    g_autofree char *tower = NULL;
    g_autoptr (VlmModel) model = NULL;
    g_autoptr (GError) error = NULL;

    if (!g_file_test (folder, G_FILE_TEST_IS_DIR))
      continue;
    tower = g_build_filename (folder, "tower", NULL);
    model = vlm_model_open_with_tower (
        folder, g_file_test (tower, G_FILE_TEST_IS_DIR) ? tower : NULL, &error);
    g_assert_no_error (error);
    g_assert_cmpstr (model->name, ==, name);
    g_assert_nonnull (model->chat_template);
    n++;
  }
  g_dir_close (dir);
  g_assert_cmpint (n, >, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/model/layouts", test_layouts);
  g_test_add_func ("/model/tensors", test_tensors);
  g_test_add_func ("/model/no-vision", test_no_vision);
  g_test_add_func ("/model/tied", test_tied);
  g_test_add_func ("/model/wrong-shapes", test_wrong_shapes);
  g_test_add_func ("/model/wrong-dtype", test_wrong_dtype);
  g_test_add_func ("/model/missing-files", test_missing_files);
  g_test_add_func ("/model/tokenizer-config", test_tokenizer_config);
  g_test_add_func ("/model/special-tokens", test_special_tokens);
  g_test_add_func ("/model/warnings", test_warnings);
  g_test_add_func ("/model/templates", test_templates);
  g_test_add_func ("/model/goldens", test_goldens);
  return g_test_run ();
}
