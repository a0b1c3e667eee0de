/* weights.c - safetensors: the parser, shards, names, shapes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/weights.h"

#include <string.h>

#include "engine/error.h"
#include "tests/folder.h"

static GPtrArray *
parse (const char *header, gsize data, GError **error)
{
  g_autoptr (GByteArray) bytes = raw_tensor_file (header, data);
  GPtrArray *list =
      vlm_safetensors_parse (bytes->data, bytes->len, "x.safetensors", error);

  return list; /* names and shapes stay valid, data does not */
}

static void
test_parse (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) list = parse (
      "{\"__metadata__\":{\"format\":\"pt\"},"
      "\"a\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[0,12]},"
      "\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[12,16]},"
      "\"c\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[16,24]},"
      "\"e\":{\"dtype\":\"BF16\",\"shape\":[0,7],\"data_offsets\":[16,16]}"
      "}     ",
      24, &error);
  const VlmTensor *a, *b;

  g_assert_no_error (error);
  g_assert_cmpuint (list->len, ==, 4);
  a = list->pdata[0];
  g_assert_cmpstr (a->name, ==, "a");
  g_assert_cmpint (a->type, ==, TYPE_F16);
  g_assert_cmpint (a->n_dims, ==, 2);
  g_assert_cmpint (a->shape[1], ==, 3);
  g_assert_cmpuint (a->bytes, ==, 12);
  b = list->pdata[1];
  g_assert_cmpint (b->n_dims, ==, 0);
  g_assert_false (((VlmTensor *) list->pdata[3])->readable);
}

/* What a header gets wrong, and a word of the message it earns. */
static const struct {
  const char *header;
  gsize data;
  const char *needle;
} broken[] = {
  { "{", 0, "ends too early" },
  { "{\"a\":1}}", 0, "follows the end" },
  { "{} {}", 0, "follows the end" },
  { "[]", 0, "object was expected" },
  { "{\"a\" 1}", 0, "broken" },
  { "{\"a\":'x'}", 0, "a character stands" },
  { "{/**/}", 0, "a character stands" },
  { "{\"\xff\":1}", 0, "not UTF-8" },
  { "{\"a\":3}", 0, "a is 3" },
  { "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "a.dtype" },
  { "{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
      "a.dtype is 7" },
  { "{\"a\":{\"dtype\":\"Q4\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
      "\"Q4\"" },
  { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "a.shape" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4,
      "not negative" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4,
      "whole numbers" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],"
    "\"data_offsets\":[0,4]}}",
      4, "at most 8" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "a.data_offsets" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4,
      "[begin, end]" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4,
      "[begin, end]" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4,
      "truncated" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
      "as shape and dtype say" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,2],"
    "\"data_offsets\":[0,0]}}",
      4, "as shape and dtype say" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1e300],\"data_offsets\":[0,4]}}", 4,
      "whole numbers" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
    "\"b\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]}}",
      4, "overlap" },
  { "{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]}}", 4,
      "bytes 0 to 2 belong to none" },
  { "{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 5,
      "bytes 2 to 5 belong to none" },
  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
      8, "occurs twice" },
};

static void
test_broken (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (broken); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GPtrArray) list =
        parse (broken[i].header, broken[i].data, &error);

    g_assert_null (list);
    g_test_message ("%s", error->message);
    g_assert_cmpint (error->domain, ==, VLM_ERROR);
    g_assert_nonnull (strstr (error->message, broken[i].needle));
    g_assert_true (g_str_has_prefix (error->message, "x.safetensors: "));
    g_assert_true (g_str_has_suffix (error->message, "."));
    g_assert_cmpstr (vlm_error_details (error)->file, ==, "x.safetensors");
  }
}

static const char small_tensor[] =
    "{\"b.c\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";

/* What a program reads of two of them. */
static void
test_details (void)
{
  g_autoptr (GError) cut = NULL, odd = NULL;
  const VlmErrorDetails *about;

  g_assert_null (parse (small_tensor, 4, &cut));
  about = vlm_error_details (cut);
  g_assert_cmpstr (about->tensor, ==, "b.c");
  g_assert_null (about->key);
  g_assert_cmpstr (about->expected, ==, "8 bytes of data");
  g_assert_cmpstr (about->found, ==, "4 bytes of data");
  g_assert_null (parse ("{\"b.c\":{\"dtype\":5}}", 0, &odd));
  about = vlm_error_details (odd);
  g_assert_cmpstr (about->tensor, ==, "b.c");
  g_assert_cmpstr (about->key, ==, "b.c.dtype");
  g_assert_cmpstr (about->expected, ==, "a string");
  g_assert_cmpstr (about->found, ==, "5");
}

