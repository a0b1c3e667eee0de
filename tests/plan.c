/* plan.c - what an engine plans for, as the free memory shrinks
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>
#include "engine/decoder.h"
#include "engine/error.h"
#include "engine/plan.h"
#include "tests/folder.h"
#include "tests/tiny-model.h"

static size_t free_bytes;

static size_t
report_free (Device *dev)
{
  return free_bytes;
}

/* A processor whose free memory is the test's to say. */
typedef struct {
  char *folder;
  VlmModel *model;
  Device *dev;
  Ops op;
  const Ops *old;
} Bed;

static void
bed_init (Bed *bed, int max_position)
{
  g_autoptr (GError) error = NULL;
  DeviceStatus status;
  bed->folder = folder_new ();
  tiny_model_write (bed->folder, &(TinyModel){ .max_position = max_position });
  bed->model = vlm_model_open (bed->folder, &error);
  g_assert_no_error (error);
  bed->dev = device_open ("cpu", 1, &status);
  g_assert_nonnull (bed->dev);
  bed->old = bed->dev->op;
  bed->op = *bed->old;
  bed->op.memory_free = report_free;
  bed->dev->op = &bed->op;
}

static void
bed_clear (Bed *bed)
{
  bed->dev->op = bed->old;
  device_close (bed->dev);
  vlm_model_free (bed->model);
  folder_remove (bed->folder);
}

static guint64
total (const VlmPlan *plan)
{
  return plan->weight_bytes + plan->cache_bytes + plan->row_bytes;
}

static void
test_plenty (void)
{
  g_autoptr (GError) error = NULL;
  VlmPlan plan;
  Bed bed;
  bed_init (&bed, 100000);
  free_bytes = (size_t) 1 << 36;
  g_assert_true (vlm_plan_make (&plan, bed.dev, bed.model, TYPE_F32, &error));
  g_assert_no_error (error);
  g_assert_cmpint (plan.batch, >, 1);

  /* Grids of 28-pixel tiles up to 2x2: five tiles of 16 patches, and eight
   * rows with a newline each. */
  g_assert_cmpint (plan.max_tiles, ==, 5);
  g_assert_cmpint (plan.max_tokens, ==, 85);
  g_assert_cmpint (plan.max_rows, ==, 88);
  g_assert_cmpint (plan.context, >=, 88 + 2048);
  g_assert_cmpint (plan.context, <, 100000);
  g_assert_cmpint (
      plan.n_pages * KV_PAGE_TOKENS, >=, plan.batch * plan.context);
  bed_clear (&bed);
}

static void
test_positions (void)
{
  VlmPlan plan;
  Bed bed;
  bed_init (&bed, 300);
  free_bytes = (size_t) 1 << 36;
  g_assert_true (vlm_plan_make (&plan, bed.dev, bed.model, TYPE_F32, NULL));
  g_assert_cmpint (plan.context, ==, 300);
  bed_clear (&bed);
}

/* Less memory: first fewer sequences, then a shorter context, then a no. */
static void
test_shrinking (void)
{
  VlmPlan plan, last;
  Bed bed;
  bed_init (&bed, 2000);
  free_bytes = 160u << 20;
  g_assert_true (vlm_plan_make (&last, bed.dev, bed.model, TYPE_F32, NULL));
  g_autoptr (GError) error = NULL;
  while (!error) {
    free_bytes -= MIN (free_bytes / 16, 64u << 10);
    if (!vlm_plan_make (&plan, bed.dev, bed.model, TYPE_F32, &error))
      break;
    g_assert_cmpuint (total (&plan), <=, free_bytes);
    g_assert_cmpint (plan.batch, <=, last.batch);
    g_assert_cmpint (plan.context, <=, last.context);
    g_assert_true (plan.context == 2000 || plan.batch == 1);
    last = plan;
  }
  g_assert_error (error, VLM_ERROR, VLM_ERROR_NO_MEMORY);
  g_assert_cmpint (last.context, ==, 1024);
  g_autofree char *found = g_strdup_printf ("%zu are free", free_bytes);
  g_assert_nonnull (strstr (error->message, found));
  g_assert_nonnull (strstr (error->message, "bytes are needed"));
  const VlmErrorDetails *about = vlm_error_details (error);
  g_assert_cmpstr (about->file, ==, bed.model->folder);
  g_assert_cmpuint (about->free_bytes, ==, free_bytes);
  g_assert_cmpuint (about->needed_bytes, >, free_bytes);
  bed_clear (&bed);
}

