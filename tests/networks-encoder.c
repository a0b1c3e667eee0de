/* networks-encoder.c - the encoder without savings
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/networks-vision.h"

#include <math.h>

void
reference_load (Reference *r, Device *dev, const VlmModel *model, int layers)
{
  VlmParams *p = r->params = vlm_params_new (dev, model->weights, TYPE_F32);

  vlm_params_convolution (
      p, &r->patch, C, 8, "vision.embeddings.patch_embedding");
  vlm_params_vector (p, &r->cls, C, "vision.embeddings.class_embedding");
  vlm_params_table (
      p, &r->pos, N + 1, C, "vision.embeddings.position_embedding.weight");
  vlm_params_vector (p, &r->pre_w, C, "vision.pre_layrnorm.weight");
  vlm_params_vector (p, &r->pre_b, C, "vision.pre_layrnorm.bias");
  for (int i = 0; i < MIN (layers + 1, LAYERS); i++) {
#define AT "vision.encoder.layers.%d."
    vlm_params_vector (p, &r->norm1_w[i], C, AT "layer_norm1.weight", i);
    vlm_params_vector (p, &r->norm1_b[i], C, AT "layer_norm1.bias", i);
    vlm_params_mat (p, &r->q[i], C, C, TRUE, AT "self_attn.q_proj", i);
    vlm_params_mat (p, &r->k[i], C, C, TRUE, AT "self_attn.k_proj", i);
    if (i == layers)
      break;
    vlm_params_vector (p, &r->norm2_w[i], C, AT "layer_norm2.weight", i);
    vlm_params_vector (p, &r->norm2_b[i], C, AT "layer_norm2.bias", i);
    vlm_params_mat (p, &r->out[i], C, C, TRUE, AT "self_attn.out_proj", i);
    vlm_params_mat (p, &r->v[i], C, C, TRUE, AT "self_attn.v_proj", i);
    vlm_params_mat (p, &r->fc1[i], F, C, TRUE, AT "mlp.fc1", i);
    vlm_params_mat (p, &r->fc2[i], C, F, TRUE, AT "mlp.fc2", i);
#undef AT
  }
  g_assert_true (vlm_params_check (p, NULL));
}

typedef struct {
  Residual *x;
  Act *xb, *q, *k, *v, *hidden;
  float *score;
  int *start;
} Scratch;

static void
scratch_init (Scratch *s, Device *dev, int t)
{
  int start[MAX_TILES + 1];
  gsize bytes = MAX_ROWS * 200 * sizeof (float);
  Act **pieces[] = { &s->xb, &s->q, &s->k, &s->v, &s->hidden };

  for (int i = 0; i <= t; i++)
    start[i] = i * (N + 1);
  for (gsize i = 0; i < G_N_ELEMENTS (pieces); i++)
    *pieces[i] = device_alloc (dev, bytes);
  s->x = device_alloc (dev, bytes);
  s->score = device_alloc (dev, MAX_TILES * N * sizeof (float));
  s->start = device_alloc (dev, sizeof start);
  device_upload (dev, s->start, start, sizeof start);
}

static void
scratch_clear (Scratch *s, Device *dev)
{
  void *pieces[] = { s->x, s->xb, s->q, s->k, s->v, s->hidden, s->score,
    s->start };

  for (gsize i = 0; i < G_N_ELEMENTS (pieces); i++)
    device_free (dev, pieces[i]);
}

/* xb, q, k and what policies read of layer i. */
static void
reference_keys (Reference *r, Device *dev, Scratch *s, int i, int t)
{
  const Ops *op = dev->op;
  int n = t * (N + 1), c = C / HEADS;

  op->layer_norm (dev, s->xb, s->x, r->norm1_w[i], r->norm1_b[i], n, C, 1e-5f);
  device_download (dev, r->normed[i], s->xb, n * C * sizeof (float));
  op->matmul (dev, s->q, s->xb, &r->q[i], n, EPILOGUE_SET);
  op->matmul (dev, s->k, s->xb, &r->k[i], n, EPILOGUE_SET);
  device_download (dev, r->keys[i], s->k, n * C * sizeof (float));
  op->gather_rows (dev, s->hidden, s->q, s->start, t, C * sizeof (float));
  op->cls_attention (
      dev, s->score, s->hidden, s->k, t, N, HEADS, c, 1 / sqrtf (c));
  device_download (dev, r->score[i], s->score, t * N * sizeof (float));
  op->cls_attention (dev, s->score, s->hidden, s->k, t, N, 1, C, 1 / sqrtf (C));
  device_download (dev, r->wide[i], s->score, t * N * sizeof (float));
}

static void
reference_layer (Reference *r, Device *dev, Scratch *s, int i, int t)
{
  const Ops *op = dev->op;
  int n = t * (N + 1), c = C / HEADS;
  float scale = 1 / sqrtf (c);

  reference_keys (r, dev, s, i, t);
  op->matmul (dev, s->v, s->xb, &r->v[i], n, EPILOGUE_SET);
  op->attention_tiles (
      dev, s->xb, s->q, s->k, s->v, s->start, n, t, N + 1, HEADS, c, scale);
  op->matmul (dev, s->x, s->xb, &r->out[i], n, EPILOGUE_ADD);
  op->layer_norm (dev, s->xb, s->x, r->norm2_w[i], r->norm2_b[i], n, C, 1e-5f);
  op->matmul (dev, s->hidden, s->xb, &r->fc1[i], n, EPILOGUE_QUICK_GELU);
  op->matmul (dev, s->x, s->hidden, &r->fc2[i], n, EPILOGUE_ADD);
  device_download (dev, r->state[i + 1], s->x, n * C * sizeof (float));
}

void
reference_run (Reference *r, Device *dev, const guint8 *tiles, const float *lut,
    int t, int layers)
{
  const Ops *op = dev->op;
  Scratch s;

  scratch_init (&s, dev, t);
  op->patches (dev, s.hidden, tiles, lut, t, 32, 8);
  op->matmul (dev, s.q, s.hidden, &r->patch, t * N, EPILOGUE_WIDE);
  op->embed_patches (dev, s.x, s.q, r->cls, r->pos, t, N, C);
  op->layer_norm_residual (dev, s.x, r->pre_w, r->pre_b, t * (N + 1), C, 1e-5f);
  device_download (dev, r->state[0], s.x, t * (N + 1) * C * sizeof (float));
  for (int i = 0; i < layers; i++)
    reference_layer (r, dev, &s, i, t);
  if (layers < LAYERS)
    reference_keys (r, dev, &s, layers, t);
  scratch_clear (&s, dev);
}