static void
test_depth (void)
{
  g_autofree char *deep = g_strnfill (1 << 20, '[');
  g_autoptr (GError) error = NULL;

  g_assert_null (parse (deep, 0, &error));
  g_assert_nonnull (strstr (error->message, "nested too deeply"));
}

/* Every length that a truncated download may have. */
static void
test_truncated (void)
{
  g_autoptr (GByteArray) bytes = raw_tensor_file (
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);

  for (gsize length = 0; length < bytes->len; length++) {
    g_autoptr (GError) error = NULL;
    g_autofree guint8 *part = g_memdup2 (bytes->data, length);

    g_assert_null (vlm_safetensors_parse (part, length, "t", &error));
    g_assert_error (error, VLM_ERROR, VLM_ERROR_DATA);
  }
  memset (bytes->data, 0xff, 8);
  g_assert_null (vlm_safetensors_parse (bytes->data, bytes->len, "t", NULL));
}

static void
test_names (void)
{
  static const char *const names[][2] = {
    { "language_model.model.norm.weight", "text.norm.weight" },
    { "model.language_model.norm.weight", "text.norm.weight" },
    { "model.language_model.model.norm.weight", "text.norm.weight" },
    { "language_model.lm_head.weight", "lm_head.weight" },
    { "lm_head.weight", "lm_head.weight" },
    { "model.lm_head.weight", "lm_head.weight" },
    { "vision_tower.vision_model.pre_layrnorm.bias",
        "vision.pre_layrnorm.bias" },
    { "model.vision_tower.vision_model.pre_layrnorm.bias",
        "vision.pre_layrnorm.bias" },
    { "model.vision_tower.pre_layrnorm.bias", "vision.pre_layrnorm.bias" },
    { "vision_tower.pre_layrnorm.bias", "vision.pre_layrnorm.bias" },
    { "multi_modal_projector.linear_1.bias",
        "multi_modal_projector.linear_1.bias" },
    { "model.multi_modal_projector.linear_1.bias",
        "multi_modal_projector.linear_1.bias" },
    { "image_newline", "image_newline" },
    { "model.image_newline", "image_newline" },
    { "model.other", "model.other" },
    { "vision_tower.vision_model.embeddings.position_ids", NULL },
    { "vision_tower.vision_model.post_layernorm.weight", NULL },
    { "language_model.model.layers.0.self_attn.rotary_emb.inv_freq", NULL },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *name = vlm_weights_canonical_name (names[i][0]);

    g_assert_cmpstr (name, ==, names[i][1]);
  }
}

/* A folder of one file: `a` [2,3] in BF16, `n` of integers, unused tables. */
static void
test_require (void)
{
  g_autoptr (VlmWeights) weights = NULL;
  g_autoptr (GError) error = NULL;
  char *folder = folder_new ();
  TensorFile file;

  tensor_file_init (&file);
  tensor_file_add (&file, "language_model.model.a", "BF16", 2, 2, 3);
  tensor_file_add (&file, "lm_head.n", "I64", 8, 2, 0);
  tensor_file_add (
      &file, "vision_tower.embeddings.position_ids", "X9", 1, 1, 0);
  tensor_file_write (&file, folder, "model.safetensors");
  tensor_file_clear (&file);
  weights = vlm_weights_open (folder, &error);
  g_assert_no_error (error);

  g_assert_nonnull (vlm_weights_find (weights, "text.a"));
  g_assert_null (vlm_weights_find (weights, "lm_head.n"));
  g_assert_true (vlm_weights_has (weights, "lm_head.n"));
  g_assert_cmpuint (vlm_weights_bytes (weights), ==, 12 + 16);
  g_assert_nonnull (vlm_weights_require (weights, &error, "text.a", 2, 2, 3));
  g_assert_null (vlm_weights_require (weights, &error, "text.a", 2, 3, 2));
  g_assert_nonnull (strstr (error->message, "model.safetensors: tensor "
                                            "language_model.model.a has shape "
                                            "[2,3], but [3,2] was expected."));
  g_clear_error (&error);
  g_assert_null (vlm_weights_require (weights, &error, "lm_head.n", 1, 2));
  g_assert_nonnull (strstr (error->message, "is I64"));
  g_clear_error (&error);
  g_assert_null (vlm_weights_require (weights, &error, "text.b", 1, 2));
  g_assert_nonnull (
      strstr (error->message, "tensor language_model.model.b of shape [2]"));
  folder_remove (folder);
}

static void
assert_open_fails (const char *folder, int code, const char *needle)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (vlm_weights_open (folder, &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, VLM_ERROR, code);
  g_assert_nonnull (strstr (error->message, needle));
}

