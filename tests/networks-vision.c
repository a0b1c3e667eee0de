/* networks-vision.c - the encoder's savings change no value
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Against a straightforward run: every tile, every row of every layer.
 */
#include "tests/networks-vision.h"

#include <math.h>
#include <string.h>

#include "engine/error.h"

static void
bed_pixels (VisionBed *bed)
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

VisionBed *
vision_bed_new (Device *dev, const BedModel *shape, int n_tiles)
{
  g_autoptr (GError) error = NULL;
  VisionBed *bed = g_new0 (VisionBed, 1);
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
  vlm_selection_init (&bed->selection, &wish_policy, &bed->job.input);
  return bed;
}

void
vision_bed_free (VisionBed *bed)
{
  vlm_vision_free (bed->vision);
  vlm_selection_clear (&bed->selection);
  vlm_params_free (bed->reference.params);
  device_free (bed->dev, bed->tiles);
  device_free (bed->dev, bed->lut);
  vlm_model_free (bed->model);
  g_free (bed);
}

static int
row_of (const VisionBed *bed, int id)
{
  gboolean is_class = id >= bed->n_tiles * N;

  return is_class ? (id - bed->n_tiles * N) * (N + 1)
                  : id / N * (N + 1) + 1 + id % N;
}

/* Row i of the reference's feature layer l. */
static void
expected_row (const VisionBed *bed, int i, int l, float *row)
{
  const VlmConfig *config = &bed->model->config;
  const float *state = bed->reference.state[config->feature_layer[l]];
  int first = config->keep_class_token;
  int id = i < first ? bed->n_tiles * N : wish.order[i - first];
  double sum[C] = { 0 };

  memcpy (row, state + row_of (bed, id) * C, C * sizeof *row);
  if (i < first || !wish.merge)
    return;
  for (int e = wish.start[i - first]; e < wish.start[i - first + 1]; e++)
    for (int j = 0; j < C; j++)
      sum[j] +=
          (double) wish.weight[e] * state[row_of (bed, wish.source[e]) * C + j];
  for (int j = 0; j < C; j++)
    row[j] = (float) sum[j];
}

void
vision_bed_expect (VisionBed *bed, const float *features)
{
  const VlmConfig *config = &bed->model->config;
  int n_layers = config->n_feature_layers, first = config->keep_class_token;
  float row[C];

  for (int i = 0; i < first + wish.n; i++)
    for (int l = 0; l < n_layers; l++) {
      expected_row (bed, i, l, row);
      bed_compare ("feature", features + (i * n_layers + l) * C, row, C,
          wish.merge ? 1e-5f : BED_EXACT);
    }
}

static void
expect_keys (const VisionBed *bed, int t, const float *found)
{
  const float *keys = bed->reference.keys[bed->deepest - 1];
  float mean[N * C / HEADS] = { 0 };

  for (int j = 0; j < N; j++)
    for (int i = 0; i < C; i++)
      mean[j * (C / HEADS) + i % (C / HEADS)] +=
          keys[row_of (bed, t * N + j) * C + i] / HEADS;
  bed_compare ("keys", found, mean, N * C / HEADS, 1e-5f);
}

static float
cosine (const float *a, const float *b)
{
  double product = 0, left = 0, right = 0;

  for (int c = 0; c < C; c++) {
    product += (double) a[c] * b[c];
    left += (double) a[c] * a[c];
    right += (double) b[c] * b[c];
  }
  return (float) (product / sqrt (left * right));
}

static void
expect_cosines (const VisionBed *bed, int t, const float *found)
{
  const float *keys = bed->reference.keys[MIN (bed->deepest, LAYERS - 1)];
  float expected[N * N];

  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++)
      expected[i * N + j] = cosine (keys + row_of (bed, t * N + i) * C,
          keys + row_of (bed, t * N + j) * C);
  bed_compare ("cosines", found, expected, N * N, 1e-5f);
}

