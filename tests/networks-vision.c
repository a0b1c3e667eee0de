/* networks-vision.c - the encoder's savings change no value
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Against a straightforward run: every tile, every row of every layer.
 */
#include "tests/networks.h"

#include <math.h>
#include <string.h>

#include "engine/params.h"
#include "engine/error.h"
#include "engine/vision.h"

#define C 32
#define F 80
#define N 16
#define HEADS 4
#define PIXELS (32 * 32 * 3)
#define MAX_TILES 5
#define MAX_ROWS (MAX_TILES * (N + 1))

/* ---- the straightforward encoder ---- */

typedef struct {
  VlmParams *params;
  Mat patch, q[4], k[4], v[4], out[4], fc1[4], fc2[4];
  float *norm1_w[4], *norm1_b[4], *norm2_w[4], *norm2_b[4];
  float *cls, *pos, *pre_w, *pre_b;
  float state[4][MAX_ROWS * C];  /* hidden states h0 .. h3, host */
  float score[3][MAX_TILES * N]; /* class attention of each layer */
} Reference;

static void
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
  for (int i = 0; i < layers; i++) {
#define AT "vision.encoder.layers.%d."
    vlm_params_vector (p, &r->norm1_w[i], C, AT "layer_norm1.weight", i);
    vlm_params_vector (p, &r->norm1_b[i], C, AT "layer_norm1.bias", i);
    vlm_params_vector (p, &r->norm2_w[i], C, AT "layer_norm2.weight", i);
    vlm_params_vector (p, &r->norm2_b[i], C, AT "layer_norm2.bias", i);
    vlm_params_mat (p, &r->q[i], C, C, TRUE, AT "self_attn.q_proj", i);
    vlm_params_mat (p, &r->k[i], C, C, TRUE, AT "self_attn.k_proj", i);
    vlm_params_mat (p, &r->v[i], C, C, TRUE, AT "self_attn.v_proj", i);
    vlm_params_mat (p, &r->out[i], C, C, TRUE, AT "self_attn.out_proj", i);
    vlm_params_mat (p, &r->fc1[i], F, C, TRUE, AT "mlp.fc1", i);
    vlm_params_mat (p, &r->fc2[i], C, F, TRUE, AT "mlp.fc2", i);
#undef AT
  }
  g_assert_true (vlm_params_check (p, NULL));
}

typedef struct {
  Act *x, *xb, *q, *k, *v, *hidden;
  float *score;
  int *start;
} Scratch;

