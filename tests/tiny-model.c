/* tiny-model.c - a complete random checkpoint folder, written by a test
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/tiny-model.h"
#include <math.h>
#include <string.h>
#include "tests/folder.h"

enum {
  C = 32,        /* vision width */
  VISION_F = 64, /* its hidden width */
  VISION_L = 3,
  PATCH = 7,
  N = 16, /* patches of a tile */
  D = 64, /* text width */
  F = 96,
  LAYERS = 2,
  KV = 32, /* two heads of 16 */
  VOCAB = 320,
  N_PIECES = 289, /* 3 marks, 256 bytes, 30 characters */
};

static const char config[] =
    "{\"model_type\":\"llava_next\",\"image_token_index\":289,"
    "\"vision_feature_layer\":-2,"
    "\"vision_feature_select_strategy\":\"default\","
    "\"image_grid_pinpoints\":[[28,56],[56,28],[56,56],[84,28],[28,84]],"
    "\"vision_config\":{\"model_type\":\"clip_vision_model\","
    "\"hidden_size\":32,\"intermediate_size\":64,\"num_hidden_layers\":3,"
    "\"num_attention_heads\":2,\"image_size\":28,\"patch_size\":7},"
    "\"text_config\":{\"model_type\":\"llama\",\"vocab_size\":320,"
    "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,"
    "\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
    "\"max_position_embeddings\":%d,\"bos_token_id\":1,\"eos_token_id\":2}}";

static const char processor[] =
    "{\"image_processor_type\":\"LlavaNextImageProcessor\","
    "\"size\":{\"shortest_edge\":28},"
    "\"crop_size\":{\"height\":28,\"width\":28},\"resample\":3,"
    "\"image_grid_pinpoints\":[[28,56],[56,28],[56,56],[84,28],[28,84]]}";

static const char template[] =
    "{% for m in messages %}{{ m['role'].upper() + ': ' }}"
    "{% for c in m['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>' }}{% endfor %}"
    "{% for c in m['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ ' ' + c['text'] }}{% endfor %}{{ ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";

static void
add_token (GString *json, int id, const char *content)
{
  g_string_append_printf (json,
      "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,"
      "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
      "\"special\":true}",
      json->str[json->len - 1] == '[' ? "" : ",", id, content);
}

static void
write_tokenizer (const char *folder)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz.:?";
  g_autoptr (GString) json = g_string_new ("{\"added_tokens\":[");
  add_token (json, 0, "<unk>");
  add_token (json, 1, "<s>");
  add_token (json, 2, "</s>");
  add_token (json, N_PIECES, "<image>");
  g_string_append (json,
      "],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
      "{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},"
      "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
      "\"content\":\"\xe2\x96\x81\"}]},\"pre_tokenizer\":null,"
      "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
      "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
      "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
      "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],"
      "\"tokens\":[\"<s>\"]}}},"
      "\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
      "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},"
      "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
      "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
      "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\","
      "\"fuse_unk\":true,\"byte_fallback\":true,\"vocab\":{"
      "\"<unk>\":0,\"<s>\":1,\"</s>\":2");
  for (int i = 0; i < 256; i++)
    g_string_append_printf (json, ",\"<0x%02X>\":%d", i, i + 3);
  g_string_append (json, ",\"\xe2\x96\x81\":259");
  for (int i = 0; letters[i]; i++)
    g_string_append_printf (json, ",\"%c\":%d", letters[i], 260 + i);
  g_string_append (json, "},\"merges\":[]}}");
  folder_write (folder, "tokenizer.json", json->str, json->len);
}

/* Tensors with values; `deviation` of uniform numbers around `mean`. */
typedef struct {
  TensorFile file;
  GArray *values; /* float */
  GRand *rand;
} Tensors;

static void
add_values (Tensors *t, gsize n, double mean, double deviation)
{
  double range = deviation * sqrt (3);
  for (gsize i = 0; i < n; i++) {
    float value = (float) (mean + g_rand_double_range (t->rand, -range, range));
    g_array_append_val (t->values, value);
  }
}

static void
add_vector (Tensors *t, const char *name, int n, double mean)
{
  tensor_file_add (&t->file, name, "F32", 4, n, 0);
  add_values (t, n, mean, 0.2);
}

static void
add_table (Tensors *t, const char *name, int rows, int cols, double deviation)
{
  tensor_file_add (&t->file, name, "F32", 4, rows, cols);
  add_values (t, (gsize) rows * cols, 0, deviation);
}

static void
add_norm (Tensors *t, const char *stem, int n, gboolean bias)
{
  g_autofree char *weight = g_strconcat (stem, ".weight", NULL);
  g_autofree char *offset = g_strconcat (stem, ".bias", NULL);
  add_vector (t, weight, n, 1);
  if (bias)
    add_vector (t, offset, n, 0);
}

static void
add_linear (Tensors *t, const char *stem, int rows, int cols, gboolean bias)
{
  g_autofree char *weight = g_strconcat (stem, ".weight", NULL);
  g_autofree char *offset = g_strconcat (stem, ".bias", NULL);
  add_table (t, weight, rows, cols, 1 / sqrt (cols));
  if (bias)
    add_vector (t, offset, rows, 0);
}