/* Of the last layer's normed input. */
static void
expect_near (const VisionBed *bed, int t, const float *found)
{
  static const int right[] = { 1, -1, 0, 1 }, below[] = { 0, 1, 1, 1 };
  const float *x = bed->reference.normed[bed->deepest - 1];
  float expected[N * 4] = { 0 };

  for (int i = 0; i < 4 * N; i++) {
    int x2 = i / 4 % SIDE + right[i % 4], y2 = i / 4 / SIDE + below[i % 4];

    if (x2 >= 0 && x2 < SIDE && y2 < SIDE)
      expected[i] = cosine (x + row_of (bed, t * N + i / 4) * C,
          x + row_of (bed, t * N + y2 * SIDE + x2) * C);
  }
  bed_compare ("near", found, expected, N * 4, 1e-5f);
}

static void
expect_plan_taps (const VisionBed *bed)
{
  const Reference *r = &bed->reference;
  unsigned taps = bed->job.policy->plan_taps;

  if (taps & VLM_TAP_CLS_FIRST)
    bed_compare ("first tap", wish.first, r->score[0], N, BED_EXACT);
  if (taps & VLM_TAP_CLS_LAST)
    bed_compare (
        "late tap", wish.plan_last, r->score[bed->deepest - 1], N, BED_EXACT);
  if (taps & VLM_TAP_CLS_NEXT)
    bed_compare ("early next tap", wish.plan_next,
        r->wide[MIN (bed->deepest, LAYERS - 1)], N, BED_EXACT);
  if (taps & VLM_TAP_KEYS_LAST)
    expect_keys (bed, 0, wish.plan_key);
}

static void
expect_taps (const VisionBed *bed, int t)
{
  const Reference *r = &bed->reference;
  unsigned taps = bed->job.policy->plan_taps | bed->job.policy->select_taps;

  if (taps & VLM_TAP_CLS_LAST)
    bed_compare ("last tap", wish.last + t * N,
        r->score[bed->deepest - 1] + t * N, N, BED_EXACT);
  if (taps & VLM_TAP_CLS_NEXT)
    bed_compare ("next tap", wish.next + t * N,
        r->wide[MIN (bed->deepest, LAYERS - 1)] + t * N, N, BED_EXACT);
  if (taps & VLM_TAP_KEYS_LAST)
    expect_keys (bed, t, wish.key + t * N * C / HEADS);
  if (taps & VLM_TAP_COSINES_NEXT)
    expect_cosines (bed, t, wish.cosine + t * N * N);
  if (taps & VLM_TAP_NEAR_LAST)
    expect_near (bed, t, wish.near + t * N * 4);
}

static void
run_and_compare (VisionBed *bed)
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
  vision_bed_expect (bed, host);
  expect_plan_taps (bed);
  for (int t = 0; t < bed->n_tiles; t++)
    if (wish.per_tile[t] > 0)
      expect_taps (bed, t);
}

static void
test_savings (Device *dev, gconstpointer data)
{
  static const unsigned without[] = { 0, 1, 2, 0x14, 0x1e, 0x1f };
  static const int strides[] = { 1, 2, 5, 40 };
  VisionBed *bed = vision_bed_new (dev, data, MAX_TILES);

  for (gsize i = 0; i < G_N_ELEMENTS (without); i++)
    for (gsize j = 0; j < G_N_ELEMENTS (strides); j++) {
      make_wish (MAX_TILES, strides[j], without[i]);
      run_and_compare (bed);
    }
  vision_bed_free (bed);
}

/* Whatever is recorded, plain and merged rows are the same. */
static void
test_taps (Device *dev, gconstpointer data)
{
  static const unsigned without[] = { 0, 1, 0x1e, 0x1f };
  VisionBed *bed = vision_bed_new (dev, data, MAX_TILES);

  for (int p = 0; p < N_WISHES; p++)
    for (gsize i = 0; i < G_N_ELEMENTS (without); i++)
      for (int merge = 0; merge < 2; merge++) {
        bed->job.policy = wishes[p];
        make_wish (MAX_TILES, 2, without[i]);
        if (merge && wish.n > 0)
          merge_wish ();
        run_and_compare (bed);
      }
  vision_bed_free (bed);
}

/* One row of everything, more than one of nothing. */
static void
test_merge_all (Device *dev, gconstpointer data)
{
  VisionBed *bed = vision_bed_new (dev, data, 2);

  make_wish (2, 1, 0);
  wish.merge = TRUE;
  for (int i = 0; i < wish.n; i++) {
    wish.source[i] = wish.order[i];
    wish.weight[i] = 1.0f / (1 + i);
  }
  wish.n = 3;
  wish.start[2] = wish.start[3] = 2 * N;
  wish.start[1] = 0;
  run_and_compare (bed);
  vision_bed_free (bed);
}

