/* networks-projector.c - where projected rows and newlines go
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/networks.h"

#include <math.h>
#include <string.h>

#include "engine/projector.h"

#define WIDTH 48
#define MAX_TOKENS 1100
#define ROWS 1200
#define MARK 1234.5f

typedef struct {
  Device *dev;
  VlmModel *model;
  VlmProjector *projector;
  int width_in;
  float *features; /* host [MAX_TOKENS+1,width_in] */
  Act *dev_features;
  Residual *x;
  float *out; /* host [ROWS,WIDTH] */
} Bed;

static void
bed_init (Bed *bed, Device *dev, const BedModel *shape)
{
  g_autoptr (GError) error = NULL;
  gsize n;

  bed->dev = dev;
  bed->model = bed_model_new (shape);
  bed->width_in =
      bed->model->config.vision.width * bed->model->config.n_feature_layers;
  bed->projector =
      vlm_projector_new (dev, bed->model, TYPE_F32, MAX_TOKENS, &error);
  g_assert_no_error (error);
  n = (gsize) (MAX_TOKENS + 1) * bed->width_in;
  bed->features = g_new (float, n);
  for (gsize i = 0; i < n; i++)
    bed->features[i] = sinf ((float) (i % 9973) * 1.7f);
  bed->dev_features = device_alloc (dev, n * sizeof (float));
  device_upload (dev, bed->dev_features, bed->features, n * sizeof (float));
  bed->x = device_alloc (dev, ROWS * WIDTH * sizeof (float));
  bed->out = g_new (float, ROWS *WIDTH);
}

static void
bed_clear (Bed *bed)
{
  device_free (bed->dev, bed->dev_features);
  device_free (bed->dev, bed->x);
  g_free (bed->features);
  g_free (bed->out);
  vlm_projector_free (bed->projector);
  vlm_model_free (bed->model);
}

static void
run (Bed *bed, int n, gboolean packed, const VlmTileGeometry *geometry,
    int first)
{
  VlmSelection selection = { .n = n, .packed = packed };

  for (int i = 0; i < ROWS * WIDTH; i++)
    bed->out[i] = MARK;
  device_upload (bed->dev, bed->x, bed->out, ROWS * WIDTH * sizeof (float));
  vlm_projector_run (
      bed->projector, bed->dev_features, &selection, geometry, bed->x, first);
  device_download (bed->dev, bed->out, bed->x, ROWS * WIDTH * sizeof (float));
}

static void
tensor (const Bed *bed, const char *name, float *values)
{
  vlm_tensor_to_f32 (vlm_weights_find (bed->model->weights, name), values);
}

/* W2 gelu (W1 x + b1) + b2 in double precision. */
static void
reference (const Bed *bed, const float *x, float *y)
{
  g_autofree float *w1 = g_new (float, WIDTH * bed->width_in);
  float w2[WIDTH * WIDTH], b1[WIDTH], b2[WIDTH];
  double hidden[WIDTH];

  tensor (bed, "multi_modal_projector.linear_1.weight", w1);
  tensor (bed, "multi_modal_projector.linear_1.bias", b1);
  tensor (bed, "multi_modal_projector.linear_2.weight", w2);
  tensor (bed, "multi_modal_projector.linear_2.bias", b2);
  for (int i = 0; i < WIDTH; i++) {
    double sum = b1[i];

    for (int j = 0; j < bed->width_in; j++)
      sum += (double) w1[i * bed->width_in + j] * x[j];
    hidden[i] = sum * 0.5 * (1 + erf (sum / sqrt (2)));
  }
  for (int i = 0; i < WIDTH; i++) {
    double sum = b2[i];

    for (int j = 0; j < WIDTH; j++)
      sum += w2[i * WIDTH + j] * hidden[j];
    y[i] = (float) sum;
  }
}

/* f32 sums of 64 and 48 terms. */
#define TOLERANCE 2e-6f

static void
expect_feature (const Bed *bed, int row, int feature)
{
  float y[WIDTH];

  reference (bed, bed->features + (gsize) feature * bed->width_in, y);
  bed_compare ("projected", bed->out + row * WIDTH, y, WIDTH, TOLERANCE);
}

static void
expect_newline (const Bed *bed, int row)
{
  float newline[WIDTH];

  tensor (bed, "image_newline", newline);
  bed_compare ("newline", bed->out + row * WIDTH, newline, WIDTH, 0);
}

