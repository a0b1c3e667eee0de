/* model-shape.c - models of a known shape and random weights, in memory
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/model-shape.h"

#include "engine/fine.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#define PINPOINTS "[[336,672],[672,336],[672,672],[1008,336],[336,1008]]"
#define CLIP_L                                                                 \
  "{\"hidden_size\":1024,\"intermediate_size\":4096,\"num_hidden_layers\":24," \
  "\"num_attention_heads\":16,\"image_size\":336,\"patch_size\":14}"
#define LLAVA_NEXT(text)                                                       \
  "{\"model_type\":\"llava_next\",\"image_token_index\":32000,"                \
  "\"image_grid_pinpoints\":" PINPOINTS ",\"vision_config\":" CLIP_L           \
  ",\"text_config\":{" text "}}"

const VlmShape vlm_shapes[] = {
  { "llava-v1.6-vicuna-7b",
      LLAVA_NEXT ("\"model_type\":\"llama\",\"vocab_size\":32064,"
                  "\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-5") },
  { "llava-v1.6-vicuna-13b",
      LLAVA_NEXT ("\"model_type\":\"llama\",\"vocab_size\":32064,"
                  "\"hidden_size\":5120,\"intermediate_size\":13824,"
                  "\"num_hidden_layers\":40,\"num_attention_heads\":40,"
                  "\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-5") },
  { "llava-v1.5-7b-flexattn",
      "{\"model_type\":\"llava\",\"image_aspect_ratio\":\"pad\","
      "\"mm_vision_tower\":\"openai/clip-vit-large-patch14-336\","
      "\"mm_projector_type\":\"mlp2x_gelu\",\"rms_norm_eps\":1e-5,"
      "\"max_position_embeddings\":4096,\"extra\":{\"zoom_ratio\":\"3\","
      "\"highres_size\":\"1008\",\"lowres_size\":\"336\","
      "\"threshold\":\"48\",\"warmup\":\"10\"}}" },
  { "mistral-7b",
      LLAVA_NEXT ("\"model_type\":\"mistral\",\"vocab_size\":32064,"
                  "\"intermediate_size\":14336,\"num_key_value_heads\":8,"
                  "\"max_position_embeddings\":32768,\"rms_norm_eps\":1e-5,"
                  "\"rope_theta\":1e6,\"sliding_window\":null") },
  { "tiny", "{\"model_type\":\"llava_next\",\"image_token_index\":1024,"
            "\"image_grid_pinpoints\":"
            "[[112,224],[224,112],[224,224],[336,112],[112,336]],"
            "\"vision_config\":{\"hidden_size\":64,\"intermediate_size\":256,"
            "\"num_hidden_layers\":5,\"num_attention_heads\":4,"
            "\"image_size\":112,\"patch_size\":14},"
            "\"text_config\":{\"model_type\":\"llama\",\"vocab_size\":1088,"
            "\"hidden_size\":128,\"intermediate_size\":352,"
            "\"num_hidden_layers\":4,\"num_attention_heads\":8,"
            "\"num_key_value_heads\":2,\"rms_norm_eps\":1e-5,"
            "\"max_position_embeddings\":4096}}" },
  { NULL, NULL },
};

const VlmShape *
vlm_shape_find (const char *name)
{
  for (const VlmShape *shape = vlm_shapes; shape->name; shape++)
    if (g_str_equal (shape->name, name))
      return shape;
  return NULL;
}

typedef struct {
  VlmWeights *weights;
  DataType stored;
  guint64 state;   /* of splitmix64 */
  gpointer shared; /* values of every matrix, or NULL */
} Maker;

/* Uniform in [-1,1). */
static float
next_value (Maker *m)
{
  guint64 z = m->state += G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  z ^= z >> 31;
  return (float) (z >> 40) * 0x1p-23f - 1;
}

static void
store (gpointer data, DataType stored, gsize i, float value)
{
  guint32 bits;

  memcpy (&bits, &value, sizeof bits);
  if (stored == TYPE_F32)
    ((float *) data)[i] = value;
  else
    ((guint16 *) data)[i] = bits >> 16;
}

#define DISTINCT (1 << 20) /* values made; larger tensors repeat them */