/* A folder without the layer after the last; a policy that needs it. */
static void
test_missing_layer (Device *dev, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VisionBed *bed = vision_bed_new (dev, data, 1);
  const Act *features;

  vlm_vision_free (bed->vision);
  bed->model->config.vision.layers++; /* says more than there is */
  bed->vision = vlm_vision_new (dev, bed->model, TYPE_F32, MAX_TILES, &error);
  g_assert_no_error (error);
  make_wish (1, 2, 0);
  run_and_compare (bed);
  bed->job.policy = &next_policy;
  g_assert_false (vlm_vision_run (
      bed->vision, &bed->job, &bed->selection, &features, NULL, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_SETTINGS);
  g_assert_nonnull (strstr (error->message, "next"));
  vision_bed_free (bed);
}

/* Ids from P*N on are class tokens. */
static void
test_class_tokens (Device *dev, gconstpointer data)
{
  VisionBed *bed = vision_bed_new (dev, data, 3);

  make_wish (3, 2, 2);
  wish.order[wish.n++] = 3 * N + 2;
  wish.order[wish.n++] = 3 * N;
  run_and_compare (bed);
  merge_wish ();
  run_and_compare (bed);
  vision_bed_free (bed);
}

static void
test_one_tile (Device *dev, gconstpointer data)
{
  VisionBed *bed = vision_bed_new (dev, data, 1);

  for (int stride = 1; stride < 40; stride += 12) {
    for (int p = 0; p < N_WISHES; p++) {
      bed->job.policy = wishes[p];
      make_wish (1, stride, 0);
      run_and_compare (bed);
      merge_wish ();
      run_and_compare (bed);
    }
  }
  vision_bed_free (bed);
}

static void
test_stops (Device *dev, gconstpointer data)
{
  g_autoptr (GError) cancelled = NULL, refused = NULL;
  VisionBed *bed = vision_bed_new (dev, data, MAX_TILES);
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
  vision_bed_free (bed);
}

static void
test_memory (Device *dev, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  VisionBed *bed = vision_bed_new (dev, data, MAX_TILES);
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
  for (int p = 0; p < N_WISHES; p++) {
    bed->job.policy = wishes[p];
    make_wish (MAX_TILES, 2, 4);
    merge_wish ();
    vlm_vision_run (
        bed->vision, &bed->job, &bed->selection, &features, NULL, &error);
    g_assert_no_error (error);
  }
  g_assert_cmpuint (count.n, ==, 0);
  bed_count_end (&count, dev);
  vision_bed_free (bed);
}

static const BedModel next = { 0 };
static const BedModel two_layers = { .feature_layers = "[-4,-2]" };
static const BedModel three_layers = { .feature_layers = "[3,2,0]" };
static const BedModel one_layer = { .feature_layers = "1" };
static const BedModel to_the_end = { .feature_layers = "-1" };
static const BedModel llava = { .llava = TRUE };
static const BedModel full = { .llava = TRUE, .full = TRUE };

void
networks_add_vision (void)
{
  bed_add ("/vision/savings/one-feature", test_savings, &next);
  bed_add ("/vision/savings/two-features", test_savings, &two_layers);
  bed_add ("/vision/savings/three-features", test_savings, &three_layers);
  bed_add ("/vision/savings/one-layer", test_savings, &one_layer);
  bed_add ("/vision/taps/one-feature", test_taps, &next);
  bed_add ("/vision/taps/three-features", test_taps, &three_layers);
  bed_add ("/vision/taps/one-layer", test_taps, &one_layer);
  bed_add ("/vision/taps/last-layer", test_taps, &to_the_end);
  bed_add ("/vision/taps/full", test_one_tile, &full);
  bed_add ("/vision/merge-all", test_merge_all, &next);
  bed_add ("/vision/missing-layer", test_missing_layer, &to_the_end);
  bed_add ("/vision/class-tokens", test_class_tokens, &next);
  bed_add ("/vision/one-tile", test_one_tile, &llava);
  bed_add ("/vision/one-tile-full", test_one_tile, &full);
  bed_add ("/vision/stops", test_stops, &next);
  bed_add ("/vision/memory", test_memory, &two_layers);
}