static void
expect_untouched (const Bed *bed, int first, int end)
{
  for (int i = 0; i < first * WIDTH; i++)
    g_assert_cmpfloat (bed->out[i], ==, MARK);
  for (int i = end * WIDTH; i < ROWS * WIDTH; i++)
    g_assert_cmpfloat (bed->out[i], ==, MARK);
}

/* 96x40 fits a 2x2 grid of 32 pixels as 64x27: the canvas of 8x8 cells keeps
 * four rows after the 16 base tokens. */
static void
test_packed (Device *dev, gconstpointer data)
{
  VlmTileGeometry geometry;
  VlmSelection selection = { .packed = TRUE };
  int first_row, first_col, n_rows, n_cols, row = 5, feature = 0;
  Bed bed;

  bed_init (&bed, dev, data);
  g_assert_true (
      vlm_tile_geometry (&geometry, &bed.model->config, 96, 40, NULL));
  vlm_tile_kept (&geometry, &first_row, &n_rows, &first_col, &n_cols);
  g_assert_cmpint (n_rows, >, 1);
  selection.n = 16 + n_rows * n_cols;
  g_assert_cmpint (vlm_projector_rows (bed.projector, &selection, &geometry),
      ==, vlm_tile_image_tokens (&geometry, &bed.model->config));
  run (&bed, selection.n, TRUE, &geometry, row);
  for (; feature < 16; feature++)
    expect_feature (&bed, row++, feature);
  for (int y = 0; y < n_rows; y++) {
    for (int x = 0; x < n_cols; x++)
      expect_feature (&bed, row++, feature++);
    expect_newline (&bed, row++);
  }
  expect_untouched (&bed, 5, row);
  bed_clear (&bed);
}

/* Dropped tokens leave no gap and no newline; 1100 rows take three blocks. */
static void
test_dropped (Device *dev, gconstpointer data)
{
  VlmTileGeometry geometry = { .side = 4, .tile_px = 32, .rows = 2, .cols = 2 };
  VlmSelection selection = { .n = MAX_TOKENS };
  Bed bed;

  bed_init (&bed, dev, data);
  g_assert_cmpint (vlm_projector_rows (bed.projector, &selection, &geometry),
      ==, MAX_TOKENS);
  run (&bed, MAX_TOKENS, FALSE, &geometry, 3);
  for (int i = 0; i < MAX_TOKENS; i += 37)
    expect_feature (&bed, 3 + i, i);
  expect_feature (&bed, 3 + MAX_TOKENS - 1, MAX_TOKENS - 1);
  expect_untouched (&bed, 3, 3 + MAX_TOKENS);
  bed_clear (&bed);
}

/* One tile: no newline, and with "full" the class token before the rest. */
static void
test_one_tile (Device *dev, gconstpointer data)
{
  const BedModel *shape = data;
  VlmTileGeometry geometry = { .side = 4, .tile_px = 32 };
  VlmSelection selection = { .n = 16, .packed = TRUE };
  int n = shape->full ? 17 : 16;
  Bed bed;

  bed_init (&bed, dev, data);
  g_assert_cmpint (
      vlm_projector_rows (bed.projector, &selection, &geometry), ==, n);
  run (&bed, 16, TRUE, &geometry, 0);
  for (int i = 0; i < n; i++)
    expect_feature (&bed, i, i);
  expect_untouched (&bed, 0, n);
  bed_clear (&bed);
}

static void
test_memory (Device *dev, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VlmModel) model = bed_model_new (data);
  guint64 planned = vlm_projector_bytes (dev, model, TYPE_BF16, 100);
  g_autoptr (VlmProjector) projector = NULL;
  BedCount count;

  bed_count_begin (&count, dev);
  projector = vlm_projector_new (dev, model, TYPE_BF16, 100, &error);
  bed_count_end (&count, dev);
  g_assert_no_error (error);
  g_assert_cmpuint (count.bytes, <=, planned);
  g_assert_cmpuint (count.bytes, >=, planned * 9 / 10);
}

static const BedModel next = { 0 };
static const BedModel two_layers = { .feature_layers = "[-4,-2]" };
static const BedModel llava = { .llava = TRUE };
static const BedModel full = { .llava = TRUE, .full = TRUE };

void
networks_add_projector (void)
{
  bed_add ("/projector/packed", test_packed, &next);
  bed_add ("/projector/packed-two-layers", test_packed, &two_layers);
  bed_add ("/projector/dropped", test_dropped, &next);
  bed_add ("/projector/one-tile", test_one_tile, &llava);
  bed_add ("/projector/class-token", test_one_tile, &full);
  bed_add ("/projector/memory", test_memory, &next);
}
