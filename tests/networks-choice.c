/* networks-choice.c - tokens that the device chooses, unseen by the host
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/networks-vision.h"

#include <math.h>
#include <stdlib.h>

#include "engine/error.h"
#include "engine/scratch.h"

/* Marks the n best of a tile, none twice, in wish.order's ids. */
static void
wish_best (const VisionBed *bed, int t, int n)
{
  const float *score = bed->reference.score[bed->deepest - 1] + t * N;
  gboolean taken[N] = { FALSE };

  for (int i = 0; i < n; i++) {
    int best = -1;

    for (int j = 0; j < N; j++)
      if (!taken[j] && (best < 0 || score[j] > score[best]))
        best = j;
    taken[best] = TRUE;
  }
  for (int j = 0; j < N; j++)
    if (taken[j])
      wish.order[wish.n++] = t * N + j;
}

/* Rows of a grid of one row, as they lie beside each other. */
static int
compare_places (gconstpointer a, gconstpointer b)
{
  int x = *(const int *) a, y = *(const int *) b;
  int row_x = x < N ? -1 : x % N / 4, row_y = y < N ? -1 : y % N / 4;

  return row_x != row_y ? row_x - row_y : x - y;
}

/* The selection made anew, run with the host's downloads counted. */
static gboolean
choose (VisionBed *bed, const char *policy, double budget, gboolean ids,
    const Act **features, gsize *downloaded, GError **error)
{
  VlmPolicyInput *input = &bed->job.input;
  BedCount count;
  gboolean done;

  bed->job.policy = vlm_policy_find (policy);
  vlm_policy_defaults (bed->job.policy, input);
  input->budget = budget;
  bed->job.ids = ids;
  vlm_selection_clear (&bed->selection);
  vlm_selection_init (&bed->selection, bed->job.policy, input);
  bed_count_begin (&count, bed->dev);
  done = vlm_vision_run (
             bed->vision, &bed->job, &bed->selection, features, NULL, error) &&
         vlm_device_check (bed->dev, error) &&
         vlm_vision_finish (bed->vision, &bed->selection, error);
  bed_count_end (&count, bed->dev);
  *downloaded = count.downloaded;
  return done;
}

static void
choose_and_compare (VisionBed *bed, const char *policy, double budget)
{
  int width = C * bed->model->config.n_feature_layers, n_live = 0;
  g_autofree float *host = g_new (float, MAX_ROWS *width);
  g_autoptr (GError) error = NULL;
  const VlmSelection *s;
  gsize seen, asked;
  const Act *features;

  choose (bed, policy, budget, FALSE, &features, &seen, &error);
  g_assert_no_error (error);
  choose (bed, policy, budget, TRUE, &features, &asked, &error);
  g_assert_no_error (error);
  s = &bed->selection;
  wish.n = 0;
  for (int t = 0; t < bed->n_tiles; t++) {
    wish_best (bed, t, s->per_tile[t]);
    n_live += s->per_tile[t] > 0;
  }
  qsort (wish.order, wish.n, sizeof *wish.order, compare_places);
  g_assert_cmpmem (
      s->order, s->n * sizeof (int), wish.order, wish.n * sizeof (int));
  device_download (bed->dev, host, features,
      (wish.n + bed->model->config.keep_class_token) * width * sizeof (float));
  vision_bed_expect (bed, host);
  if (s->packed) /* nothing was chosen */
    return;
  g_assert_null (bed->job.input.cls_last);
  g_assert_cmpuint (asked - seen, ==, s->n * sizeof (int));
  if (!bed->job.policy->plan_taps) /* a word for each tile */
    g_assert_cmpuint (
        seen, <=, (n_live + bed->model->config.keep_class_token) * 4);
}

static void
test_choice (Device *dev, gconstpointer data)
{
  static const double budgets[] = { 0, 0.04, 0.3, 0.8, 1 };

  for (int n_tiles = 1; n_tiles <= MAX_TILES; n_tiles += MAX_TILES - 1) {
    VisionBed *bed = vision_bed_new (dev, data, n_tiles);

    make_wish (n_tiles, 1, 0);
    for (gsize i = 0; i < G_N_ELEMENTS (budgets); i++) {
      choose_and_compare (bed, "hired", budgets[i]);
      choose_and_compare (bed, "fastervlm", budgets[i]);
    }
    vision_bed_free (bed);
  }
}

static void
expect_refusal (VisionBed *bed, const char *policy, const char *message)
{
  g_autoptr (GError) error = NULL;
  const Act *features;
  gsize seen;

  g_assert_false (choose (bed, policy, 0.6, TRUE, &features, &seen, &error));
  g_assert_error (error, VLM_ERROR, VLM_ERROR_REQUEST);
  g_assert_cmpstr (error->message, ==, message);
}

/* A score that is not a number ends this picture, not the next one. */
static void
test_choice_of_nan (Device *dev, gconstpointer data)
{
  VisionBed *bed = vision_bed_new (dev, data, MAX_TILES);
  float *good = bed->lut, bad[3 * 256];

  for (int i = 0; i < 3 * 256; i++)
    bad[i] = NAN;
  bed->lut = device_alloc (dev, sizeof bad);
  device_upload (dev, bed->lut, bad, sizeof bad);
  bed->job.lut = bed->lut;
  expect_refusal (bed, "fastervlm",
      "Tile 0, last layer: The attention score of patch 0 of row 0 is not a "
      "number.");
  expect_refusal (bed, "hired",
      "The first layer's attention to the area of tile 1 sums to nan, expected "
      "0 to 1048576.");
  device_free (dev, bed->lut);
  bed->job.lut = bed->lut = good;
  make_wish (MAX_TILES, 1, 0);
  choose_and_compare (bed, "fastervlm", 0.3);
  choose_and_compare (bed, "hired", 0.6);
  vision_bed_free (bed);
}

static const BedModel next = { 0 };
static const BedModel three_layers = { .feature_layers = "[3,2,0]" };
static const BedModel full = { .llava = TRUE, .full = TRUE };

void
networks_add_choice (void)
{
  bed_add ("/vision/choice/one-feature", test_choice, &next);
  bed_add ("/vision/choice/three-features", test_choice, &three_layers);
  bed_add ("/vision/choice/full", test_choice, &full);
  bed_add ("/vision/choice/not-a-number", test_choice_of_nan, &next);
}