static void
fill (Maker *m, gpointer data, gsize count, float mean, float deviation)
{
  gsize size = data_type_bytes (m->stored);
  gsize made = MIN (count, DISTINCT);
  float span = deviation * sqrtf (3);

  for (gsize i = 0; i < made; i++)
    store (data, m->stored, i, mean + span * next_value (m));
  for (; made < count; made += MIN (made, count - made))
    memcpy ((char *) data + made * size, data, MIN (made, count - made) * size);
}

static void
add (Maker *m, const char *name, int n_dims, const gint64 *shape, float mean,
    float deviation)
{
  gpointer shared = n_dims > 1 ? m->shared : NULL;
  gpointer data =
      vlm_weights_add (m->weights, name, m->stored, n_dims, shape, shared);
  gsize count = 1;

  for (int i = 0; i < n_dims; i++)
    count *= shape[i];
  if (!shared)
    fill (m, data, count, mean, deviation);
}

static void
add_vector (Maker *m, const char *prefix, const char *name, int n, float mean,
    float deviation)
{
  g_autofree char *full = g_strconcat (prefix, name, NULL);

  add (m, full, 1, (gint64[]){ n }, mean, deviation);
}

static void
add_linear (Maker *m, const char *prefix, const char *name, int rows, int cols,
    gboolean bias)
{
  g_autofree char *weight = g_strconcat (prefix, name, ".weight", NULL);
  g_autofree char *bias_name = g_strconcat (name, ".bias", NULL);

  add (m, weight, 2, (gint64[]){ rows, cols }, 0, 1 / sqrtf (cols));
  if (bias)
    add_vector (m, prefix, bias_name, rows, 0, 0.2f);
}

static void
add_norm (Maker *m, const char *prefix, const char *name, int n, gboolean bias)
{
  g_autofree char *weight = g_strconcat (name, ".weight", NULL);
  g_autofree char *bias_name = g_strconcat (name, ".bias", NULL);

  add_vector (m, prefix, weight, n, 1, 0.2f);
  if (bias)
    add_vector (m, prefix, bias_name, n, 0, 0.2f);
}

static void
add_table (Maker *m, const char *name, int rows, int cols)
{
  add (m, name, 2, (gint64[]){ rows, cols }, 0, 1);
}

static void
add_keys (Maker *m, const char *at, int C)
{
  add_norm (m, at, "layer_norm1", C, TRUE);
  add_linear (m, at, "self_attn.q_proj", C, C, TRUE);
  add_linear (m, at, "self_attn.k_proj", C, C, TRUE);
}

/* Of the layer that follows, what policies read. */
static void
add_beyond (Maker *m, const VlmVisionConfig *v, int n_layers)
{
  g_autofree char *at = g_strdup_printf ("vision.encoder.layers.%d.", n_layers);

  if (n_layers < v->layers)
    add_keys (m, at, v->width);
}

static void
add_vision (Maker *m, const VlmVisionConfig *v, int n_layers)
{
  int C = v->width, F = v->hidden;

  add_vector (m, "vision.embeddings.", "class_embedding", C, 0, 1);
  add (m, "vision.embeddings.patch_embedding.weight", 4,
      (gint64[]){ C, 3, v->patch, v->patch }, 0,
      1 / sqrtf (3.0f * v->patch * v->patch));
  add_table (
      m, "vision.embeddings.position_embedding.weight", v->n_patches + 1, C);
  add_norm (m, "vision.", "pre_layrnorm", C, TRUE);
  for (int i = 0; i < n_layers; i++) {
    g_autofree char *at = g_strdup_printf ("vision.encoder.layers.%d.", i);

    add_keys (m, at, C);
    add_linear (m, at, "self_attn.v_proj", C, C, TRUE);
    add_linear (m, at, "self_attn.out_proj", C, C, TRUE);
    add_norm (m, at, "layer_norm2", C, TRUE);
    add_linear (m, at, "mlp.fc1", F, C, TRUE);
    add_linear (m, at, "mlp.fc2", C, F, TRUE);
  }
}

/* Hierarchical layers' second projections. */
static void
add_fine (Maker *m, const VlmConfig *config)
{
  const VlmTextConfig *t = &config->text;
  int kv = t->kv_heads * t->head_width;

  for (int i = config->zoom.layer; config->zoom.ratio && i < t->layers; i++) {
    g_autofree char *at = g_strdup_printf ("text.layers.%d.self_attn.", i);

    add_linear (m, at, "k_proj_hd", kv, t->width, t->qkv_bias);
    add_linear (m, at, "v_proj_hd", kv, t->width, t->qkv_bias);
  }
}