/* On a GPU a prompt is read whole, as far as it can be and memory allows. */
static void
test_chunk (void)
{
  guint64 plenty = (guint64) 1 << 36;
  int chunk, last;
  Bed bed;
  bed_init (&bed, 100000);
  g_assert_cmpint (
      vlm_plan_chunk (bed.dev, bed.model, TYPE_F32, 3000, plenty), ==, 512);
  bed.dev->gpu = 0;
  last = vlm_plan_chunk (bed.dev, bed.model, TYPE_F32, 3000, plenty);
  g_assert_cmpint (last, >=, 3000);
  g_assert_cmpint (
      vlm_plan_chunk (bed.dev, bed.model, TYPE_F32, 600, plenty), <, 1200);
  for (guint64 free = plenty; free; free /= 2, last = chunk) {
    chunk = vlm_plan_chunk (bed.dev, bed.model, TYPE_F32, 3000, free);
    g_assert_cmpint (chunk, <=, last);
  }
  g_assert_cmpint (last, ==, 512);
  bed.dev->gpu = -1;
  bed_clear (&bed);
}

/* Pieces are as few as can be and differ by one token at most. */
static void
test_pieces (void)
{
  for (int n = 1; n < 2000; n += 37) {
    int most = vlm_plan_piece (512, n), n_pieces = 0, piece;
    for (int left = n; left > 0; left -= piece, n_pieces++) {
      piece = vlm_plan_piece (512, left);
      g_assert_true (piece == most || piece == most - 1);
    }
    g_assert_cmpint (n_pieces, ==, (n + 511) / 512);
    g_assert_cmpint (most, <=, 512);
  }
}

static size_t allocated;
static void *(*real_alloc) (Device *, size_t);

static void *
count_alloc (Device *dev, size_t bytes)
{
  allocated += bytes;
  return real_alloc (dev, bytes);
}

/* Finer pictures and their keys are planned for, for every sequence. */
static void
test_fine (gconstpointer name)
{
  gboolean paged = g_str_equal (name, "mha");
  g_autoptr (GError) error = NULL;
  g_autofree char *folder =
      g_test_build_filename (G_TEST_DIST, "golden-flex", name, NULL);
  g_autoptr (VlmModel) model = vlm_model_open (folder, &error);
  DeviceStatus status;
  Device *dev = device_open ("cpu", 1, &status);
  const Ops *old = dev->op;
  Ops op = *old;
  VlmPlan plan;

  g_assert_no_error (error);
  allocated = 0;
  op.memory_free = report_free;
  real_alloc = op.alloc;
  op.alloc = count_alloc;
  dev->op = &op;
  free_bytes = (size_t) 1 << 36;
  g_assert_true (vlm_plan_make (&plan, dev, model, TYPE_F32, &error));
  g_assert_cmpint (plan.max_tiles, ==, paged ? 10 : 5);
  g_assert_cmpint (plan.max_rows, ==, paged ? 24 * 24 : 8 * 8);
  g_assert_cmpuint (plan.recall_bytes, ==, 0);
  int n_fine = vlm_fine_pages (&model->config) * plan.batch;
  VlmKvPool *pool = vlm_kv_pool_new_with_fine (dev, &model->config.text,
      plan.n_pages, model->config.zoom.layer, n_fine, &error);
  VlmFineStore *store = vlm_fine_store_new (
      dev, &model->config, plan.batch, plan.n_pages, &error);
  g_assert_no_error (error);
  g_assert_cmpint (n_fine, ==, (paged ? 81 : 4) * plan.batch);
  g_assert_cmpuint (allocated, <=, plan.cache_bytes + 4096);
  g_assert_cmpuint (allocated, >, plan.cache_bytes / 100 * 98);
  vlm_fine_store_free (store);
  vlm_kv_pool_free (pool);
  dev->op = old;
  device_close (dev);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/plan/plenty", test_plenty);
  g_test_add_func ("/plan/positions", test_positions);
  g_test_add_func ("/plan/shrinking", test_shrinking);
  g_test_add_func ("/plan/chunk", test_chunk);
  g_test_add_func ("/plan/pieces", test_pieces);
  g_test_add_data_func ("/plan/fine", "mha", test_fine);
  g_test_add_data_func ("/plan/fine-ragged", "ragged", test_fine);
  return g_test_run ();
}