static void
write_shard (const char *folder, const char *file, const char *tensor)
{
  TensorFile shard;

  tensor_file_init (&shard);
  tensor_file_add (&shard, tensor, "F32", 4, 2, 0);
  tensor_file_write (&shard, folder, file);
  tensor_file_clear (&shard);
}

static void
write_index (const char *folder, const char *text)
{
  folder_write (folder, "model.safetensors.index.json", text, -1);
}

static void
test_shards (void)
{
  static const char good[] =
      "{\"metadata\":{\"total_size\":16},\"weight_map\":{"
      "\"image_newline\":\"one.safetensors\",\"lm_head.w\":"
      "\"two.safetensors\"}}";
  char *folder = folder_new ();
  g_autoptr (VlmWeights) weights = NULL;
  g_autoptr (GError) error = NULL;

  assert_open_fails (folder, VLM_ERROR_NOT_FOUND, "neither is there");
  write_index (folder, "{\"weight_map\":3}");
  assert_open_fails (folder, VLM_ERROR_DATA, "weight_map is 3");
  write_index (folder, "{}");
  assert_open_fails (folder, VLM_ERROR_DATA, "weight_map is missing");
  write_index (folder, "{\"weight_map\":{\"a\":\"../one.safetensors\"}}");
  assert_open_fails (folder, VLM_ERROR_DATA, "inside the folder");
  write_index (folder, "{\"weight_map\":{\"a\":\"/etc/passwd\"}}");
  assert_open_fails (folder, VLM_ERROR_DATA, "inside the folder");
  write_index (folder, good);
  write_shard (folder, "one.safetensors", "image_newline");
  assert_open_fails (folder, VLM_ERROR_NOT_FOUND, "two.safetensors");
  write_shard (folder, "two.safetensors", "lm_head.v");
  assert_open_fails (folder, VLM_ERROR_DATA, "tensor lm_head.w was expected");
  write_shard (folder, "two.safetensors", "lm_head.w");
  weights = vlm_weights_open (folder, &error);
  g_assert_no_error (error);
  g_assert_nonnull (vlm_weights_find (weights, "image_newline"));
  g_assert_nonnull (vlm_weights_find (weights, "lm_head.w"));
  folder_remove (folder);
}

static void
test_meeting_names (void)
{
  char *folder = folder_new ();
  TensorFile file;

  tensor_file_init (&file);
  tensor_file_add (&file, "image_newline", "F32", 4, 2, 0);
  tensor_file_add (&file, "model.image_newline", "F32", 4, 2, 0);
  tensor_file_write (&file, folder, "model.safetensors");
  tensor_file_clear (&file);
  assert_open_fails (folder, VLM_ERROR_DATA, "model.image_newline");
  folder_write (folder, "model.safetensors", "", 0);
  assert_open_fails (folder, VLM_ERROR_DATA, "at least 8 bytes");
  folder_remove (folder);
}

static void
test_to_f32 (void)
{
  static const guint16 half[] = { 0x3c00, 0xc000, 0x0001, 0x8000, 0x7c00,
    0x7bff };
  static const guint16 brain[] = { 0x3f80, 0xc000, 0xff80 };
  guint8 shifted[16];
  VlmTensor tensor = { .type = TYPE_F16, .bytes = sizeof half };
  float out[6];

  memcpy (shifted + 1, half, sizeof half);
  tensor.data = shifted + 1;
  vlm_tensor_to_f32 (&tensor, out);
  g_assert_true (out[0] == 1 && out[1] == -2 && out[2] == 0x1p-24f);
  g_assert_true (out[3] == 0 && 1 / out[3] < 0 && out[4] > 1e38f);
  g_assert_true (out[5] == 65504);
  tensor = (VlmTensor){
    .type = TYPE_BF16, .bytes = sizeof brain, .data = (const guint8 *) brain
  };
  vlm_tensor_to_f32 (&tensor, out);
  g_assert_true (out[0] == 1 && out[1] == -2 && out[2] < -1e38f);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/weights/parse", test_parse);
  g_test_add_func ("/weights/broken", test_broken);
  g_test_add_func ("/weights/details", test_details);
  g_test_add_func ("/weights/depth", test_depth);
  g_test_add_func ("/weights/truncated", test_truncated);
  g_test_add_func ("/weights/names", test_names);
  g_test_add_func ("/weights/require", test_require);
  g_test_add_func ("/weights/shards", test_shards);
  g_test_add_func ("/weights/meeting-names", test_meeting_names);
  g_test_add_func ("/weights/to-f32", test_to_f32);
  return g_test_run ();
}