static void
add_text (Maker *m, const VlmTextConfig *t)
{
  int D = t->width, I = t->hidden;
  int q = t->heads * t->head_width, kv = t->kv_heads * t->head_width;

  add_table (m, "text.embed_tokens.weight", t->vocab, D);
  for (int i = 0; i < t->layers; i++) {
    g_autofree char *at = g_strdup_printf ("text.layers.%d.", i);

    add_norm (m, at, "input_layernorm", D, FALSE);
    add_linear (m, at, "self_attn.q_proj", q, D, t->qkv_bias);
    add_linear (m, at, "self_attn.k_proj", kv, D, t->qkv_bias);
    add_linear (m, at, "self_attn.v_proj", kv, D, t->qkv_bias);
    add_linear (m, at, "self_attn.o_proj", D, q, t->o_bias);
    add_norm (m, at, "post_attention_layernorm", D, FALSE);
    add_linear (m, at, "mlp.gate_proj", I, D, t->mlp_bias);
    add_linear (m, at, "mlp.up_proj", I, D, t->mlp_bias);
    add_linear (m, at, "mlp.down_proj", D, I, t->mlp_bias);
  }
  add_norm (m, "text.", "norm", D, FALSE);
  if (!t->tied)
    add_linear (m, "", "lm_head", t->vocab, D, FALSE);
}

int
vlm_model_vision_layers (const VlmModel *model)
{
  const VlmConfig *config = &model->config;
  int deepest = 0;

  for (int i = 0; i < config->n_feature_layers; i++)
    deepest = MAX (deepest, config->feature_layer[i]);
  return deepest;
}

static void
add_all (Maker *m, const VlmModel *model)
{
  const VlmConfig *config = &model->config;
  int D = config->text.width;

  add_vision (m, &config->vision, vlm_model_vision_layers (model));
  add_linear (m, "multi_modal_projector.", "linear_1", D,
      config->vision.width * config->n_feature_layers, config->projector_bias);
  add_linear (
      m, "multi_modal_projector.", "linear_2", D, D, config->projector_bias);
  if (config->newline)
    add_vector (m, "", "image_newline", D, 0, 1);
  add_text (m, &config->text);
  add_fine (m, config);
  add_beyond (m, &config->vision, vlm_model_vision_layers (model));
}

/* Values of the largest matrix, of a width between the two networks'. */
static gpointer
make_shared (Maker *m, const VlmConfig *config)
{
  const VlmTextConfig *t = &config->text;
  const VlmVisionConfig *v = &config->vision;
  gsize rows = MAX (
      MAX (t->vocab, t->hidden), MAX (t->heads * t->head_width, v->hidden));
  gsize cols = MAX (MAX (t->width, t->heads * t->head_width),
      MAX (v->width * config->n_feature_layers, v->n_patches + 1));
  gpointer data = vlm_weights_add (
      m->weights, "shared", m->stored, 2, (gint64[]){ rows, cols }, NULL);

  fill (m, data, rows * cols, 0, 1 / sqrtf (t->width));
  return data;
}

VlmModel *
vlm_model_new_random (const char *name, const char *config_json,
    DataType stored, gboolean shared, guint64 seed, GError **error)
{
  g_autoptr (VlmModel) model = g_new0 (VlmModel, 1);
  Maker maker = { .stored = stored, .state = seed };

  g_assert (stored != TYPE_F16);
  if (!vlm_config_parse (
          &model->config, name, &(VlmConfigTexts){ config_json }, error))
    return NULL;
  model->folder = g_strdup (name);
  model->name = g_strdup (name);
  model->add_bos = model->add_eos = -1;
  maker.weights = model->weights = vlm_weights_new_memory (name);
  if (shared)
    maker.shared = make_shared (&maker, &model->config);
  add_all (&maker, model);
  return g_steal_pointer (&model);
}

void
vlm_model_cut_layers (VlmModel *model, int layers)
{
  VlmConfig *config = &model->config;

  config->text.layers = MIN (config->text.layers, layers);
  for (int i = 0; i < config->n_feature_layers; i++)
    config->feature_layer[i] = MIN (config->feature_layer[i], layers);
}