static void
scratch_init (Scratch *s, Device *dev, int t)
{
  int start[MAX_TILES + 1];
  gsize bytes = MAX_ROWS * 200 * sizeof (float);
  Act **pieces[] = { &s->x, &s->xb, &s->q, &s->k, &s->v, &s->hidden };

  for (int i = 0; i <= t; i++)
    start[i] = i * (N + 1);
  for (gsize i = 0; i < G_N_ELEMENTS (pieces); i++)
    *pieces[i] = device_alloc (dev, bytes);
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

static void
reference_layer (Reference *r, Device *dev, Scratch *s, int i, int t)
{
  const Ops *op = dev->op;
  int n = t * (N + 1), c = C / HEADS;
  float scale = 1 / sqrtf (c);

  op->layer_norm (dev, s->xb, s->x, r->norm1_w[i], r->norm1_b[i], n, C, 1e-5f);
  op->matmul (dev, s->q, s->xb, &r->q[i], n, EPILOGUE_SET);
  op->matmul (dev, s->k, s->xb, &r->k[i], n, EPILOGUE_SET);
  op->matmul (dev, s->v, s->xb, &r->v[i], n, EPILOGUE_SET);
  op->gather_rows (dev, s->hidden, s->q, s->start, t, C);
  op->cls_attention (dev, s->score, s->hidden, s->k, t, N, HEADS, c, scale);
  device_download (dev, r->score[i], s->score, t * N * sizeof (float));
  op->attention_tiles (
      dev, s->xb, s->q, s->k, s->v, s->start, n, t, N + 1, HEADS, c, scale);
  op->matmul (dev, s->x, s->xb, &r->out[i], n, EPILOGUE_ADD);
  op->layer_norm (dev, s->xb, s->x, r->norm2_w[i], r->norm2_b[i], n, C, 1e-5f);
  op->matmul (dev, s->hidden, s->xb, &r->fc1[i], n, EPILOGUE_QUICK_GELU);
  op->matmul (dev, s->x, s->hidden, &r->fc2[i], n, EPILOGUE_ADD);
  device_download (dev, r->state[i + 1], s->x, n * C * sizeof (float));
}

static void
reference_run (Reference *r, Device *dev, const guint8 *tiles, const float *lut,
    int t, int layers)
{
  const Ops *op = dev->op;
  Scratch s;

  scratch_init (&s, dev, t);
  op->patches (dev, s.hidden, tiles, lut, t, 32, 8);
  op->matmul (dev, s.q, s.hidden, &r->patch, t * N, EPILOGUE_SET);
  op->embed_patches (dev, s.x, s.q, r->cls, r->pos, t, N, C);
  op->layer_norm (dev, s.x, s.x, r->pre_w, r->pre_b, t * (N + 1), C, 1e-5f);
  device_download (dev, r->state[0], s.x, t * (N + 1) * C * sizeof (float));
  for (int i = 0; i < layers; i++)
    reference_layer (r, dev, &s, i, t);
  scratch_clear (&s, dev);
}

/* ---- a policy that keeps what the test tells it ---- */

typedef struct {
  int n, order[MAX_ROWS];
  int per_tile[MAX_TILES];
  int n_tiles;
  float first[N], last[MAX_TILES * N];
  gboolean refuse;
} Wish;

static Wish wish;

static gboolean
wish_plan (
    const VlmPolicyInput *input, int *per_tile, gboolean *all, GError **error)
{
  g_assert_nonnull (input->cls_first);
  memcpy (wish.first, input->cls_first, sizeof wish.first);
  memcpy (per_tile, wish.per_tile, wish.n_tiles * sizeof (int));
  *all = FALSE;
  return TRUE;
}

static gboolean
wish_select (
    const VlmPolicyInput *input, VlmSelection *selection, GError **error)
{
  g_assert_nonnull (input->cls_last);
  memcpy (wish.last, input->cls_last, wish.n_tiles * N * sizeof (float));
  selection->n = wish.n;
  memcpy (selection->order, wish.order, wish.n * sizeof (int));
  if (wish.refuse)
    g_set_error (error, VLM_ERROR, VLM_ERROR_REQUEST, "no");
  return !wish.refuse;
}

static const VlmPolicy wish_policy = {
  .name = "wish",
  .taps = VLM_TAP_CLS_FIRST | VLM_TAP_CLS_LAST,
  .plan = wish_plan,
  .select = wish_select,
};

/* Keeps about one token in `stride`, none of the tiles in `without`, in an
 * order in which tiles interleave. */
static void
make_wish (int n_tiles, int stride, unsigned without)
{
  wish = (Wish){ .n_tiles = n_tiles };
  for (int j = 0; j < N; j++)
    for (int t = 0; t < n_tiles; t++)
      if (!(without >> t & 1) && (7 * j + 3 * t) % stride == 0) {
        wish.order[wish.n++] = t * N + j;
        wish.per_tile[t]++;
      }
}

/* ---- the comparison ---- */

typedef struct {
  Device *dev;
  VlmModel *model;
  VlmVision *vision;
  Reference reference;
  VlmVisionJob job;
  VlmSelection selection;
  int order[MAX_ROWS], per_tile[MAX_TILES];
  guint8 *tiles;
  float *lut;
  int n_tiles, deepest;
} Bed;

static void
bed_pixels (Bed *bed)
{
  g_autofree guint8 *tiles = g_new (guint8, MAX_TILES * PIXELS);
  float lut[3 * 256];

  for (int i = 0; i < MAX_TILES * PIXELS; i++)
    tiles[i] = (guint8) ((i * 2654435761u) >> 23);
  for (int i = 0; i < 3 * 256; i++)
    lut[i] = (i % 256 - 120 - i / 256) / 64.0f;
  bed->tiles = device_alloc (bed->dev, MAX_TILES * PIXELS);
  bed->lut = device_alloc (bed->dev, sizeof lut);
  device_upload (bed->dev, bed->tiles, tiles, MAX_TILES * PIXELS);
  device_upload (bed->dev, bed->lut, lut, sizeof lut);
}

static Bed *
bed_new (Device *dev, const BedModel *shape, int n_tiles)
{
  g_autoptr (GError) error = NULL;
  Bed *bed = g_new0 (Bed, 1);
  const VlmConfig *config;

  bed->dev = dev;
  bed->n_tiles = n_tiles;
  bed->model = bed_model_new (shape);
  config = &bed->model->config;
  for (int i = 0; i < config->n_feature_layers; i++)
    bed->deepest = MAX (bed->deepest, config->feature_layer[i]);
  bed->vision = vlm_vision_new (dev, bed->model, TYPE_F32, MAX_TILES, &error);
  g_assert_no_error (error);
  bed_pixels (bed);
  reference_load (&bed->reference, dev, bed->model, bed->deepest);
  reference_run (
      &bed->reference, dev, bed->tiles, bed->lut, n_tiles, bed->deepest);
  bed->job = (VlmVisionJob){
    .tiles = bed->tiles, .lut = bed->lut, .policy = &wish_policy
  };
  bed->job.input.geometry = (VlmTileGeometry){ .side = 4,
    .tile_px = 32,
    .rows = n_tiles > 1 ? 1 : 0,
    .cols = n_tiles > 1 ? n_tiles - 1 : 0 };
  bed->selection.order = bed->order;
  bed->selection.per_tile = bed->per_tile;
  return bed;
}

static void
bed_free (Bed *bed)
{
  vlm_vision_free (bed->vision);
  vlm_params_free (bed->reference.params);
  device_free (bed->dev, bed->tiles);
  device_free (bed->dev, bed->lut);
  vlm_model_free (bed->model);
  g_free (bed);
}

static void
expect_features (Bed *bed, const float *features)
{
  const VlmConfig *config = &bed->model->config;
  int n_layers = config->n_feature_layers, first = config->keep_class_token;

  for (int i = 0; i < first + wish.n; i++) {
    int id = i < first ? bed->n_tiles * N : wish.order[i - first];
    gboolean is_class = id >= bed->n_tiles * N;
    int row = is_class ? (id - bed->n_tiles * N) * (N + 1)
                       : id / N * (N + 1) + 1 + id % N;

    for (int l = 0; l < n_layers; l++)
      bed_compare ("feature", features + (i * n_layers + l) * C,
          bed->reference.state[config->feature_layer[l]] + row * C, C,
          BED_EXACT);
  }
}

static void
expect_scores (Bed *bed)
{
  const Reference *r = &bed->reference;

  bed_compare ("first tap", wish.first, r->score[0], N, BED_EXACT);
  for (int t = 0; t < bed->n_tiles; t++)
    if (wish.per_tile[t] > 0)
      bed_compare ("last tap", wish.last + t * N,
          r->score[bed->deepest - 1] + t * N, N, BED_EXACT);
}

static void
run_and_compare (Bed *bed)
{
  g_autoptr (GError) error = NULL;
  gsize rows = wish.n + bed->model->config.keep_class_token;
  gsize count = rows * C * bed->model->config.n_feature_layers;
  g_autofree float *host = g_new (float, count);
  const Act *features;

  vlm_vision_run (
      bed->vision, &bed->job, &bed->selection, &features, NULL, &error);
  g_assert_no_error (error);
  device_download (bed->dev, host, features, count * sizeof (float));
  expect_features (bed, host);
  expect_scores (bed);
}

static void
test_savings (Device *dev, gconstpointer data)
{
  static const unsigned without[] = { 0, 1, 2, 0x14, 0x1e, 0x1f };
  static const int strides[] = { 1, 2, 5, 40 };
  Bed *bed = bed_new (dev, data, MAX_TILES);

  for (gsize i = 0; i < G_N_ELEMENTS (without); i++)
    for (gsize j = 0; j < G_N_ELEMENTS (strides); j++) {
      make_wish (MAX_TILES, strides[j], without[i]);
      run_and_compare (bed);
    }
  bed_free (bed);
}

/* Ids from P*N on are class tokens. */
static void
test_class_tokens (Device *dev, gconstpointer data)
{
  Bed *bed = bed_new (dev, data, 3);

  make_wish (3, 2, 2);
  wish.order[wish.n++] = 3 * N + 2;
  wish.order[wish.n++] = 3 * N;
  run_and_compare (bed);
  bed_free (bed);
}

static void
test_one_tile (Device *dev, gconstpointer data)
{
  Bed *bed = bed_new (dev, data, 1);

  for (int stride = 1; stride < 40; stride += 12) {
    make_wish (1, stride, 0);
    run_and_compare (bed);
  }
  bed_free (bed);
}

static void
test_stops (Device *dev, gconstpointer data)
{
  g_autoptr (GError) cancelled = NULL, refused = NULL;
  Bed *bed = bed_new (dev, data, MAX_TILES);
  const Act *features;
  gint flag = 1;

  make_wish (MAX_TILES, 2, 0);
  bed->job.cancelled = &flag;
  g_assert_false (vlm_vision_run (
      bed->vision, &bed->job, &bed->selection, &features, NULL, &cancelled));
  g_assert_error (cancelled, VLM_ERROR, VLM_ERROR_CANCELLED);
  flag = 0;
  wish.refuse = TRUE;
  g_assert_false (vlm_vision_run (
      bed->vision, &bed->job, &bed->selection, &features, NULL, &refused));
  g_assert_error (refused, VLM_ERROR, VLM_ERROR_REQUEST);
  wish.refuse = FALSE;
  run_and_compare (bed);
  bed_free (bed);
}

static void
test_memory (Device *dev, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  Bed *bed = bed_new (dev, data, MAX_TILES);
  guint64 planned = vlm_vision_bytes (dev, bed->model, TYPE_BF16, MAX_TILES);
  const Act *features;
  BedCount count;

  vlm_vision_free (bed->vision);
  bed_count_begin (&count, dev);
  bed->vision = vlm_vision_new (dev, bed->model, TYPE_BF16, MAX_TILES, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (count.bytes, <=, planned);
  g_assert_cmpuint (count.bytes, >=, planned * 9 / 10);
  count.n = 0;
  make_wish (MAX_TILES, 2, 4);
  vlm_vision_run (
      bed->vision, &bed->job, &bed->selection, &features, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (count.n, ==, 0);
  bed_count_end (&count, dev);
  bed_free (bed);
}

static const BedModel next = { 0 };
static const BedModel two_layers = { .feature_layers = "[-4,-2]" };
static const BedModel three_layers = { .feature_layers = "[3,2,0]" };
static const BedModel one_layer = { .feature_layers = "1" };
static const BedModel llava = { .llava = TRUE };
static const BedModel full = { .llava = TRUE, .full = TRUE };

void
networks_add_vision (void)
{
  bed_add ("/vision/savings/one-feature", test_savings, &next);
  bed_add ("/vision/savings/two-features", test_savings, &two_layers);
  bed_add ("/vision/savings/three-features", test_savings, &three_layers);
  bed_add ("/vision/savings/one-layer", test_savings, &one_layer);
  bed_add ("/vision/class-tokens", test_class_tokens, &next);
  bed_add ("/vision/one-tile", test_one_tile, &llava);
  bed_add ("/vision/one-tile-full", test_one_tile, &full);
  bed_add ("/vision/stops", test_stops, &next);
  bed_add ("/vision/memory", test_memory, &two_layers);
}