static void
add_vision_layer (Tensors *t, int layer)
{
  static const struct {
    const char *name;
    int rows, cols;
  } linear[] = {
    { "self_attn.q_proj", C, C },
    { "self_attn.k_proj", C, C },
    { "self_attn.v_proj", C, C },
    { "self_attn.out_proj", C, C },
    { "mlp.fc1", VISION_F, C },
    { "mlp.fc2", C, VISION_F },
  };
  g_autofree char *stem =
      g_strdup_printf ("vision_tower.vision_model.encoder.layers.%d.", layer);
  g_autofree char *norm1 = g_strconcat (stem, "layer_norm1", NULL);
  g_autofree char *norm2 = g_strconcat (stem, "layer_norm2", NULL);
  add_norm (t, norm1, C, TRUE);
  add_norm (t, norm2, C, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (linear); i++) {
    g_autofree char *name = g_strconcat (stem, linear[i].name, NULL);
    add_linear (t, name, linear[i].rows, linear[i].cols, TRUE);
  }
}

/* The first two weights of the newest table of n values. */
static void
make_overflow (Tensors *t, gsize n)
{
  float *values = &g_array_index (t->values, float, t->values->len - n);
  values[0] = 3e38f;
  values[1] = -3e38f;
}

static void
add_vision (Tensors *t, gboolean overflows)
{
#define VISION "vision_tower.vision_model."
  add_vector (t, VISION "embeddings.class_embedding", C, 0);
  tensor_file_add_shape (&t->file, VISION "embeddings.patch_embedding.weight",
      "F32", "[32,3,7,7]", 4 * C * 3 * PATCH * PATCH);
  add_values (t, C * 3 * PATCH * PATCH, 0, 0.1);
  if (overflows)
    make_overflow (t, C * 3 * PATCH * PATCH);
  add_table (t, VISION "embeddings.position_embedding.weight", N + 1, C, 0.5);
  add_norm (t, VISION "pre_layrnorm", C, TRUE);
  for (int i = 0; i < VISION_L; i++)
    add_vision_layer (t, i);
#undef VISION
}

static void
add_text_layer (Tensors *t, int layer)
{
  static const struct {
    const char *name;
    int rows, cols;
  } linear[] = {
    { "self_attn.q_proj", D, D },
    { "self_attn.k_proj", KV, D },
    { "self_attn.v_proj", KV, D },
    { "self_attn.o_proj", D, D },
    { "mlp.gate_proj", F, D },
    { "mlp.up_proj", F, D },
    { "mlp.down_proj", D, F },
  };
  g_autofree char *stem =
      g_strdup_printf ("language_model.model.layers.%d.", layer);
  g_autofree char *norm1 = g_strconcat (stem, "input_layernorm", NULL);
  g_autofree char *norm2 = g_strconcat (stem, "post_attention_layernorm", NULL);
  add_norm (t, norm1, D, FALSE);
  add_norm (t, norm2, D, FALSE);
  for (guint i = 0; i < G_N_ELEMENTS (linear); i++) {
    g_autofree char *name = g_strconcat (stem, linear[i].name, NULL);
    add_linear (t, name, linear[i].rows, linear[i].cols, FALSE);
  }
}

static void
write_tensors (const char *folder, guint32 seed, gboolean overflows)
{
  Tensors t = { .values = g_array_new (FALSE, FALSE, sizeof (float)),
    .rand = g_rand_new_with_seed (seed) };
  tensor_file_init (&t.file);
  add_vision (&t, overflows);
  add_linear (&t, "multi_modal_projector.linear_1", D, C, TRUE);
  add_linear (&t, "multi_modal_projector.linear_2", D, D, TRUE);
  add_vector (&t, "image_newline", D, 0);
  add_table (&t, "language_model.model.embed_tokens.weight", VOCAB, D, 1);
  for (int i = 0; i < LAYERS; i++)
    add_text_layer (&t, i);
  add_norm (&t, "language_model.model.norm", D, FALSE);
  add_table (&t, "language_model.lm_head.weight", VOCAB, D, 0.5);

  g_autoptr (GByteArray) bytes = tensor_file_bytes (&t.file);
  gsize n = t.values->len * sizeof (float);
  memcpy (bytes->data + bytes->len - n, t.values->data, n);
  folder_write (folder, "model.safetensors", bytes->data, bytes->len);
  tensor_file_clear (&t.file);
  g_array_unref (t.values);
  g_rand_free (t.rand);
}

void
tiny_model_write (const char *folder, const TinyModel *model)
{
  int max_position = model && model->max_position ? model->max_position : 2048;
  g_autofree char *text = g_strdup_printf (config, max_position);
  folder_write (folder, "config.json", text, -1);
  folder_write (folder, "preprocessor_config.json", processor, -1);
  folder_write (folder, "chat_template.jinja", template, -1);
  folder_write (folder, "tokenizer_config.json",
      "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}", -1);
  write_tokenizer (folder);
  write_tensors (folder, model ? model->seed : 1, model && model->overflows);
}
